"""Objects that people have drawn in another tool, as readers of corrections return them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wsl.boxes import Box
from wsl.data.parsing import checked_box
from wsl.data.readers.coco import from_polygons
from wsl.errors import AnnotationError
from wsl.masks import Mask, RunLengths, decode_rle


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object."""

    category: str
    """Name of its class in the tool."""
    box: Box
    """Box as drawn, or else the tightest one around the mask."""
    mask: RunLengths | None


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image that a person has reviewed."""

    name: str
    """The run's image id, or the path by which the tool knows it."""
    size: tuple[int, int] | None
    """(height, width), if the tool tells."""
    objects: tuple[AnnotatedObject, ...]
    skipped: int = 0
    """Number of shapes of other kinds."""


@dataclass
class ShapeGroups:
    """Collects the shapes of an image; those of one key and category are one object."""

    boxes: dict[tuple[Hashable, str], Box] = field(default_factory=dict)
    masks: dict[tuple[Hashable, str], RunLengths] = field(default_factory=dict)

    def add_box(self, key: Hashable, category: str, box: Box) -> None:
        """Add a box."""
        self.boxes[key, category] = box

    def add_mask(self, key: Hashable, category: str, mask: Mask) -> None:
        """Add a mask, or a part of one."""
        before = self.masks.get((key, category))
        self.masks[key, category] = RunLengths.of(
            mask if before is None else before.decode() | mask
        )

    def objects(self) -> tuple[AnnotatedObject, ...]:
        """Join what belongs together; a mask without a pixel and without a box is no object."""
        found = []
        for key in dict.fromkeys([*self.boxes, *self.masks]):
            mask = self.masks.get(key)
            box = self.boxes.get(key) or (None if mask is None else mask.box)
            if box is not None:
                found.append(AnnotatedObject(key[1], box, mask))
        return tuple(found)


def polygon_mask(points: Sequence[Sequence[float]], size: tuple[int, int], where: str) -> Mask:
    """Pixels of a polygon, rasterized as COCO does: shape `size`.

    Raises
    ------
    AnnotationError
        If it has less than three points, lies far outside of the image, or is too long.
    """
    flat = [float(value) for point in points for value in point]
    if len(flat) != 2 * len(points):
        raise AnnotationError(f"{where}: a polygon's points must be (x, y)")
    return decode_rle(from_polygons([flat], size, where), size)


def drawn_box(box: Box, size: tuple[int, int], where: str) -> Box:
    """Part of a box that lies in the image.

    Raises
    ------
    AnnotationError
        If a coordinate is not finite, or no part does.
    """
    x0, y0, x1, y1 = box
    inside = (max(x0, 0), max(y0, 0), min(x1, size[1]), min(y1, size[0]))
    return checked_box(inside, size, where)


def turned_box(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """Tightest box around a box that is turned clockwise, as seen on the screen, around a point.

    Examples
    --------
    >>> [round(value) for value in turned_box((0, 0, 4, 2), 90, (0, 0))]
    [-2, 0, 0, 4]
    """
    x0, y0, x1, y1 = box
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners: Iterable[tuple[float, float]] = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    turned = [turn @ (np.array(corner) - pivot) + pivot for corner in corners]
    (left, top), (right, bottom) = np.min(turned, axis=0), np.max(turned, axis=0)
    return (float(left), float(top), float(right), float(bottom))
