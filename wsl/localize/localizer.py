"""From an image to masks and boxes.

`Localizer` is the library's front door. Its call is five stages, and each stage is a method of
its own, so that an engine can overlap the stages of many images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.data.images import load_image, to_rgb
from wsl.errors import DataError
from wsl.localize.image_maps import ImageMaps
from wsl.localize.options import LocalizerOptions, load_recipe
from wsl.localize.prediction import Localization
from wsl.localize.quality import localization_quality
from wsl.localize.refiners.base import rng_seed
from wsl.localize.segment import Segmentation, segment
from wsl.models.classifier import Classifier
from wsl.saliency.explain import ClassMaps, class_maps, fitting_views
from wsl.saliency.views import Views, make_views

__all__ = ["Localizer", "Trace"]


@dataclass(frozen=True, eq=False)
class Trace:
    """A localization with the steps that led to it.

    Attributes
    ----------
    localization : Localization
    saliency : ndarray of float32, shape (h, w)
        The map in the image's coordinates, at the working size.
    seeds : ndarray of uint8, shape (h, w)
        Seed codes, at the working size.
    """

    localization: Localization
    saliency: NDArray[np.float32]
    seeds: NDArray[np.uint8]


class Localizer:
    """Finds where the objects of given classes are, with nothing but a classifier.

    Simonyan, Vedaldi and Zisserman 2013 sec. 3.2. The same image, class, options and seed give
    the same result wherever and in whatever order they are computed.

    Parameters
    ----------
    classifier : Classifier
    recipe : str, Path or LocalizerOptions
        Name of a recipe, a YAML file, or options made in Python.
    overrides : iterable of str, or mapping
        ``key=value`` with a dotted key and a YAML value, or values by dotted keys.

    Examples
    --------
    >>> from wsl import Localizer, load_classifier  # doctest: +SKIP
    >>> localizer = Localizer(load_classifier("resnet50"))  # doctest: +SKIP
    >>> [found.box for found in localizer("dog.jpg", top_k=1)]  # doctest: +SKIP
    [(34, 12, 402, 371)]
    """

    def __init__(
        self,
        classifier: Classifier,
        recipe: str | Path | LocalizerOptions = "default",
        overrides: Iterable[str] | Mapping[str, Any] = (),
    ) -> None:
        self.classifier = classifier
        self.options = load_recipe(recipe, overrides)
        self._views = fitting_views(classifier, self.options.saliency.views)

    def __call__(
        self,
        image: str | Path | Image.Image | NDArray[np.uint8],
        *,
        classes: Sequence[int | str] | None = None,
        top_k: int = 5,
        image_id: str | None = None,
    ) -> list[Localization]:
        """Localize the objects of an image.

        Parameters
        ----------
        image : path, PIL image, or ndarray of uint8 and shape (H, W, 3)
            An array is RGB.
        classes : sequence of int or str, optional
            Classes to localize: ids, names or numbers. By default the classifier's first `top_k`.
        top_k : int
        image_id : str, optional
            What the random generator is seeded with, beside the class; by default the file's name
            without its ending, or the empty string.

        Returns
        -------
        list of Localization
            In the order of their ranks.

        Raises
        ------
        ImageError
            If the image cannot be read.
        ConfigError
            If a class is unknown.
        """
        return [
            trace.localization
            for trace in self.trace(image, classes=classes, top_k=top_k, image_id=image_id)
        ]

    def trace(
        self,
        image: str | Path | Image.Image | NDArray[np.uint8],
        *,
        classes: Sequence[int | str] | None = None,
        top_k: int = 5,
        image_id: str | None = None,
    ) -> list[Trace]:
        """Localize the objects of an image and keep the steps; otherwise like a call."""
        pixels, name = _as_pixels(image)
        views = self.views(pixels)
        chosen = [self.classifier.categories.index(name) for name in classes or ()]
        (found,) = self.explain([views], [chosen], first=top_k if classes is None else 0)
        maps = self.image_maps(found, views)
        return self.localize(pixels, maps, image_id=image_id or name, top_k=top_k)

    @property
    def view_count(self) -> int:
        """Number of views of each image that the classifier sees."""
        return self._views.count

    def views(self, image: NDArray[np.uint8]) -> Views:
        """Cut the views of an image for the classifier."""
        return make_views(image, self.classifier.preprocessing, self._views)

    def explain(
        self, views: Sequence[Views], classes: Sequence[Sequence[int]], *, first: int
    ) -> list[ClassMaps]:
        """Scores and saliency maps of a batch of images, on the classifier's device.

        Parameters
        ----------
        views : sequence of Views
            One per image; all of the same number of views.
        classes : sequence of (sequence of int)
            Per image the classes wanted whatever their rank.
        first : int
            How many of the classifier's first classes are wanted beside them; 0 for none.
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
    ) -> list[Trace]:
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
    ) -> Trace:
        class_, rank, probability = maps.classes[slot], maps.ranks[slot], maps.probabilities[slot]
        by_size = maps.of_class(slot)
        saliency = next(iter(by_size.values()))
        found = segment(
            image,
            by_size,
            self.options.localize,
            random_seed=rng_seed(image_id, class_, self.options.seed),
        )
        localization = Localization(
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
        )
        return Trace(localization, saliency, found.seeds)

    def _quality(
        self,
        image: NDArray[np.uint8],
        saliency: NDArray[np.float32],
        found: Segmentation,
        probability: float,
    ) -> float | None:
        if not self.options.localize.quality:
            return None
        return localization_quality(image, saliency, found.mask, found.box, probability=probability)


def _as_pixels(
    image: str | Path | Image.Image | NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], str]:
    if isinstance(image, str | Path):
        return load_image(Path(image)), Path(image).stem
    if isinstance(image, Image.Image):
        return to_rgb(image), ""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            "an image array must be uint8 of shape (H, W, 3), "
            f"but got {image.dtype} of shape {image.shape}"
        )
    return image, ""
