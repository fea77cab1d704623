"""Masks: area, IoU, components, the box of a mask, and COCO run lengths.

A mask is a (H, W) array of bool in pixels of the image as stored on disk after EXIF rotation. On
disk masks are COCO's compressed run lengths: column by column, alternating run lengths of
background and foreground, starting with background, packed into printable characters
(pycocotools defines the packing and does it here).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from wsl.boxes import Box

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

    Components of equal area are ordered by their first pixel, row by row. An empty mask has none.
    """
    labels, stats = _labeled(mask)
    order = sorted(range(1, len(stats)), key=lambda label: _precedence(label, labels, stats))
    return [labels == label for label in order]


def largest_component(mask: Mask) -> Mask:
    """Return the first of `components`; of an empty mask, an empty mask."""
    labels, stats = _labeled(mask)
    if len(stats) == 1:
        return np.zeros_like(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = (np.flatnonzero(areas == areas.max()) + 1).tolist()
    first = min(largest, key=lambda label: _precedence(label, labels, stats))
    return np.asarray(labels == first)


def _labeled(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label image of a mask's components, and OpenCV's statistics: (count, 5), 0 the background."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        _checked(mask).astype(np.uint8), connectivity=8
    )
    return np.asarray(labels, dtype=np.int32), np.asarray(stats, dtype=np.int32)


def _precedence(
    label: int, labels: NDArray[np.int32], stats: NDArray[np.int32]
) -> tuple[int, int, int]:
    """Sort key of a component: its area, the largest first, then its first pixel's row and column.

    OpenCV numbers components block by block, so that their numbers are not in that order.
    """
    left, top, width, _, area = (int(value) for value in stats[label])
    return -area, top, left + int(np.argmax(labels[top, left : left + width] == label))


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


@dataclass(frozen=True)
class RunLengths:
    """A mask as COCO's compressed run lengths: a hundredth of its pixels' memory.

    Examples
    --------
    >>> mask = np.zeros((4, 5), dtype=bool)
    >>> mask[1:3, 2] = True
    >>> packed = RunLengths.of(mask)
    >>> packed.area, packed.box
    (2, (2, 1, 3, 3))
    >>> bool((packed.decode() == mask).all())
    True
    """

    counts: str
    """Run lengths, as `encode_rle` returns them."""
    size: tuple[int, int]
    """The mask's (height, width)."""

    @classmethod
    def of(cls, mask: Mask) -> RunLengths:
        """Encode a mask."""
        return cls(encode_rle(mask), (mask.shape[0], mask.shape[1]))

    def decode(self) -> Mask:
        """Return the mask, shape `size`."""
        return decode_rle(self.counts, self.size)

    @property
    def area(self) -> int:
        """Number of the mask's pixels."""
        return rle_area(self.counts, self.size)

    @property
    def box(self) -> Box | None:
        """Tightest half-open box around the mask; None if it is empty."""
        return mask_to_box(self.decode()) if self.area else None
