"""Geometry from an image to a network's input, and back.

One `Geometry` is a resize, then a crop, then perhaps a reflection about the vertical axis, and maps
images one way, and boxes and maps the other way. Sizes are (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.boxes import Box

Pixel = TypeVar("Pixel", np.uint8, np.float32)

_MAX_SIDE = 16_384

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """Resize, crop and reflection of one view of an image."""

    image_size: tuple[int, int]
    """The image's (height, width)."""
    resized_size: tuple[int, int]
    """Size to which the whole image is resized."""
    crop: tuple[int, int, int, int]
    """(top, left, height, width) in pixels of the resized image. It may reach over the border; what
    lies outside is black in the input."""
    flipped: bool = False
    """The crop is reflected left to right."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Size of the network's input: (height, width)."""
        return self.crop[2:]

    @classmethod
    def squash(cls, image_size: tuple[int, int], input_size: tuple[int, int]) -> Geometry:
        """Squeeze the whole image to the input's size; the aspect ratio is not kept."""
        return cls(image_size, input_size, (0, 0, *input_size))

    @classmethod
    def center_crop(
        cls, image_size: tuple[int, int], resize_size: int, crop_size: tuple[int, int]
    ) -> Geometry:
        """Shorter side to `resize_size`, then the crop at the center, as torchvision does."""
        resized = _shorter_side_to(image_size, resize_size)
        height, width = crop_size
        # Rounded half to even, as torchvision's center_crop does.
        top, left = round((resized[0] - height) / 2.0), round((resized[1] - width) / 2.0)
        return cls(image_size, resized, (top, left, height, width))

    @classmethod
    def ten_crop(
        cls, image_size: tuple[int, int], resize_size: int, crop_size: tuple[int, int]
    ) -> tuple[Geometry, ...]:
        """Return the four corners and the center, then the same five reflected.

        The shorter side is resized to `resize_size` first, or to the crop's side where that is
        longer (Simonyan et al. 2013 sec. 3.2 average over ten such crops).
        """
        resized = _shorter_side_to(image_size, max(resize_size, *crop_size))
        height, width = crop_size
        bottom, right = resized[0] - height, resized[1] - width
        middle = (round(bottom / 2.0), round(right / 2.0))
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), middle]
        return tuple(
            cls(image_size, resized, (top, left, height, width), flipped)
            for flipped in (False, True)
            for top, left in corners
        )

    def to_input(
        self, image: NDArray[np.uint8], *, interpolation: str = "bilinear"
    ) -> NDArray[np.uint8]:
        """Resize, crop and reflect an image.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
        interpolation : {'nearest', 'bilinear', 'bicubic', 'lanczos'}
            Pillow's filters, which smooth when they shrink, as torchvision's transforms do.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)
        """
        height, width = self.resized_size
        resized = image
        if self.resized_size != self.image_size:
            picture = Image.fromarray(image)
            resized = np.asarray(picture.resize((width, height), _FILTERS[interpolation]))
        cropped = _crop_padded(resized, self.crop)
        return np.ascontiguousarray(cropped[:, ::-1] if self.flipped else cropped)

    def box_to_image(self, box: Box) -> Box:
        """Box of the input in pixels of the image; not clipped."""
        x_scale, y_scale = self._scales()
        top, left, _, width = self.crop
        x0, y0, x1, y1 = box
        if self.flipped:
            x0, x1 = width - x1, width - x0
        return (
            (x0 + left) / x_scale,
            (y0 + top) / y_scale,
            (x1 + left) / x_scale,
            (y1 + top) / y_scale,
        )

    def _scales(self) -> tuple[float, float]:
        return (
            self.resized_size[1] / self.image_size[1],
            self.resized_size[0] / self.image_size[0],
        )


