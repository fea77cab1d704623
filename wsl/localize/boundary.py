"""From a mask at the working size to one at the image's own, its boundary at the image's edges.

The enlarged mask is smoothed by a guided filter: near the boundary each pixel's value becomes a
linear function of its color, fitted in the windows around it, so that the mask's edge moves to the
image's. Only tiles of the image that the boundary crosses are filtered, and memory does not grow
with the image beyond the mask itself.

References
----------
K. He, J. Sun, X. Tang. Guided image filtering. IEEE TPAMI 35(6), 2013.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.config.options import Options
from wsl.masks import Mask

_TILE = 512


class GuidedFilter(Options):
    """How a mask's boundary is moved to the image's edges, at the image's own size."""

    radius: float = Field(0.016, gt=0, le=0.1)
    """Radius of the windows, as a share of the image's longer side."""
    epsilon: float = Field(1e-3, gt=0)
    """Variance of color, in [0, 1] squared, below which a window counts as flat."""

    def __call__(self, image: NDArray[np.uint8], mask: Mask) -> Mask:
        """Bring a mask to the image's size.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB.
        mask : ndarray of bool, shape (h, w)

        Returns
        -------
        ndarray of bool, shape (H, W)
            The mask enlarged alone, where the filter would leave nothing of it.
        """
        size = image.shape[0], image.shape[1]
        soft = _soft(mask, size)
        filtered = soft >= 0.5
        radius = max(1, round(self.radius * max(size)))
        for rows, columns in _tiles(size):
            # A window reaches one radius, and the windows that a pixel is in reach two.
            around = _around(rows, 2 * radius, size[0]), _around(columns, 2 * radius, size[1])
            values = soft[around]
            if values.min() == values.max():
                continue
            found = guided_filter(image[around], values, radius, self.epsilon)
            top, left = rows.start - around[0].start, columns.start - around[1].start
            tile = found[
                top : top + rows.stop - rows.start, left : left + columns.stop - columns.start
            ]
            filtered[rows, columns] = tile >= 0.5
        return filtered if filtered.any() else soft >= 0.5


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Bring a mask to another size: linear interpolation of its 0 and 1, cut at one half."""
    return mask if mask.shape == size else _soft(mask, size) >= 0.5


def guided_filter(
    guide: NDArray[np.uint8], values: NDArray[np.float32], radius: int, epsilon: float
) -> NDArray[np.float32]:
    """Filter values by a color guide (He et al. 2013, eq. 14 to 16).

    Parameters
    ----------
    guide : ndarray of uint8, shape (H, W, 3)
    values : ndarray of float32, shape (H, W)
    radius : int
        Of the square windows; they are reflected at the borders.
    epsilon : float
        Of the guide in [0, 1], squared.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """

    def mean(array: NDArray[np.floating]) -> NDArray[np.floating]:
        window = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.boxFilter(array, -1, window, borderType=cv2.BORDER_REFLECT))

    colors = [np.ascontiguousarray(guide[..., c], np.float32) / 255 for c in range(3)]
    means = [mean(color) for color in colors]
    level: NDArray[np.floating] = mean(values)
    r, g, b = (mean(c * values) - m * level for c, m in zip(colors, means, strict=True))
    rr, rg, rb, gg, gb, bb = (
        mean(colors[i] * colors[j]) - means[i] * means[j] + (epsilon if i == j else 0)
        for i in range(3)
        for j in range(i, 3)
    )
    # The colors' covariance matrix is inverted by its cofactors.
    first, second, third = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    fifth, sixth, ninth = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    whole = rr * first + rg * second + rb * third
    slopes = [
        (first * r + second * g + third * b) / whole,
        (second * r + fifth * g + sixth * b) / whole,
        (third * r + sixth * g + ninth * b) / whole,
    ]
    for slope, average in zip(slopes, means, strict=True):
        level = level - slope * average
    filtered = mean(level)
    for slope, color in zip(slopes, colors, strict=True):
        filtered = filtered + mean(slope) * color
    return filtered.astype(np.float32, copy=False)


def _soft(mask: Mask, size: tuple[int, int]) -> NDArray[np.float32]:
    soft = mask.astype(np.float32)
    if mask.shape != size:
        soft = np.asarray(cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR))
    return soft


def _tiles(size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    for top in range(0, size[0], _TILE):
        for left in range(0, size[1], _TILE):
            rows = slice(top, min(top + _TILE, size[0]))
            yield rows, slice(left, min(left + _TILE, size[1]))


def _around(part: slice, margin: int, end: int) -> slice:
    return slice(max(0, part.start - margin), min(end, part.stop + margin))
