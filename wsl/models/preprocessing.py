"""How a classifier wants its input: sizes, interpolation and normalization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wsl.errors import ModelError, choices_hint

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Of torchvision and timm: what makes a tensor in [0, 1] of an image.
_CONVERSIONS = frozenset(
    ["ToTensor", "MaybeToTensor", "PILToTensor", "MaybePILToTensor", "ConvertImageDtype", "ToImage",
     "ToDtype", "ToPureTensor"]
)  # fmt: skip
# Pillow's numbers.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """A network's input size and normalization, as its weights were evaluated.

    Examples
    --------
    >>> Preprocessing(resize_size=232, interpolation="bicubic").crop_size
    (224, 224)
    """

    resize_size: int | tuple[int, int] = 256
    """An integer is the length of the shorter side before the crop; (height, width) squeezes the
    whole image to that size."""
    crop_size: tuple[int, int] = (224, 224)
    """The network input's (height, width)."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    """Standard deviations of R, G, B in [0, 1], like `mean`; one for networks of gray images."""
    interpolation: str = "bilinear"
    """One of ``bilinear``, ``nearest``, ``bicubic``, ``lanczos``."""

    def __post_init__(self) -> None:
        sides = self.resize_size if isinstance(self.resize_size, tuple) else (self.resize_size,)
        if len(self.crop_size) != 2 or min(*self.crop_size, *sides) < 1:
            raise ModelError(
                f"preprocessing sizes must be positive, but got resize_size {self.resize_size} "
                f"and crop_size {self.crop_size}"
            )
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise ModelError(
                "preprocessing must have one mean and one positive standard deviation per "
                f"channel, but got {self.mean} and {self.std}"
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise ModelError(
                f"preprocessing has no interpolation {self.interpolation!r}. "
                + choices_hint(self.interpolation, _INTERPOLATIONS)
            )

    @classmethod
    def from_transforms(cls, transforms: Any) -> Preprocessing:
        """Preprocessing that an evaluation's transforms do.

        Parameters
        ----------
        transforms : callable
            A torchvision weights entry's ``transforms()``; or a ``Compose`` of torchvision
            transforms, as timm makes them for evaluation, too: Resize, CenterCrop, Grayscale,
            Normalize, and conversions to a tensor.

        Raises
        ------
        ModelError
            If one of them is another one, or a size is not known.
        """
        if not hasattr(transforms, "transforms"):
            return cls.from_torchvision(transforms)
        found: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        for each in transforms.transforms:
            name = type(each).__name__
            if name == "Resize":
                size = _ints(each.size)
                found["resize_size"] = size[0] if len(size) == 1 else (size[0], size[1])
                if each.interpolation is not None:
                    found["interpolation"] = str(each.interpolation.value).removesuffix("-exact")
            elif name == "CenterCrop":
                size = _ints(each.size)
                found["crop_size"] = (size[0], size[-1])
            elif name == "Grayscale" and each.num_output_channels == 1:
                found |= {"mean": (0.0,), "std": (1.0,)}
            elif name == "Normalize":
                found |= {"mean": _floats(each.mean), "std": _floats(each.std)}
            elif name not in _CONVERSIONS:
                raise ModelError(
                    "preprocessing must be that of an evaluation: Resize, CenterCrop, Grayscale, "
                    f"Normalize and conversions to a tensor, but there is {name}; a Preprocessing "
                    "says the sizes, mean and std"
                )
        resize, crop = found.get("resize_size"), found.get("crop_size")
        if crop is None and isinstance(resize, tuple):
            found["crop_size"] = resize
        elif crop is None:
            raise ModelError("preprocessing must have a CenterCrop, or a Resize to (height, width)")
        elif resize is None:
            raise ModelError("preprocessing must have a Resize before the CenterCrop")
        return cls(**found)

    @classmethod
    def from_torchvision(cls, transforms: Any) -> Preprocessing:
        """Preprocessing of a torchvision weights entry.

        Parameters
        ----------
        transforms : torchvision.transforms._presets.ImageClassification
            What ``weights.transforms()`` returns.

        Raises
        ------
        ModelError
            If it is the preset of another task than image classification.
        """
        wanted = ("resize_size", "crop_size", "mean", "std", "interpolation")
        missing = [key for key in wanted if not hasattr(transforms, key)]
        if missing:
            raise ModelError(
                "the weights' transforms must be torchvision's image classification preset, "
                f"but {type(transforms).__name__} has no {', '.join(missing)}"
            )
        resize = _ints(transforms.resize_size)
        crop = _ints(transforms.crop_size)
        return cls(
            resize_size=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
            crop_size=(crop[0], crop[-1]),
            mean=_floats(transforms.mean),
            std=_floats(transforms.std),
            # "nearest-exact" differs from "nearest" on tensors only; Pillow has one of them.
            interpolation=str(transforms.interpolation.value).removesuffix("-exact"),
        )

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Preprocessing of a timm network.

        Parameters
        ----------
        config : mapping
            What ``timm.data.resolve_model_data_config`` returns.

        """
        _, height, width = config["input_size"]
        scaled = [math.floor(side / config.get("crop_pct", 1.0)) for side in (height, width)]
        squeezes = config.get("crop_mode", "center") == "squash"
        return cls(
            resize_size=(scaled[0], scaled[1]) if squeezes else min(scaled),
            crop_size=(height, width),
            mean=_floats(config["mean"]),
            std=_floats(config["std"]),
            interpolation=str(config["interpolation"]),
        )

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Preprocessing of a Hugging Face image processor.

        Parameters
        ----------
        config : mapping
            What its ``to_dict`` returns.

        Raises
        ------
        ModelError
            If it says no size.
        """
        size, crop = config.get("size") or {}, config.get("crop_size") or {}
        if isinstance(size, int):
            size = {"height": size, "width": size}
        if isinstance(crop, int):
            crop = {"height": crop, "width": crop}
        crops = bool(crop) and config.get("do_center_crop", False)
        resize: int | tuple[int, int]
        if "shortest_edge" in size:
            resize = int(size["shortest_edge"])
            side = (int(crop["height"]), int(crop["width"])) if crops else (resize, resize)
            if not crops and "crop_pct" in config and resize < 384:  # ConvNeXT's processor
                resize = int(resize / config["crop_pct"])
        elif "height" in size:
            resize = (int(size["height"]), int(size["width"]))
            side = (int(crop["height"]), int(crop["width"])) if crops else resize
        else:
            raise ModelError(f"the image processor must say a size, but says {dict(size)}")
        scaled = config.get("do_normalize", True)
        return cls(
            resize_size=resize,
            crop_size=side,
            mean=_floats(config["image_mean"]) if scaled else (0.0,) * 3,
            std=_floats(config["image_std"]) if scaled else (1.0,) * 3,
            interpolation=_RESAMPLING.get(int(config.get("resample") or 2), "bilinear"),
        )

    def normalize(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Turn an image that has the input's size into the network's input.

        Parameters
        ----------
        image : ndarray of uint8, shape (h, w, 3)
            RGB.

        Returns
        -------
        torch.Tensor of float32, shape (3, h, w), on the CPU
            ``(image / 255 - mean) / std``; (1, h, w) of the luma (ITU-R 601) where there is one
            mean.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                "an image must be a (H, W, 3) array of uint8, "
                f"but got {image.dtype} of shape {image.shape}"
            )
        if len(self.mean) == 1:
            image = np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
        # torch.tensor copies: arrays from Pillow are read-only, which from_numpy warns of.
        channels = torch.tensor(image).permute(2, 0, 1).to(torch.float32).contiguous()
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return channels.div_(255).sub_(mean).div_(std)


def _ints(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(int(side) for side in value)


def _floats(values: Any) -> tuple[float, ...]:
    # Of tensors, whose float32 is another number than the one that was written.
    return tuple(v if isinstance(v, float) else round(float(v), 7) for v in values)
