"""Boxes: the convention and its arithmetic.

A box is ``(x0, y0, x1, y1)`` in pixels of the image as stored on disk after EXIF rotation: 0-based
and half-open, so that ``x1 - x0`` is its width, and the box of the whole image of size
``(height, width)`` is ``(0, 0, width, height)``. "No box" is ``None``. Readers and writers convert
other conventions at their border; nothing else does. Coordinates may be fractional.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Box = tuple[float, float, float, float]


def as_boxes(boxes: ArrayLike | Sequence[Box]) -> NDArray[np.float64]:
    """Return boxes as an array of shape (N, 4), checked.

    Parameters
    ----------
    boxes : array_like, shape (N, 4) or (4,)
        One box or several; an empty sequence is no box at all.

    Returns
    -------
    ndarray of float64, shape (N, 4)

    Raises
    ------
    ValueError
        If the shape is wrong, a coordinate is not finite, or a box has ``x1 < x0`` or ``y1 < y0``.
    """
    array = np.array(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), but got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("boxes must be finite, but got NaN or infinity")
    reversed_boxes = (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if reversed_boxes.any():
        first = array[reversed_boxes][0].tolist()
        raise ValueError(f"boxes must have x0 <= x1 and y0 <= y1, but got {first}")
    return array


def box_area(boxes: ArrayLike) -> NDArray[np.float64]:
    """Area of each box in square pixels, shape (N,)."""
    array = as_boxes(boxes)
    return np.asarray((array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1]), dtype=np.float64)


def box_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box of one set with every box of another.

    The same value as the ILSVRC development kit's on inclusive corners with widths of
    ``x1 - x0 + 1`` (SCORING: section 1).

    Parameters
    ----------
    first : array_like, shape (N, 4)
    second : array_like, shape (M, 4)

    Returns
    -------
    ndarray of float64, shape (N, M)
        In [0, 1]. Two boxes without area have IoU 0.

    Examples
    --------
    >>> box_iou([(1, 2, 6, 7)], [(3, 1, 5, 6)]).round(4).tolist()
    [[0.2963]]
    """
    a, b = as_boxes(first), as_boxes(second)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    intersection = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    iou: NDArray[np.float64] = np.zeros(intersection.shape)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def clip_box(box: Box, size: tuple[int, int]) -> Box | None:
    """Cut a box at the borders of an image.

    Parameters
    ----------
    box : Box
    size : (int, int)
        The image's (height, width).

    Returns
    -------
    Box or None
        None if nothing of the box lies inside the image.
    """
    height, width = size
    x0, y0, x1, y1 = box
    clipped = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return None
    return clipped


def from_inclusive(box: Box) -> Box:
    """Turn a box whose last column and row belong to it into a half-open one.

    Examples
    --------
    >>> from_inclusive((0, 0, 226, 226))
    (0, 0, 227, 227)
    """
    x0, y0, x1, y1 = box
    return (x0, y0, x1 + 1, y1 + 1)


def to_inclusive(box: Box) -> Box:
    """Turn a half-open box into one whose last column and row belong to it."""
    x0, y0, x1, y1 = box
    return (x0, y0, x1 - 1, y1 - 1)


def centered_box(size: tuple[int, int], side: float) -> Box:
    """Box at the center of an image, the trivial localization to beat.

    Parameters
    ----------
    size : (int, int)
        The image's (height, width).
    side : float
        Share of each of the image's sides that the box's side has, in (0, 1]; 1 is the whole image.

    Examples
    --------
    >>> centered_box((100, 200), 0.5)
    (50.0, 25.0, 150.0, 75.0)
    """
    if not 0 < side <= 1:
        raise ValueError(f"side must be in (0, 1], but got {side}")
    height, width = size
    x, y = width * (1 - side) / 2, height * (1 - side) / 2
    return (x, y, width - x, height - y)


def box_to_mask(box: Box, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of all pixels whose center lies in the box, shape (height, width)."""
    height, width = size
    x0, y0, x1, y1 = (math.ceil(value - 0.5) for value in box)
    mask = np.zeros((height, width), dtype=bool)
    mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask
