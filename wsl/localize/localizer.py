"""From an image to masks and boxes.

`Localizer` is the library's front door. Its call is five stages, and each stage is a method of
its own, so that an engine can overlap the stages of many images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wsl.data.images import load_image, to_rgb
from wsl.errors import DataError
from wsl.localize.image_maps import ImageMaps
from wsl.localize.options import LocalizerOptions, load_recipe
from wsl.localize.prediction import Localization
from wsl.localize.quality import localization_quality
from wsl.localize.refiners.base import rng_seed
from wsl.localize.saliency_map import SaliencyMap
from wsl.localize.segment import Segmentation, segment
from wsl.models.average import AnyClassifier, ClassifierAverage, members_of
from wsl.models.classifier import Classifier
from wsl.saliency.base import SaliencyMethod
from wsl.saliency.class_maps import ClassMaps, class_maps, images_at_once
from wsl.saliency.explain import cut_views, explain, fitting_views
from wsl.saliency.views import Views

_BATCH = 16
_TOP_K = 5  # what `Localization.in_top_k` counts by default, as in a run

AnyImage = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A file, a PIL image, an array (H, W, 3) of uint8, or a tensor (3, H, W): uint8, or float in
[0, 1]. All RGB."""
AnyClasses = int | str | Sequence[int | str]
"""A class or several, each by its id, name or number."""