def average_maps(
    input_maps: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    geometries: Sequence[Geometry],
    *,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Average the maps of several views in the image's coordinates.

    Parameters
    ----------
    input_maps : sequence of ndarray of float32, shape (h, w)
        One map per view; sizes may differ between views.
    geometries : sequence of Geometry
        The views, of one image.
    size : (int, int) or None
        Size at which the image's map is wanted; None is the image's own size.

    Returns
    -------
    ndarray of float32, shape (H, W)
        At each pixel the mean over the views that cover it; 0 where none does.
    """
    # Sum in the coordinates of the resized image first: views that share it (all ten crops do)
    # then need one interpolation, not one each.
    sums: dict[tuple[int, int], NDArray[np.float32]] = {}
    counts: dict[tuple[int, int], NDArray[np.float32]] = {}
    for input_map, geometry in zip(input_maps, geometries, strict=True):
        key = geometry.resized_size
        if key not in sums:
            sums[key], counts[key] = np.zeros(key, np.float32), np.zeros(key, np.float32)
        sums[key] += _paste(input_map[:, ::-1] if geometry.flipped else input_map, geometry)
        counts[key] += _paste(np.ones(geometry.input_size, dtype=np.float32), geometry)
    target = size or geometries[0].image_size
    total = np.zeros(target, np.float32)
    count = np.zeros(target, np.float32)
    for key, summed in sums.items():
        seen = counts[key]
        mean = np.divide(summed, seen, out=np.zeros_like(summed), where=seen > 0)
        if key != target:
            mean, seen = resize_array(mean, target), resize_array(seen, target)
        total += mean * seen
        count += seen
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _shorter_side_to(image_size: tuple[int, int], side: int) -> tuple[int, int]:
    """Size with the shorter side `side`; the longer one is cut to an integer as torchvision's.

    A longer side of more than `_MAX_SIDE` is held there and the shorter one gets shorter: a strip
    of 1 x 4000 pixels would otherwise need gigabytes.
    """
    shorter, longer = sorted(image_size)
    scaled = int(side * longer / shorter)
    if scaled > _MAX_SIDE:
        side, scaled = max(1, round(_MAX_SIDE * shorter / longer)), _MAX_SIDE
    height, width = image_size
    return (side, scaled) if height <= width else (scaled, side)


def _crop_padded(image: NDArray[np.uint8], crop: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    top, left, height, width = crop
    if top >= 0 and left >= 0 and top + height <= len(image) and left + width <= image.shape[1]:
        return image[top : top + height, left : left + width]
    out = np.zeros((height, width, *image.shape[2:]), dtype=image.dtype)
    source, target = _overlap(image.shape[:2], crop)
    out[target] = image[source]
    return out


def _paste(view_map: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Map of the resized image with a (not reflected) view's map in its place and 0 elsewhere."""
    if geometry.crop == (0, 0, *geometry.resized_size):
        return view_map
    out = np.zeros(geometry.resized_size, dtype=np.float32)
    target, source = _overlap(geometry.resized_size, geometry.crop)
    out[target] = view_map[source]
    return out


def _overlap(
    size: tuple[int, ...], crop: tuple[int, int, int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the common part of an image and a crop: in the image, and in the crop."""
    top, left, height, width = crop
    y0, y1 = max(top, 0), min(top + height, size[0])
    x0, x1 = max(left, 0), min(left + width, size[1])
    return (
        (slice(y0, y1), slice(x0, x1)),
        (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
    )


def resize_array(array: NDArray[Pixel], size: tuple[int, int]) -> NDArray[Pixel]:
    """Resize an image or a map: averaging where it shrinks on both sides, linear elsewhere.

    Parameters
    ----------
    array : ndarray of uint8 or float32, shape (H, W) or (H, W, 3)
    size : (int, int)
        The (height, width) wanted.

    Returns
    -------
    ndarray of the same type, shape (height, width) or (height, width, 3)
        The array itself if it has that size already.
    """
    if array.shape[:2] == size:
        return array
    shrinks = size[0] <= array.shape[0] and size[1] <= array.shape[1]
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(array), size[::-1], interpolation=flag)
    return np.asarray(resized, dtype=array.dtype)
