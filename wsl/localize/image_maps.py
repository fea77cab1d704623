"""One image's saliency maps as segmentation takes them.

Local runs, Ray runs and tuning all make them here, so that they segment the same maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsl.data.geometry import Geometry

if TYPE_CHECKING:
    from wsl.saliency.class_maps import ClassMaps


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """The classes of one image that are localized, with their maps in the image's coordinates."""

    classes: tuple[int, ...]
    """Classes in the order of their ranks."""
    ranks: tuple[int, ...]
    """Their places in the classifier's order, from 1."""
    probabilities: tuple[float, ...]
    maps: dict[int | None, NDArray[np.float32]]
    """Shape (K, h, w). By the longer side of the working size, that of the masks first; None is the
    image's own."""

    @classmethod
    def of(
        cls,
        found: ClassMaps,
        geometries: Sequence[Geometry],
        longer_sides: Iterable[int | None],
    ) -> ImageMaps:
        """Lay the views' maps on the image at each working size."""
        maps = {}
        for longer_side in longer_sides:
            at = working_size(geometries[0].image_size, longer_side)
            maps[longer_side] = np.zeros((len(found.classes), *at), np.float32)
            for slot, map_ in enumerate(maps[longer_side]):
                map_[:] = found.on_image(slot, geometries, at)
        return cls(found.classes, found.ranks, found.probabilities, maps)

    def of_class(self, slot: int) -> dict[int | None, NDArray[np.float32]]:
        """Return the maps of one class by working size."""
        return {longer_side: maps[slot] for longer_side, maps in self.maps.items()}


def working_size(size: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """(height, width) at which an image is segmented; never larger than the image.

    Examples
    --------
    >>> working_size((375, 500), 224)
    (168, 224)
    >>> working_size((60, 80), 224)
    (60, 80)
    """
    if longer_side is None or max(size) <= longer_side:
        return size
    scale = longer_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
