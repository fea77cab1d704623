"""How a classifier wants its input: sizes, interpolation and normalization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wsl.errors import ModelError, choices_hint

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Preprocessing"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """A network's input size and normalization, as its weights were evaluated.

    Attributes
    ----------
    resize_size : int or (int, int)
        An integer is the length of the shorter side before the crop; (height, width) squeezes the
        whole image to that size.
    crop_size : (int, int)
        The network input's (height, width).
    mean, std : tuple of float
        Of the channels R, G, B in [0, 1].
    interpolation : {'bilinear', 'nearest', 'bicubic', 'lanczos'}
    """

    resize_size: int | tuple[int, int] = 256
    crop_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"

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
            mean=_three(transforms.mean),
            std=_three(transforms.std),
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

        Raises
        ------
        ModelError
            If the network does not take three channels.
        """
        channels, height, width = config["input_size"]
        if channels != 3:
            raise ModelError(f"the network must take 3 channels, but takes {channels}")
        scaled = [math.floor(side / config.get("crop_pct", 1.0)) for side in (height, width)]
        squeezes = config.get("crop_mode", "center") == "squash"
        return cls(
            resize_size=(scaled[0], scaled[1]) if squeezes else min(scaled),
            crop_size=(height, width),
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            interpolation=str(config["interpolation"]),
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
            ``(image / 255 - mean) / std``.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                "an image must be a (H, W, 3) array of uint8, "
                f"but got {image.dtype} of shape {image.shape}"
            )
        # torch.tensor copies: arrays from Pillow are read-only, which from_numpy warns of.
        channels = torch.tensor(image).permute(2, 0, 1).to(torch.float32).contiguous()
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return channels.div_(255).sub_(mean).div_(std)


def _ints(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(int(side) for side in value)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return (red, green, blue)
