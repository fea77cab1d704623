"""Maps and boxes as the evaluator of Choe et al. takes them: 224 × 224, inclusive corners."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import as_boxes
from wsl.errors import ScoreError
from wsl.score.maps import MAP_SIDE, Map, check_map, check_unit_map, resize_map

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def threshold_grid(step: float) -> Floats:
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


def check_prepared(map_: ArrayLike, *, name: str) -> Map:
    """Return a map as an array; refuse one that is not 224 × 224 with values in [0, 1]."""
    array = check_unit_map(map_, name=name)
    if array.shape != (MAP_SIDE, MAP_SIDE):
        raise ScoreError(
            f"map of {name}: must be {MAP_SIDE} × {MAP_SIDE}, but is {array.shape[0]} × "
            f"{array.shape[1]}: prepare it first"
        )
    return array


def scaled_ground_truth(boxes: ArrayLike, size: tuple[int, int]) -> Ints:
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


def scale_corners(inclusive: Floats, size: tuple[int, int], to_size: tuple[int, int]) -> Ints:
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


def inclusive_iou(first: Ints, second: Ints) -> Floats:
    """IoU of each of N boxes with each of M, corners belonging to the boxes: (N, M)."""
    a, b = first[:, None, :], second[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    areas_a = (a[..., 2:] - a[..., :2] + 1).prod(axis=-1)
    areas_b = (b[..., 2:] - b[..., :2] + 1).prod(axis=-1)
    union = areas_a + areas_b - intersection
    iou: Floats = np.zeros(union.shape)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def boxes_at_level(gray: NDArray[np.uint8], level: int) -> tuple[Ints, int]:
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


def best_ious(map_: Map, truth: Ints, thresholds: Floats) -> Floats:
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
