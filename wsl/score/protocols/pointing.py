"""The pointing game: whether the highest point of a map lies on an object of the class.

The pairs and the rule are those of the authors' program as TorchRay has it: every class of an image
is a pair; all instances of the class are targets, those marked difficult or crowd included, but a
class of which all instances are difficult is no pair of a VOC dataset; a hit is nearer than 15
pixels. VOC's objects are its boxes, COCO's its masks.

References
----------
J. Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016, sec. 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from wsl.boxes import Box, as_boxes
from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.masks import Mask, decode_rle
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import (
    Estimate,
    PoissonBootstrap,
    exact_mean,
    proportion_estimate,
    symmetric_interval,
)
from wsl.score.image_list import ImageList
from wsl.score.images import ScoredImage
from wsl.score.maps import check_map, resize_map
from wsl.score.protocol import MapOptions
from wsl.score.result import Baseline, Scores

Point = tuple[int, int]


class PointingOptions(MapOptions):
    """Options of the protocol ``pointing``."""

    summary: ClassVar[str] = "maps: whether their highest point lies on the object"
    reference: ClassVar[str] = "Zhang et al., ECCV 2016"

    protocol: Literal["pointing"] = "pointing"
    tolerance: float = Field(15.0, gt=0)
    """A point nearer than so many pixels to an instance is a hit."""
    target: Literal["box", "mask"] | None = None
    """What an instance is; null takes masks where all instances of the class have one, but the
    boxes of a VOC dataset."""

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the maps of a run or of a folder."""
        scorer, listed = PointingGame(self), ImageList.of(dataset)
        voc = dataset.name.startswith("voc")

        def classes(sample: Sample) -> Sequence[int] | str:
            return _classes(sample, skip_difficult=voc)

        for image in self.images(folder, dataset, listed, classes):
            targets = self._targets(image, voc=voc)
            scorer.add(image.saliency, targets, image.size, label=image.label, name=image.image_id)
        return listed.described(scorer.scores())

    def _targets(self, image: ScoredImage, *, voc: bool) -> Sequence[Mask] | NDArray[np.float64]:
        instances = [i for i in image.annotation.instances if i.label == image.label]
        masks = [decode_rle(i.mask, image.known_size) for i in instances if i.mask]
        if self.target == "box" or (self.target is None and (voc or len(masks) < len(instances))):
            return image.annotation.boxes(image.label)
        if not masks:
            image.check_masks()
        return masks


def _classes(sample: Sample, *, skip_difficult: bool) -> Sequence[int] | str:
    """Return the known classes of an image, or why there is none."""
    if sample.annotation is None:
        return "it has no annotation"
    labels = {i.label for i in sample.annotation.instances if i.label >= 0}
    if skip_difficult:
        labels &= set(sample.annotation.labels)
    return sorted(labels) or "its annotation has no object of a known class"


def highest_point(map_: ArrayLike, size: tuple[int, int], *, name: str) -> Point:
    """Pixel (x, y) of an image at which a map is greatest.

    Parameters
    ----------
    map_ : array_like, shape (h, w)
        Any finite values; scaled to the image's size (bilinear).
    size : (int, int)
        The image's (height, width).
    name : str
        The image's id, for messages.

    Returns
    -------
    (int, int)
        Of equals the first, row by row; of a constant map (0, 0).
    """
    resized = resize_map(check_map(map_, name=name), size)
    y, x = divmod(int(resized.argmax()), size[1])
    return (x, y)


def box_distance(point: Point, box: Box) -> float:
    """Distance in pixels from a pixel to the nearest pixel whose center lies in a box.

    Infinite if the box holds no pixel's center.

    Examples
    --------
    >>> box_distance((0, 0), (3, 4, 9, 9))
    5.0
    """
    first_x, first_y, end_x, end_y = (math.ceil(value - 0.5) for value in box)
    if first_x >= end_x or first_y >= end_y:
        return math.inf
    dx = max(first_x - point[0], 0, point[0] - (end_x - 1))
    dy = max(first_y - point[1], 0, point[1] - (end_y - 1))
    return math.hypot(dx, dy)


def mask_distance(point: Point, mask: Mask) -> float:
    """Distance in pixels from a pixel to the nearest one of a mask; infinite if it is empty."""
    y, x = np.nonzero(mask)
    if not len(x):
        return math.inf
    return math.sqrt(int(((x - point[0]) ** 2 + (y - point[1]) ** 2).min()))


