"""The pointing game: whether the highest point of a map lies on an object of the class.

References
----------
J. Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016, sec. 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import Box, as_boxes
from wsl.errors import ScoreError
from wsl.masks import Mask
from wsl.score.estimates import (
    Estimate,
    PoissonBootstrap,
    exact_mean,
    percentile_interval,
    wilson,
)
from wsl.score.maps import check_map, resize_map
from wsl.score.result import Baseline, Scores

__all__ = ["TOLERANCE", "PointingGame", "box_distance", "highest_point", "mask_distance"]

TOLERANCE = 15.0

Point = tuple[int, int]


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
    """Accuracy of the pointing game over pairs of an image and a class, added one at a time.

    Parameters
    ----------
    tolerance : float
        A point at most so many pixels away from an instance is a hit.
    seed : int
        Of the bootstrap.
    """

    def __init__(self, *, tolerance: float = TOLERANCE, seed: int = 0) -> None:
        if not tolerance >= 0:
            raise ScoreError(f"the tolerance must be 0 pixels or more, but is {tolerance}")
        self.tolerance, self._seed = tolerance, seed
        self._labels: list[int] = []
        self._hits: list[tuple[bool, bool]] = []

    def add(
        self,
        map_: ArrayLike,
        instances: Sequence[Mask] | ArrayLike,
        size: tuple[int, int],
        *,
        label: int,
        name: str,
    ) -> None:
        """Add one class of one image.

        Parameters
        ----------
        map_ : array_like, shape (h, w)
            Map of the class; any finite values.
        instances : array_like, shape (N, 4), or sequence of ndarray of bool, shape (H, W)
            The class's instances: half-open boxes, or masks.
        size : (int, int)
            The image's (height, width).
        label : int
            The class.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, a mask has another size, or there is no instance.
        """
        point = highest_point(map_, size, name=name)
        height, width = size
        center = ((width - 1) // 2, (height - 1) // 2)
        hits = [self._is_hit(at, instances, size, name=name) for at in (point, center)]
        self._hits.append((hits[0], hits[1]))
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
        return min(distances) <= self.tolerance

    def scores(self, *, dataset: str = "") -> Scores:
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
            protocol="pointing game",
            dataset=dataset,
            estimates=self._estimates(hits[:, 0]),
            baselines=(
                Baseline(
                    "center", "points at the center of the image", self._estimates(hits[:, 1])
                ),
            ),
            counts={"scored": len(hits), "classes": len(set(self._labels))},
            notes=(f"a hit is at most {self.tolerance:g} pixels away from an instance",),
        )

    def _estimates(self, hits: NDArray[np.bool_]) -> tuple[Estimate, Estimate]:
        n = len(hits)
        low, high = wilson(int(hits.sum()), n)
        overall = Estimate("pointing_accuracy", int(hits.sum()) / n, n, low, high)
        classes, of_class = np.unique(self._labels, return_inverse=True)
        totals = np.bincount(of_class, minlength=len(classes))
        proportions = np.bincount(of_class, weights=hits, minlength=len(classes)) / totals
        bootstrap = PoissonBootstrap(2 * len(classes), seed=self._seed)
        for position, hit in zip(of_class.tolist(), hits.tolist(), strict=True):
            vector = np.zeros(2 * len(classes))
            vector[position], vector[len(classes) + position] = hit, 1
            bootstrap.add(vector)
        sums, weights = bootstrap.sums()
        drawn = sums[weights > 0]
        found: NDArray[np.float64] = np.full((len(drawn), len(classes)), np.nan)
        counts = drawn[:, len(classes) :]
        np.divide(drawn[:, : len(classes)], counts, out=found, where=counts > 0)
        low, high = percentile_interval(np.nanmean(found, axis=1))
        mean = exact_mean(proportions)
        name = "pointing_accuracy_by_class"
        return overall, Estimate(name, mean, n, low, high, "mean", interval="bootstrap")


def _as_masks(instances: Sequence[Mask] | ArrayLike) -> Sequence[Mask] | None:
    """Return the instances if they are masks, None if they are boxes."""
    listed = list(instances) if isinstance(instances, Sequence | np.ndarray) else []
    if listed and all(isinstance(one, np.ndarray) and one.dtype == np.bool_ for one in listed):
        return listed
    return None