class Localizer:
    """Finds where the objects of given classes are, with nothing but a classifier.

    Simonyan, Vedaldi and Zisserman 2013 sec. 3.2. The same image, class, options and seed give
    the same result wherever and in whatever order they are computed.

    Parameters
    ----------
    classifier : Classifier, ClassifierAverage or sequence of Classifier
        Several are averaged (`wsl.models.average`): their probabilities and maps.
    recipe : str, Path or LocalizerOptions
        Name of a recipe, a YAML file, or options made in Python.
    overrides : iterable of str, or mapping
        ``key=value`` with a dotted key and a YAML value, or values by dotted keys.

    Examples
    --------
    >>> from wsl import load_classifier
    >>> from wsl.demo.scene import draw_image
    >>> drawn = draw_image(5, seed=0)
    >>> localizer = Localizer(load_classifier("demo"), recipe="fast")
    >>> (found,) = localizer(drawn.image, classes=["mushroom"])
    >>> found.rank, bool((found.mask & drawn.masks[0]).any())
    (1, True)
    """

    def __init__(
        self,
        classifier: AnyClassifier | Sequence[Classifier],
        recipe: str | Path | LocalizerOptions = "default",
        overrides: Iterable[str] | Mapping[str, Any] = (),
    ) -> None:
        self.classifier: AnyClassifier = (
            ClassifierAverage(tuple(classifier)) if isinstance(classifier, Sequence) else classifier
        )
        self.options = load_recipe(recipe, overrides)
        self._views = [
            fitting_views(member, self.options.saliency.views)
            for member in members_of(self.classifier)
        ]

    def __repr__(self) -> str:
        options = self.options
        return (
            f"<Localizer of {self.classifier.name}: {options.saliency.method}, "
            f"{options.localize.refine.method} at {options.localize.working_size} px>"
        )

    @overload
    def __call__(
        self,
        image: AnyImage,
        *,
        classes: AnyClasses | None = None,
        top_k: int | None = None,
        image_id: str | None = None,
    ) -> list[Localization]: ...
    @overload
    def __call__(
        self,
        image: list[AnyImage] | tuple[AnyImage, ...],
        *,
        classes: AnyClasses | None = None,
        top_k: int | None = None,
        image_id: str | None = None,
    ) -> list[list[Localization]]: ...
    def __call__(
        self,
        image: AnyImage | list[AnyImage] | tuple[AnyImage, ...],
        *,
        classes: AnyClasses | None = None,
        top_k: int | None = None,
        image_id: str | None = None,
    ) -> list[Localization] | list[list[Localization]]:
        """Localize the objects of an image, or of each image of a list.

        Parameters
        ----------
        image : path, PIL image, ndarray or Tensor; or a list of them
            An array is (H, W, 3) of uint8; a tensor (3, H, W), uint8 or float in [0, 1]. RGB.
        classes : int, str or sequence of them, optional
            Classes to localize: ids, names or numbers. By default the classifier's first `top_k`.
        top_k : int, optional
            How many classes that is: one by default, as in a run over images without labels.
        image_id : str, optional
            What the random generator is seeded with, beside the class; by default the file's name
            without its ending, or the empty string.

        Returns
        -------
        list of Localization
            In the order of their ranks, with image, saliency map and seeds: `Localization.plot`
            draws them. One such list per image where a list was given.

        Raises
        ------
        ImageError
            If the image cannot be read.
        ConfigError
            If a class is unknown.
        """
        if not isinstance(image, list | tuple):
            return self([image], classes=classes, top_k=top_k, image_id=image_id)[0]
        wanted = [self.classifier.categories.index(name) for name in _listed(classes) or ()]
        localized = []
        for start in range(0, len(image), _BATCH):
            named = [_as_pixels(each) for each in image[start : start + _BATCH]]
            views = [self.views(pixels) for pixels, _ in named]
            first = (1 if top_k is None else top_k) if classes is None else 0
            found = self.explain(views, [wanted] * len(views), first=first)
            for (pixels, name), cut, maps in zip(named, views, found, strict=True):
                on_image = self.image_maps(maps, cut)
                seed_id = name if image_id is None else image_id
                k = _TOP_K if top_k is None else top_k
                localized.append(self.localize(pixels, on_image, image_id=seed_id, top_k=k))
        return localized

    @overload
    def saliency(
        self,
        image: AnyImage,
        *,
        method: str | SaliencyMethod | None = None,
        classes: AnyClasses | None = None,
        top_k: int = 1,
    ) -> list[SaliencyMap]: ...
    @overload
    def saliency(
        self,
        image: list[AnyImage] | tuple[AnyImage, ...],
        *,
        method: str | SaliencyMethod | None = None,
        classes: AnyClasses | None = None,
        top_k: int = 1,
    ) -> list[list[SaliencyMap]]: ...
    def saliency(
        self,
        image: AnyImage | list[AnyImage] | tuple[AnyImage, ...],
        *,
        method: str | SaliencyMethod | None = None,
        classes: AnyClasses | None = None,
        top_k: int = 1,
    ) -> list[SaliencyMap] | list[list[SaliencyMap]]:
        """Compute saliency maps of an image, at its own size, by any method.

        Parameters
        ----------
        image : as of a call
        method : str or SaliencyMethod, optional
            Name of a method, with its defaults and the recipe's views, or a method with its
            options; by default the recipe's.
        classes : int, str or sequence of them, optional
            By default the classifier's first `top_k`.
        top_k : int

        Returns
        -------
        list of SaliencyMap
            In the order of the classes' ranks; `SaliencyMap.saliency` is (H, W) float32, >= 0, and
            `SaliencyMap.plot` draws it. One such list per image where a list was given.
        """
        chosen: SaliencyMethod = self.options.saliency
        if isinstance(method, str):
            chosen = load_recipe(self.options, {"saliency.method": method}).saliency
        elif method is not None:
            chosen = method
        if isinstance(image, list | tuple):
            return [
                self.saliency(each, method=chosen, classes=classes, top_k=top_k) for each in image
            ]
        pixels, _ = _as_pixels(image)
        found = explain(self.classifier, pixels, chosen, classes=_listed(classes), first=top_k)
        return [SaliencyMap(**vars(each), method=chosen.method, image=pixels) for each in found]

    @property
    def view_count(self) -> int:
        """Number of views of each image that the classifier sees."""
        return sum(views.count for views in self._views)

    @property
    def images_at_once(self) -> int | None:
        """How many images `explain` works on at a time; None: all that it is given."""
        return images_at_once(self.classifier, self._views)

    def views(self, image: NDArray[np.uint8]) -> Views:
        """Cut the views of an image for the classifier."""
        return cut_views(self.classifier, image, self._views)

    def explain(
        self,
        views: Sequence[Views],
        classes: Sequence[Sequence[int]],
        *,
        first: int | Sequence[int],
    ) -> list[ClassMaps]:
        """Scores and saliency maps of a batch of images, on the classifier's device.

        Parameters
        ----------
        views : sequence of Views
            One per image; all of the same number of views.
        classes : sequence of (sequence of int)
            Per image the classes wanted whatever their rank.
        first : int or sequence of int
            How many of the classifier's first classes are wanted beside them, for all images or
            each; 0 for none.
        """
        return class_maps(self.classifier, self.options.saliency, views, classes, first=first)

    def image_maps(self, found: ClassMaps, views: Views) -> ImageMaps:
        """Lay the views' maps of an image on the image, at the working sizes."""
        return ImageMaps.of(found, views.geometries, self.options.localize.map_sizes)

    def localize(
        self,
        image: NDArray[np.uint8],
        maps: ImageMaps,
        *,
        image_id: str,
        top_k: int,
        label: int | None = None,
    ) -> list[Localization]:
        """From the maps of one image to its masks and boxes, one per class."""
        return [
            self._localize_class(image, maps, slot, image_id, top_k, label)
            for slot in range(len(maps.classes))
        ]

    def _localize_class(
        self,
        image: NDArray[np.uint8],
        maps: ImageMaps,
        slot: int,
        image_id: str,
        top_k: int,
        label: int | None,
    ) -> Localization:
        class_, rank, probability = maps.classes[slot], maps.ranks[slot], maps.probabilities[slot]
        by_size = maps.of_class(slot)
        saliency = next(iter(by_size.values()))
        found = segment(
            image,
            by_size,
            self.options.localize,
            random_seed=rng_seed(image_id, class_, self.options.seed),
        )
        return Localization(
            label=class_,
            category=self.classifier.categories.names[class_],
            rank=rank,
            score=probability,
            box=found.box,
            mask=found.mask,
            quality=self._quality(image, saliency, found, probability),
            refined=found.refined,
            in_top_k=rank <= top_k,
            is_ground_truth=class_ == label,
            image=image,
            saliency=saliency,
            seeds=found.seeds,
            method=self.options.saliency.method,
        )

    def _quality(
        self,
        image: NDArray[np.uint8],
        saliency: NDArray[np.float32],
        found: Segmentation,
        probability: float,
    ) -> float | None:
        if not self.options.localize.quality:
            return None
        return localization_quality(
            *(image, saliency, found.mask, found.box),
            probability=probability,
            box_mask=found.box_mask,
        )


