"""From parts to pixels: exact coverage, shading and texture of one object.

While it is drawn, a picture is three planes, (3, H, W) float32: NumPy spreads a (H, W) field over
planes much faster than over interleaved channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.demo.shapes import Color, Paint, Part

Field = NDArray[np.float32]

# Each pixel is sampled at so many points along each side.
_SAMPLES = 3
_SHIFT = 6  # fractional bits of the coordinates that OpenCV gets


@dataclass(frozen=True)
class Layer:
    """One drawn object, as a window of the image."""

    top: int
    left: int
    """The window's place in the image; it lies inside the image."""
    coverage: Field
    """Shape (h, w). Share of each pixel that the object covers, in [0, 1]."""
    color: Field
    """Shape (3, h, w). RGB in 0 to 255, already multiplied by the coverage."""

    @property
    def window(self) -> tuple[EllipsisType, slice, slice]:
        """Rows and columns of the image that the layer covers."""
        height, width = self.coverage.shape
        rows, columns = slice(self.top, self.top + height), slice(self.left, self.left + width)
        return ..., rows, columns


def noise(
    rng: np.random.Generator, size: tuple[int, int], cells: float, *, octaves: int = 1
) -> Field:
    """Smooth random field of a size, in about -1 to 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : (int, int)
        (height, width).
    cells : float
        Random values along the longer side in the first octave; each further octave has twice as
        many at half the strength.
    octaves : int
    """
    height, width = size
    out = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        scale = cells * 2**octave / max(size)
        grid = (max(2, round(height * scale)), max(2, round(width * scale)))
        values = rng.random(grid, dtype=np.float32) * (2 / 2**octave) - 1 / 2**octave
        # Linear is enough for the fine octaves, whose corners nobody sees.
        flag = cv2.INTER_CUBIC if octave == 0 else cv2.INTER_LINEAR
        out += cv2.resize(values, (width, height), interpolation=flag)
    return out


def placed(parts: Sequence[Part], matrix: NDArray[np.float64]) -> list[Part]:
    """Parts with their outlines mapped to pixels by a 2 x 3 affine matrix."""
    return [
        Part(tuple(line @ matrix[:, :2].T + matrix[:, 2] for line in each.outlines), each.paint)
        for each in parts
    ]


def render(
    parts: Sequence[Part],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    *,
    light: tuple[float, float],
    texture: float,
    rng: np.random.Generator,
) -> Layer | None:
    """Draw an object.

    Parameters
    ----------
    parts : sequence of Part
        At most 255, the hindmost first.
    matrix : ndarray of float64, shape (2, 3)
        From the object's coordinates to pixels, where (0, 0) is the image's upper left corner and
        not the first pixel's center.
    size : (int, int)
        The image's (height, width).
    light : (float, float)
        Unit vector toward the light, on the screen.
    texture : float
        Strength of the object's surface noise, >= 0.
    rng : numpy.random.Generator

    Returns
    -------
    Layer or None
        None if no part reaches into the image.
    """
    in_pixels = placed(parts, matrix)
    window = _window(in_pixels, size)
    if window is None:
        return None
    top, left, bottom, right = window
    shape = (bottom - top, right - left)
    which = _which_part(in_pixels, window)
    surface = _surface(rng, shape, texture)
    to_object = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    coverage = np.zeros(shape, dtype=np.float32)
    color = np.zeros((3, *shape), dtype=np.float32)
    for number, each in enumerate(in_pixels, start=1):
        own = _window([each], size)
        if own is None:
            continue
        y0, x0, y1, x1 = own[0] - top, own[1] - left, own[2] - top, own[3] - left
        cover = _coverage(which, number, (y0, x0, y1, x1))
        coverage[y0:y1, x0:x1] += cover
        shade = cover * (surface[y0:y1, x0:x1] + _relief(cover, light, each.paint.relief))
        second = _pattern(each.paint, to_object, own)
        _add_paint(color[:, y0:y1, x0:x1], shade, second, each.paint)
    return Layer(top, left, np.minimum(coverage, 1.0), color)