class PointingGame:
    """Accuracy of the pointing game over pairs of an image and a class, added one at a time."""

    def __init__(self, options: PointingOptions | None = None) -> None:
        self.options = options or PointingOptions()
        self._labels: list[int] = []
        self._hits: list[tuple[bool, bool]] = []

    def add(
        self,
        map_: ArrayLike | None,
        instances: Sequence[Mask] | ArrayLike,
        size: tuple[int, int] | None,
        *,
        label: int,
        name: str,
    ) -> None:
        """Add one class of one image.

        Parameters
        ----------
        map_ : array_like, shape (h, w), or None
            Map of the class; any finite values. None is a miss.
        instances : array_like, shape (N, 4), or sequence of ndarray of bool, shape (H, W)
            The class's instances: half-open boxes, or masks.
        size : (int, int) or None
            The image's (height, width). Without it nothing is a hit.
        label : int
            The class.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, a mask has another size, or there is no instance.
        """
        hit = at_center = False
        if size is not None:
            center = ((size[1] - 1) // 2, (size[0] - 1) // 2)
            at_center = self._is_hit(center, instances, size, name=name)
            if map_ is not None:
                point = highest_point(map_, size, name=name)
                hit = self._is_hit(point, instances, size, name=name)
        self._hits.append((hit, at_center))
        self._labels.append(label)

    def _is_hit(
        self,
        point: Point,
        instances: Sequence[Mask] | ArrayLike,
        size: tuple[int, int],
        *,
        name: str,
    ) -> bool:
        masks = _as_masks(instances)
        if masks is None:
            distances = [box_distance(point, tuple(box)) for box in as_boxes(instances).tolist()]
        else:
            wrong = [mask.shape for mask in masks if mask.shape != size]
            if wrong:
                raise ScoreError(
                    f"image {name}: masks must have the image's size {size}, but got {wrong[0]}"
                )
            distances = [mask_distance(point, mask) for mask in masks]
        if not distances:
            raise ScoreError(f"image {name}: must have at least one instance, but has none")
        return min(distances) < self.options.tolerance

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            Estimates ``pointing_accuracy`` (proportion of all pairs of an image and a class) and
            ``pointing_accuracy_by_class`` (mean over classes of the class's proportion).

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._hits:
            raise ScoreError("the pointing game needs at least one image, but there is none")
        hits = np.array(self._hits, dtype=bool)
        return Scores(
            protocol=self.options.protocol,
            estimates=self._estimates(hits[:, 0]),
            baselines=(
                Baseline("center", "the point is the image's center", self._estimates(hits[:, 1])),
            ),
            counts={"scored": len(hits), "pairs": len(hits), "classes": len(set(self._labels))},
            notes=(
                f"n counts pairs of an image and a class; a hit is nearer than "
                f"{self.options.tolerance:g} pixels to an instance",
            ),
        )

    def _estimates(self, hits: NDArray[np.bool_]) -> tuple[Estimate, Estimate]:
        classes, of_class = np.unique(self._labels, return_inverse=True)
        k, bootstrap = len(classes), PoissonBootstrap(2 * len(classes), seed=self.options.seed)
        for position, hit in zip(of_class.tolist(), hits.tolist(), strict=True):
            vector = np.zeros(2 * k)
            vector[position], vector[k + position] = hit, 1
            bootstrap.add(vector)
        sums, weights = bootstrap.sums()
        own = [np.bincount(of_class, hits, minlength=k), np.bincount(of_class, minlength=k)]
        totals = np.concatenate([np.concatenate(own)[None], sums[weights > 0]])
        found: NDArray[np.float64] = np.full((len(totals), k), np.nan)
        np.divide(totals[:, :k], totals[:, k:], out=found, where=totals[:, k:] > 0)
        mean = exact_mean(found[0])
        low, high = symmetric_interval(mean, np.nanmean(found[1:], axis=1), len(hits))
        return proportion_estimate("pointing_accuracy", hits), Estimate(
            "pointing_accuracy_by_class",
            mean,
            len(hits),
            low,
            high,
            "mean",
            interval="bootstrap",
        )


def _as_masks(instances: Sequence[Mask] | ArrayLike) -> Sequence[Mask] | None:
    """Return the instances if they are masks, None if they are boxes."""
    listed = list(instances) if isinstance(instances, Sequence | np.ndarray) else []
    if listed and all(isinstance(one, np.ndarray) and one.dtype == np.bool_ for one in listed):
        return listed
    return None