def _listed(classes: AnyClasses | None) -> Sequence[int | str] | None:
    return [classes] if isinstance(classes, int | str) else classes


def _as_pixels(image: AnyImage) -> tuple[NDArray[np.uint8], str]:
    """Pixels (H, W, 3) of an image, and its name."""
    if isinstance(image, str | Path):
        return load_image(Path(image)), Path(image).stem
    if isinstance(image, Image.Image):
        return to_rgb(image), ""
    if isinstance(image, Tensor):
        return _pixels_of(image), ""
    if not isinstance(image, np.ndarray):
        raise DataError(
            "an image must be a path, a PIL image, an array, a tensor, or a list of them, "
            f"but got {type(image).__name__}"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            "an image array must be uint8 of shape (H, W, 3), "
            f"but got {image.dtype} of shape {image.shape}"
        )
    return image, ""


def _pixels_of(image: Tensor) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise DataError(f"an image tensor must have shape (3, H, W), but got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.is_floating_point():
        if not 0 <= float(image.min()) <= float(image.max()) <= 1:
            raise DataError(
                "a floating-point image tensor must be in [0, 1], not normalized, but is in "
                f"[{float(image.min()):g}, {float(image.max()):g}]"
            )
        image = (image * 255).round()
    return np.ascontiguousarray(image.to(torch.uint8).permute(1, 2, 0).numpy())
