"""MaxBoxAcc and MaxBoxAccV2: how well the boxes of a map can get, at the best common threshold.

They judge maps, not boxes: every map is cut at every threshold, and the threshold that serves the
scored images best is taken. That is an oracle, unless the threshold was chosen on other images and
is given. The rules, oddities included, are those of the authors' program: 224 × 224 pixels, ground
truth truncated to integers, 255 gray levels, a predicted box that ends one pixel past its contour.

References
----------
J. Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020; and
"Evaluation for weakly supervised object localization: protocol, metrics, and datasets", TPAMI
2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import as_boxes, centered_box
from wsl.errors import ScoreError
from wsl.score.estimates import (
    Estimate,
    PoissonBootstrap,
    exact_mean,
    percentile_interval,
    wilson,
)
from wsl.score.maps import Map, check_map, check_unit_map, resize_map
from wsl.score.result import Baseline, Scores

__all__ = [
    "DELTAS",
    "MAP_SIDE",
    "MaxBoxAcc",
    "MaxBoxScores",
    "boxes_at_level",
    "inclusive_iou",
    "prepare_map",
    "scale_corners",
    "scaled_ground_truth",
    "threshold_grid",
]

MAP_SIDE = 224
DELTAS = (30, 50, 70)

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]

# Columns of hits: the largest contour at 50 % (V1), then all contours at each delta (V2).
_NAMES = ("max_box_acc", *(f"max_box_acc_v2_{delta}" for delta in DELTAS))
_LEVELS = np.array([0.5, *(delta / 100 for delta in DELTAS)])


@dataclass(frozen=True)
class MaxBoxScores(Scores):
    """Scores of maps by their best boxes.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (T,)
        Thresholds tried, as proportions of a map's maximum.
    curves : mapping of str to ndarray of float64, shape (T,)
        Share of hits at each threshold, by the estimate's name.
    best : mapping of str to float
        Threshold at which each estimate stands, the first of equals.
    """

    thresholds: _Floats = field(default_factory=lambda: np.zeros(0), compare=False)
    curves: Mapping[str, _Floats] = field(default_factory=dict, compare=False)
    best: Mapping[str, float] = field(default_factory=dict)


def threshold_grid(step: float) -> _Floats:
    """Thresholds 0, step, 2 step, … below 1."""
    if not 0 < step < 1:
        raise ScoreError(f"the step of thresholds must be in (0, 1), but is {step}")
    return np.arange(0, 1, step)


def prepare_map(map_: ArrayLike, *, name: str = "an image") -> Map:
    """Bring a raw map to the size and range that these scores take.

    Parameters
    ----------
    map_ : array_like, shape (h, w)
        Any values.
    name : str
        The image's id, for messages.

    Returns
    -------
    ndarray of float64, shape (224, 224)
        Bicubic, minus its minimum, divided by the new maximum. A map that is constant or holds a
        NaN becomes zeros, as in the authors' program.

    Raises
    ------
    ScoreError
        If the map is not a 2-D array of numbers, or holds infinity.
    """
    array = np.asarray(map_)
    zeros = np.zeros((MAP_SIDE, MAP_SIDE))
    if array.dtype.kind == "f" and np.isnan(array).any():
        return zeros
    resized = resize_map(check_map(array, name=name), zeros.shape, cubic=True)
    low, high = resized.min(), resized.max()
    return zeros if low == high else (resized - low) / (resized - low).max()


def scaled_ground_truth(boxes: ArrayLike, size: tuple[int, int]) -> _Ints:
    """Scale boxes to the 224 × 224 pixels of the map, as the authors' program does.

    Parameters
    ----------
    boxes : array_like, shape (N, 4)
        Half-open, in pixels of the image.
    size : (int, int)
        The image's (height, width).

    Returns
    -------
    ndarray of int64, shape (N, 4)
        Inclusive corners, scaled as if they were points, and truncated.

    Raises
    ------
    ScoreError
        If there is no box, or one is reversed or has a negative corner.
    """
    return scale_corners(as_boxes(boxes) - (0, 0, 1, 1), size, (MAP_SIDE, MAP_SIDE))


def scale_corners(inclusive: _Floats, size: tuple[int, int], to_size: tuple[int, int]) -> _Ints:
    """Scale inclusive corners from an image's (height, width) to another, and truncate them.

    Examples
    --------
    >>> scale_corners(np.array([[1, 2, 4, 3]]), (20, 10), (10, 35)).tolist()
    [[3, 1, 14, 1]]
    """
    if not len(inclusive):
        raise ScoreError("an image must have at least one ground-truth box, but has none")
    if (inclusive[:, :2] > inclusive[:, 2:]).any() or (inclusive < 0).any():
        raise ScoreError(
            "ground-truth boxes must lie at 0 or above and hold at least one pixel, but got "
            f"inclusive corners {inclusive.tolist()}"
        )
    height, width = size
    onto = np.array([to_size[1], to_size[0]] * 2, dtype=np.float64)
    # First multiplied, then divided: the other order truncates some corners to another pixel.
    return np.asarray(np.trunc(inclusive * onto / ([width, height] * 2)), dtype=np.int64)


def inclusive_iou(first: _Ints, second: _Ints) -> _Floats:
    """IoU of each of N boxes with each of M, corners belonging to the boxes: (N, M)."""
    a, b = first[:, None, :], second[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    areas_a = (a[..., 2:] - a[..., :2] + 1).prod(axis=-1)
    areas_b = (b[..., 2:] - b[..., :2] + 1).prod(axis=-1)
    union = areas_a + areas_b - intersection
    iou: _Floats = np.zeros(union.shape)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def boxes_at_level(gray: NDArray[np.uint8], level: int) -> tuple[_Ints, int]:
    """Boxes of the contours of all pixels above a gray level.

    Parameters
    ----------
    gray : ndarray of uint8, shape (h, w)
    level : int

    Returns
    -------
    boxes : ndarray of int64, shape (C, 4)
        One per contour, borders of holes included; (x, y, x + w, y + h) with the end clipped to
        the last pixel. One box (0, 0, 0, 0) if no pixel is above the level.
    largest : int
        Which of them belongs to the contour of the largest area, the first of equals.
    """
    binary = (gray > level).astype(np.uint8)
    contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return np.zeros((1, 4), dtype=np.int64), 0
    rectangles = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.int64)
    areas = [cv2.contourArea(contour) for contour in contours]
    height, width = gray.shape
    ends = np.minimum(rectangles[:, :2] + rectangles[:, 2:], (width - 1, height - 1))
    return np.concatenate([rectangles[:, :2], ends], axis=1), int(np.argmax(areas))


def best_ious(map_: Map, truth: _Ints, thresholds: _Floats) -> _Floats:
    """Best IoU of a map's boxes with the ground truth, at each threshold.

    Parameters
    ----------
    map_ : ndarray of float64, shape (h, w)
        In [0, 1].
    truth : ndarray of int64, shape (N, 4)
        Inclusive corners in pixels of the map.
    thresholds : ndarray of float64, shape (T,)

    Returns
    -------
    ndarray of float64, shape (T, 2)
        Of the largest contour's box, and over all contours' boxes.
    """
    gray = (map_ * 255).astype(np.uint8)
    levels = (thresholds * int(gray.max())).astype(np.int64)
    # The map has at most 256 gray levels, and a level that no pixel has changes nothing: all
    # thresholds between two of them cut alike.
    held = np.unique(gray)
    cut = np.searchsorted(held, levels, side="right") - 1
    needed, position = np.unique(cut, return_inverse=True)
    found = np.empty((len(needed), 2))
    for at, index in enumerate(needed.tolist()):
        # Below the least gray level every pixel is above.
        boxes, largest = boxes_at_level(gray, int(held[index]) if index >= 0 else -1)
        iou = inclusive_iou(boxes, truth).max(axis=1)
        found[at] = iou[largest], iou.max()
    return np.asarray(found[position])


class MaxBoxAcc:
    """MaxBoxAcc and MaxBoxAccV2 over images that are added one at a time.

    Parameters
    ----------
    step : float
        Distance of the thresholds tried.
    threshold : float, mapping of str to float, or None
        A threshold in [0, 1) that was chosen on other images: one for all estimates, or one per
        estimate (``MaxBoxScores.best`` of the other images). None takes each estimate's best on the
        added images.
    chosen_on : str
        Where a given threshold comes from, for the reader.
    center_side, center_chosen
        Side of the centered box of the baseline, and how it was chosen.
    seed : int
        Of the bootstrap.
    """

    def __init__(
        self,
        *,
        step: float = 0.001,
        threshold: float | Mapping[str, float] | None = None,
        chosen_on: str = "other images",
        center_side: float = 0.75,
        center_chosen: str = "fixed in advance",
        seed: int = 0,
    ) -> None:
        self._given = _given_thresholds(threshold)
        given = sorted(set(self._given.values())) if self._given else []
        self.thresholds = np.array(given) if given else threshold_grid(step)
        self._chosen_on = chosen_on
        self._center = (center_side, center_chosen)
        self._hits = np.zeros((len(self.thresholds), len(_NAMES)))
        self._bootstrap = PoissonBootstrap(self._hits.size, seed=seed)
        self._fixed_hits = np.zeros((2, len(_NAMES)))
        self._fixed_bootstrap = PoissonBootstrap(self._fixed_hits.size, seed=seed)
        side = (MAP_SIDE, MAP_SIDE)
        fixed = np.array([(0, 0, *side), centered_box(side, center_side)]) - (0, 0, 1, 1)
        self._fixed = np.trunc(fixed).astype(np.int64)
        self.n = 0

    def add(self, map_: ArrayLike, boxes: ArrayLike, size: tuple[int, int], *, name: str) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (224, 224)
            Map of the ground-truth class, in [0, 1]; see `prepare_map`.
        boxes : array_like, shape (N, 4)
            Boxes of the ground-truth class's instances: half-open, in pixels of the image.
        size : (int, int)
            The image's (height, width).
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, or the boxes are none, reversed or negative.
        """
        array = check_unit_map(map_, name=name)
        if array.shape != (MAP_SIDE, MAP_SIDE):
            raise ScoreError(
                f"map of {name}: must be {MAP_SIDE} × {MAP_SIDE}, but is {array.shape[0]} × "
                f"{array.shape[1]}: prepare it first"
            )
        try:
            truth = scaled_ground_truth(boxes, size)
        except (ScoreError, ValueError) as error:
            raise ScoreError(f"image {name}: {error}") from error
        ious = best_ious(array, truth, self.thresholds)
        hits = ious[:, [0] + [1] * len(DELTAS)] >= _LEVELS
        fixed_hits = inclusive_iou(self._fixed, truth).max(axis=1)[:, None] >= _LEVELS
        self._hits += hits
        self._fixed_hits += fixed_hits
        self._bootstrap.add(hits.ravel())
        self._fixed_bootstrap.add(fixed_hits.ravel())
        self.n += 1

    def scores(self, *, dataset: str = "") -> MaxBoxScores:
        """Score what was added.

        Returns
        -------
        MaxBoxScores
            Estimates ``max_box_acc`` (largest contour, IoU 0.5), ``max_box_acc_v2`` (all contours,
            mean over IoU 0.3, 0.5 and 0.7, each at its own threshold) and its three parts.

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self.n:
            raise ScoreError("MaxBoxAcc needs at least one image, but there is none")
        at = self._chosen()
        columns = np.arange(len(_NAMES))
        sums, weights = self._bootstrap.sums()
        replicates = sums.reshape(len(sums), *self._hits.shape)[:, at, columns]
        fixed_sums = self._fixed_bootstrap.sums()[0].reshape(len(sums), *self._fixed_hits.shape)
        side, chosen = self._center
        described = (
            ("whole image", "the box is the whole image"),
            (
                f"centered box {side:g}",
                f"the box is centered, each side {side:g} of the image's, {chosen}",
            ),
        )
        return MaxBoxScores(
            protocol="max_box_acc",
            dataset=dataset,
            estimates=self._estimates(self._hits[at, columns], replicates, weights),
            baselines=tuple(
                Baseline(name, note, self._estimates(hits, fixed_sums[:, index], weights))
                for index, ((name, note), hits) in enumerate(
                    zip(described, self._fixed_hits, strict=True)
                )
            ),
            counts={"scored": self.n},
            notes=(self._note(),),
            thresholds=self.thresholds,
            curves={name: self._hits[:, column] / self.n for column, name in enumerate(_NAMES)},
            best={name: float(self.thresholds[i]) for name, i in zip(_NAMES, at, strict=True)},
        )

    def _chosen(self) -> NDArray[np.intp]:
        """Position of each estimate's threshold: the given one, or the best, first of equals."""
        if self._given:
            places = [int(np.searchsorted(self.thresholds, self._given[name])) for name in _NAMES]
            return np.array(places)
        return np.asarray(self._hits.argmax(axis=0))

    def _estimates(
        self, hits: _Floats, replicates: _Floats, weights: _Floats
    ) -> tuple[Estimate, ...]:
        estimates = []
        for name, count in zip(_NAMES, hits.tolist(), strict=True):
            low, high = wilson(int(count), self.n)
            estimates.append(Estimate(name, count / self.n, self.n, low, high))
        # With very few images a replicate may have drawn none: it says nothing.
        drawn = weights > 0
        low, high = percentile_interval(replicates[drawn, 1:].mean(axis=1) / weights[drawn])
        mean = exact_mean(hits[1:] / self.n)
        overall = Estimate("max_box_acc_v2", mean, self.n, low, high, "mean", interval="bootstrap")
        return (estimates[0], overall, *estimates[1:])

    def _note(self) -> str:
        if self._given:
            return f"the thresholds were chosen on {self._chosen_on}"
        return (
            f"oracle: each estimate stands at the best of {len(self.thresholds)} thresholds on the "
            "scored images themselves"
        )


def _given_thresholds(threshold: float | Mapping[str, float] | None) -> dict[str, float]:
    if threshold is None:
        return {}
    by_name = threshold if isinstance(threshold, Mapping) else dict.fromkeys(_NAMES, threshold)
    lacking = [name for name in _NAMES if name not in by_name]
    if lacking:
        raise ScoreError(f"a threshold must be given for {', '.join(lacking)} as well")
    given = {name: float(by_name[name]) for name in _NAMES}
    wrong = [value for value in given.values() if not 0 <= value < 1]
    if wrong:
        raise ScoreError(f"a threshold must be in [0, 1), but is {wrong[0]:g}")
    return given
