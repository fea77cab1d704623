"""Masks: area, IoU, components, the box of a mask, and COCO run lengths.

A mask is a (H, W) array of bool in pixels of the image as stored on disk after EXIF rotation. On
disk masks are COCO's compressed run lengths: column by column, alternating run lengths of
background and foreground, starting with background, packed into printable characters
(pycocotools defines the packing and does it here).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from wsl.boxes import Box

__all__ = [
    "Mask",
    "components",
    "decode_rle",
    "encode_rle",
    "largest_component",
    "mask_iou",
    "mask_to_box",
    "rle_area",
]

Mask = NDArray[np.bool_]


def _checked(mask: Mask) -> Mask:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(
            f"a mask must be a (H, W) array of bool, but got {mask.dtype} of shape {mask.shape}"
        )
    return mask


def mask_iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one size, in [0, 1]; 0 if both are empty."""
    if _checked(first).shape != _checked(second).shape:
        raise ValueError(f"masks must have one size, but got {first.shape} and {second.shape}")
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 0.0


def mask_to_box(mask: Mask) -> Box | None:
    """Tightest half-open box around a mask; None if the mask is empty.

    Examples
    --------
    >>> mask = np.zeros((4, 5), dtype=bool)
    >>> mask[1:3, 2] = True
    >>> mask_to_box(mask)
    (2, 1, 3, 3)
    """
    columns = np.flatnonzero(_checked(mask).any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return None
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def components(mask: Mask) -> list[Mask]:
    """8-connected components of a mask, the largest first.

    Of two of equal area the one whose first pixel comes first, row by row, is first. An empty mask
    has no components.
    """
    labels, order = _ordered_components(mask)
    return [labels == label for label in order]


def largest_component(mask: Mask) -> Mask:
    """Return the first of `components`; of an empty mask, an empty mask."""
    labels, order = _ordered_components(mask)
    return labels == order[0] if order else np.zeros_like(mask)


def _ordered_components(mask: Mask) -> tuple[NDArray[np.int32], list[int]]:
    """Label image of a mask's components, and the labels in the order of `components`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        _checked(mask).astype(np.uint8), connectivity=8
    )
    found, first_pixel = np.unique(labels, return_index=True)
    first_of = dict(zip(found.tolist(), first_pixel.tolist(), strict=True))
    areas = stats[:, cv2.CC_STAT_AREA]
    order = sorted(range(1, count), key=lambda label: (-areas[label], first_of[label]))
    return np.asarray(labels, dtype=np.int32), order


def encode_rle(mask: Mask) -> str:
    """COCO's compressed run lengths of a mask, as text.

    Examples
    --------
    >>> mask = np.zeros((2, 3), dtype=bool)
    >>> mask[1, 1] = True
    >>> decode_rle(encode_rle(mask), (2, 3)).tolist()
    [[False, False, False], [False, True, False]]
    """
    packed = coco_mask.encode(np.asfortranarray(_checked(mask).astype(np.uint8)))
    return str(packed["counts"].decode("ascii"))


def decode_rle(rle: str, size: tuple[int, int]) -> Mask:
    """Mask of shape `size` from COCO's compressed run lengths.

    Parameters
    ----------
    rle : str
        What `encode_rle` returned, or the ``counts`` of a COCO annotation.
    size : (int, int)
        (height, width)
    """
    packed = {"size": [int(size[0]), int(size[1])], "counts": rle.encode("ascii")}
    return np.asarray(coco_mask.decode(packed), dtype=bool)


def rle_area(rle: str, size: tuple[int, int]) -> int:
    """Count the foreground pixels of a run-length coded mask, without decoding it."""
    packed = {"size": [int(size[0]), int(size[1])], "counts": rle.encode("ascii")}
    return int(coco_mask.area(packed))