def paint_layer(
    image: Field, layer: Layer, *, shadow: float = 0.0, offset: tuple[int, int] = (0, 0)
) -> None:
    """Lay an object onto an image, in place.

    Parameters
    ----------
    image : ndarray of float32, shape (3, H, W)
        Changed in place.
    layer : Layer
    shadow : float
        How much of the light the object's shadow takes away, in [0, 1].
    offset : (int, int)
        The shadow's (x, y) shift in pixels.
    """
    view = image[layer.window]
    if shadow > 0:
        height, width = layer.coverage.shape
        shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], dtype=np.float32)
        spread = 2 * (max(map(abs, offset)) // 2) + 3
        moved = cv2.warpAffine(layer.coverage, shift, (width, height))
        view *= 1 - shadow * cv2.blur(moved, (spread, spread))
    view *= 1 - layer.coverage
    view += layer.color


def _window(parts: Sequence[Part], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right) of the parts, with room for a shadow, cut at the image."""
    points = np.concatenate([line for each in parts for line in each.outlines])
    low, high = points.min(axis=0), points.max(axis=0)
    # One part needs no room but for rounding; several are an object that may cast a shadow.
    room = 2 if len(parts) == 1 else 4 + 0.1 * float((high - low).max())
    left, top = (max(0, int(number - room)) for number in low)
    right, bottom = (
        min(limit, int(number + room) + 1) for number, limit in zip(high, size[::-1], strict=True)
    )
    return (top, left, bottom, right) if top < bottom and left < right else None


def _which_part(parts: Sequence[Part], window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Tell which part is seen at each sample point of a window, from 1; 0 is none."""
    top, left, bottom, right = window
    canvas = np.zeros(((bottom - top) * _SAMPLES, (right - left) * _SAMPLES), dtype=np.uint8)
    for number, each in enumerate(parts, start=1):
        # OpenCV's whole coordinates are the sample points' centers.
        outlines = [
            np.round(((line - (left, top)) * _SAMPLES - 0.5) * 2**_SHIFT).astype(np.int32)
            for line in each.outlines
        ]
        cv2.fillPoly(canvas, outlines, (number,), lineType=cv2.LINE_8, shift=_SHIFT)
    return canvas


def _coverage(which: NDArray[np.uint8], number: int, window: tuple[int, int, int, int]) -> Field:
    """Share of each pixel of a window in which one part is seen."""
    y0, x0, y1, x1 = window
    samples = which[y0 * _SAMPLES : y1 * _SAMPLES, x0 * _SAMPLES : x1 * _SAMPLES]
    seen = (samples == number).view(np.uint8)
    # The sum of at most 9 samples is exact in float32, so that parts side by side sum to 1.
    share = cv2.resize(seen * np.float32(1), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return np.asarray(share, dtype=np.float32)


def _surface(rng: np.random.Generator, size: tuple[int, int], texture: float) -> Field:
    """Brightness of an object's surface, around 1: stains, and finer grain."""
    stains = noise(rng, size, 4, octaves=2)
    grain = noise(rng, size, max(size) / rng.uniform(2.0, 4.0))
    return np.asarray(1 + texture * (0.5 * stains + 0.5 * grain), dtype=np.float32)


def _relief(cover: Field, light: tuple[float, float], strength: float) -> Field:
    """Make a part look raised: brighter where its surface turns to the light."""
    height, width = cover.shape
    spread = max(3, round(0.35 * min(height, width)) | 1)
    raised = cv2.blur(cover, (spread, spread), borderType=cv2.BORDER_CONSTANT)
    x, y = (round(0.5 * spread * number) for number in light)
    shift = np.array([[1, 0, x], [0, 1, y]], dtype=np.float32)
    # The slope toward the light, as the difference to the part moved toward it.
    moved = cv2.warpAffine(raised, shift, (width, height))
    return np.asarray(np.float32(0.45 * strength) * (raised - moved), dtype=np.float32)


def _pattern(
    paint: Paint, to_object: NDArray[np.float64], window: tuple[int, int, int, int]
) -> Field | None:
    """Share of the pattern's second color at each pixel of a window; None if it is plain."""
    if paint.pattern == "plain":
        return None
    top, left, bottom, right = window
    cosine, sine = np.cos(paint.angle), np.sin(paint.angle)
    turn = np.array([[cosine, sine], [-sine, cosine]]) * (2 * np.pi / paint.period)
    linear, shift = turn @ to_object[:, :2], turn @ to_object[:, 2]
    xs, ys = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    u = (linear[0, 0] * xs)[None, :] + (linear[0, 1] * ys + shift[0])[:, None]
    v = (linear[1, 0] * xs)[None, :] + (linear[1, 1] * ys + shift[1])[:, None]
    u, v = u.astype(np.float32), v.astype(np.float32)
    if paint.pattern == "stripes":
        wave = np.sin(u)
    elif paint.pattern == "dots":
        wave = np.sin(u) * np.sin(v) - np.float32(0.35)
    elif paint.pattern == "checks":
        wave = np.sin(u) * np.sin(v)
    else:  # bricks: mortar between rows, and between the bricks of a row
        row = np.floor(v / np.float32(2 * np.pi))
        joints = np.abs(np.sin(u / 4 + row * np.float32(np.pi / 2))) < 0.12
        wave = np.where(joints | (np.sin(v / 2) ** 2 < 0.04), np.float32(1), np.float32(-1))
    # As steep as an edge of about one pixel.
    steep = np.float32(1 / max(np.abs(linear).max(), 1e-6))
    return np.asarray(np.clip(0.5 + wave * steep, 0, 1), dtype=np.float32)


def _add_paint(color: Field, shade: Field, second: Field | None, paint: Paint) -> None:
    """Add a part's colors, times its shade, to a window of the object, in place."""
    if second is not None:
        mixed = shade * second
        color += mixed * _planes(paint.second)
        shade = shade - mixed
    color += shade * _planes(paint.color)


def _planes(color: Color) -> Field:
    return np.array(color, dtype=np.float32)[:, None, None]
