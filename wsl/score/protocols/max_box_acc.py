"""MaxBoxAcc and MaxBoxAccV2: how well the boxes of a map can get, at the best common threshold.

Every map is thresholded at every level, and the threshold that serves the scored images best is
taken. That is an oracle, unless the threshold was chosen on other images and is given. The rules,
oddities included, are those of the authors' program: 224 × 224 pixels, ground truth scaled from the
annotated size and truncated to integers, 255 gray levels, a predicted box that ends one pixel past
its contour. The program has no instances to be ignored: those that a dataset marks so are left out.

References
----------
J. Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020; and
"Evaluation for weakly supervised object localization: protocol, metrics, and datasets", TPAMI
2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from wsl.boxes import as_boxes
from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.images import ImageList, boxed_class
from wsl.score.maps import MAP_SIDE, Map, check_map, check_unit_map, resize_map
from wsl.score.protocol import MapOptions
from wsl.score.result import Curve, Scores

__all__ = [
    "MaxBoxAcc",
    "MaxBoxAccOptions",
    "best_ious",
    "boxes_at_level",
    "evaluator_map",
    "inclusive_iou",
    "prepare_map",
    "scale_corners",
    "scaled_ground_truth",
    "threshold_grid",
]

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class MaxBoxAccOptions(MapOptions):
    """Options of the protocol ``max_box_acc``."""

    summary: ClassVar[str] = "maps: their best box at the best common threshold"
    reference: ClassVar[str] = "Choe et al., CVPR 2020 and TPAMI 2022"

    protocol: Literal["max_box_acc"] = "max_box_acc"
    step: float = Field(0.001, gt=0, lt=1)
    """Distance of the thresholds tried."""
    threshold: float | dict[str, float] | None = None
    """A threshold in [0, 1) that was chosen on other images: one for all metrics, or one for each
    by name. Null takes each metric's best on the scored images, an oracle."""
    iou_thresholds: tuple[int, ...] = (30, 50, 70)
    """IoUs in percent from which a box is right."""

    @field_validator("iou_thresholds")
    @classmethod
    def _in_percent(cls, ious: tuple[int, ...]) -> tuple[int, ...]:
        if not ious or len(set(ious)) < len(ious) or not all(0 < iou <= 100 for iou in ious):
            raise ValueError(f"must be different numbers in 1 to 100, but are {list(ious)}")
        return ious

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics by IoU: of the largest contour's box, then of all boxes."""
        largest = tuple(f"max_box_acc_{iou}".removesuffix("_50") for iou in self.iou_thresholds)
        return (*largest, *(f"max_box_acc_v2_{iou}" for iou in self.iou_thresholds))

    @property
    def given(self) -> dict[str, float]:
        """The given threshold of each metric; empty if none is given."""
        if self.threshold is None:
            return {}
        same = dict.fromkeys(self.names, self.threshold)
        by_name = self.threshold if isinstance(self.threshold, Mapping) else same
        lacking = [name for name in self.names if name not in by_name]
        if lacking:
            raise ScoreError(f"a threshold must be given for {', '.join(lacking)} as well")
        given = {name: float(by_name[name]) for name in self.names}  # type: ignore[arg-type]
        wrong = [value for value in given.values() if not 0 <= value < 1]
        if wrong:
            raise ScoreError(f"a threshold must be in [0, 1), but is {wrong[0]:g}")
        return given

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the maps of a run or of a folder."""
        scorer, listed = MaxBoxAcc(self, boxes), ImageList.of(dataset)
        for image in self.images(folder, dataset, listed, boxed_class):
            name = image.image_id
            map_ = evaluator_map(image.saliency, name=name, stored=self.maps is not None)
            scorer.add(map_, image.boxes(), image.size, name=name)
        return listed.described(scorer.scores())


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


def evaluator_map(map_: ArrayLike | None, *, name: str, stored: bool) -> Map:
    """Bring a map to what the authors' evaluator takes, as their program does.

    Parameters
    ----------
    map_ : array_like, shape (h, w), or None
        In [0, 1]; None of an image that failed becomes zeros.
    name : str
        The image's id, for messages.
    stored : bool
        A map of another tool: if it has 224 × 224 pixels, it is taken as it is.

    Raises
    ------
    ScoreError
        If the map is not 2-D or holds values outside [0, 1].
    """
    if map_ is None:
        return np.zeros((MAP_SIDE, MAP_SIDE))
    array = check_unit_map(map_, name=name)
    return array if stored and array.shape == (MAP_SIDE, MAP_SIDE) else prepare_map(array)


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
    options : MaxBoxAccOptions
    boxes : TrivialBoxes
        The baselines.
    """

    def __init__(
        self, options: MaxBoxAccOptions | None = None, boxes: TrivialBoxes | None = None
    ) -> None:
        self.options = options or MaxBoxAccOptions()
        self._boxes = boxes or TrivialBoxes()
        given = sorted(set(self.options.given.values()))
        self.thresholds = np.array(given) if given else threshold_grid(self.options.step)
        self._levels = np.array(self.options.iou_thresholds) / 100
        self._shape = (len(self.thresholds), len(self.options.names))
        fixed = self._boxes.boxes([(MAP_SIDE, MAP_SIDE)])[:, 0] - (0, 0, 1, 1)
        self._fixed = np.trunc(fixed).astype(np.int64)
        # One bit per image, threshold and metric.
        self._hits: list[NDArray[np.uint8]] = []
        self._fixed_hits: list[NDArray[np.bool_]] = []

    def add(
        self, map_: ArrayLike, boxes: ArrayLike, size: tuple[int, int] | None, *, name: str
    ) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (224, 224)
            Map of the ground-truth class, in [0, 1]; see `evaluator_map`.
        boxes : array_like, shape (N, 4)
            Boxes of the ground-truth class's instances: half-open, in pixels of the image.
        size : (int, int) or None
            The image's annotated (height, width). Without it nothing is right.
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
        fixed = np.zeros((2, len(self._levels)), dtype=bool)
        hits = np.zeros(self._shape, dtype=bool)
        if size is not None:
            try:
                truth = scaled_ground_truth(boxes, size)
            except (ScoreError, ValueError) as error:
                raise ScoreError(f"image {name}: {error}") from error
            fixed = inclusive_iou(self._fixed, truth).max(axis=1)[:, None] >= self._levels
            ious = best_ious(array, truth, self.thresholds)
            hits = (ious[:, :, None] >= self._levels).reshape(self._shape)
        self._hits.append(np.packbits(hits))
        self._fixed_hits.append(fixed)

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            Estimates ``max_box_acc`` (largest contour, IoU 0.5) and ``max_box_acc_30``, …;
            ``max_box_acc_v2`` (all contours, mean over the IoUs, each at its own threshold) and
            its parts ``max_box_acc_v2_30``, …; with their curves over the thresholds.

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._hits:
            raise ScoreError("MaxBoxAcc needs at least one image, but there is none")
        names, n = self.options.names, len(self._hits)
        packed, cells = np.stack(self._hits), self._shape[0] * self._shape[1]
        totals = np.zeros(cells, dtype=np.int64)
        for bits in packed:
            totals += np.unpackbits(bits, count=cells)
        curves = totals.reshape(self._shape) / n
        at = self._chosen(curves)
        cell = at * len(names) + np.arange(len(names))
        hits = (packed[:, cell >> 3] >> (7 - (cell & 7)).astype(np.uint8)) & 1 > 0
        fixed = np.stack(self._fixed_hits, axis=1)
        return Scores(
            protocol=self.options.protocol,
            estimates=self._estimates(hits),
            baselines=self._boxes.baselines(
                lambda which: self._estimates(np.tile(fixed[which], 2))
            ),
            counts={"scored": n},
            notes=(self._note(),),
            curves={
                name: Curve(
                    "threshold",
                    tuple(self.thresholds.tolist()),
                    tuple(curves[:, column].tolist()),
                    float(self.thresholds[at[column]]),
                )
                for column, name in enumerate(names)
            },
        )

    def _chosen(self, curves: _Floats) -> NDArray[np.intp]:
        """Position of each metric's threshold: the given one, or the best, first of equals."""
        given = self.options.given
        if given:
            places = [int(np.searchsorted(self.thresholds, given[name])) for name in given]
            return np.array(places)
        return np.asarray(curves.argmax(axis=0))

    def _estimates(self, hits: NDArray[np.bool_]) -> tuple[Estimate, ...]:
        """Estimates from hits by image and metric, (n, metrics)."""
        names, half = self.options.names, len(self._levels)
        parts = [proportion_estimate(name, hits[:, at]) for at, name in enumerate(names)]
        mean = mean_estimate("max_box_acc_v2", hits[:, half:].mean(axis=1), seed=self.options.seed)
        parts.sort(key=lambda one: (one.name != "max_box_acc", names.index(one.name)))
        return (*parts[:half], mean, *parts[half:])

    def _note(self) -> str:
        if self.options.threshold is not None:
            return "the thresholds were given by score.threshold"
        return (
            f"oracle: each metric is at the best of {len(self.thresholds)} thresholds on the "
            "scored images themselves"
        )
