"""Overlays of a map, seeds, a mask or boxes on their image.

All functions take and return arrays and never change their arguments: images are RGB, (H, W, 3)
uint8; maps, seeds and masks have the image's height and width; boxes are in its pixels. Colors are
chosen from the palette of Okabe and Ito (2008), which people with any common kind of color vision
tell apart; maps are drawn with matplotlib's perceptually even color maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsl.boxes import Box
from wsl.draw.montage import Color
from wsl.masks import Mask

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

PREDICTED: Color = (230, 159, 0)
"""Orange: what was predicted."""
TRUE: Color = (86, 180, 233)
"""Sky blue: what the annotation says."""

SEED_COLORS: dict[int, Color] = {
    0: (0, 92, 178),
    1: (213, 94, 0),
    2: (118, 200, 245),
    3: (240, 228, 66),
}
"""By GrabCut's codes: background blue, foreground vermilion, probable background sky blue, probable
foreground yellow. Warm is foreground, cold is background; the surer, the darker."""


@cache
def color_table(name: str = "inferno") -> Picture:
    """Return the 256 colors of one of matplotlib's color maps, shape (256, 3)."""
    import matplotlib  # not needed, and slow, where nothing is drawn

    table = matplotlib.colormaps[name](np.arange(256) / 255, bytes=True)[:, :3]
    return np.ascontiguousarray(table, dtype=np.uint8)


def scale_map(saliency: NDArray[np.floating], *, clip: float = 0.995) -> NDArray[np.float32]:
    """Scale a map to [0, 1] for display.

    Gradient maps have a few pixels far above all others, beside which nothing else would be seen:
    the `clip` quantile of the map becomes 1, and what lies above it as well.

    Parameters
    ----------
    saliency : ndarray, shape (H, W)
        Finite.
    clip : float
        In (0, 1]; 1 scales by the maximum.

    Returns
    -------
    ndarray of float32, shape (H, W)
        A flat map becomes zeros.

    Raises
    ------
    ValueError
        If the map is empty, not two-dimensional, or not finite.
    """
    low, high = map_limits(saliency, clip=clip)
    if high <= low:
        return np.zeros(saliency.shape, dtype=np.float32)
    scaled = np.clip((saliency.astype(np.float64) - low) / (high - low), 0, 1)
    return np.asarray(scaled, dtype=np.float32)


def map_limits(saliency: NDArray[np.floating], *, clip: float = 0.995) -> tuple[float, float]:
    """Values that `scale_map` makes 0 and 1; equal for a flat map.

    Raises
    ------
    ValueError
        As `scale_map`.
    """
    if saliency.ndim != 2 or not saliency.size:
        raise ValueError(f"a saliency map must be (H, W), but got shape {saliency.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("a saliency map must be finite, but got NaN or infinity")
    values = saliency.astype(np.float64)
    low, high = values.min(), np.quantile(values, clip)
    if high <= low:  # the quantile may be the minimum although single pixels stand out
        high = values.max()
    return float(low), float(high)


def colorize_map(
    saliency: NDArray[np.floating], *, colors: str = "inferno", clip: float = 0.995
) -> Picture:
    """Draw a map in colors, the least salient pixels dark: shape (H, W, 3)."""
    levels = np.rint(scale_map(saliency, clip=clip) * 255).astype(np.uint8)
    return color_table(colors)[levels]


def overlay_saliency(
    image: Picture,
    saliency: NDArray[np.floating],
    *,
    colors: str = "inferno",
    opacity: float = 0.75,
) -> Picture:
    """Lay a map in colors over the image in gray.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    saliency : ndarray, shape (H, W)
    colors : str
        One of matplotlib's color maps.
    opacity : float
        Opacity of the colors, in [0, 1].

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    check_sizes(image, saliency=saliency)
    return _blend(_gray(image), colorize_map(saliency, colors=colors), opacity)


def overlay_seeds(image: Picture, seeds: NDArray[np.uint8], *, opacity: float = 0.7) -> Picture:
    """Lay seeds in the four `SEED_COLORS` over the image in gray.

    Raises
    ------
    ValueError
        If the seeds hold another code than GrabCut's 0 to 3.
    """
    check_sizes(image, seeds=seeds)
    if seeds.size and int(seeds.max()) > 3:
        raise ValueError(f"seeds must be 0, 1, 2 or 3, but got {int(seeds.max())}")
    table = np.array([SEED_COLORS[code] for code in range(4)], dtype=np.uint8)
    return _blend(_gray(image), table[seeds], opacity)


def overlay_mask(
    image: Picture, mask: Mask, *, color: Color = PREDICTED, thickness: int = 2
) -> Picture:
    """Draw a mask: its outline in color, the rest of the image in faded gray.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    mask : ndarray of bool, shape (H, W)
        An empty mask has no outline, and the whole image is faded.
    color : (int, int, int)
        Color of the outline.
    thickness : int
        Width of the outline in pixels; it lies inside the mask, so that it is seen at the image's
        border.
    """
    check_sizes(image, mask=mask)
    faded = _blend(_gray(image), np.full_like(image, 255), 0.55)
    drawn = np.where(mask[..., None], image, faded)
    if thickness > 0:
        kernel = np.ones((3, 3), dtype=np.uint8)
        inside = np.pad(mask, 1).astype(np.uint8)
        eroded = cv2.erode(inside, kernel, iterations=thickness)[1:-1, 1:-1]
        drawn[mask & (eroded == 0)] = color
    return np.asarray(drawn, dtype=np.uint8)


def draw_boxes(
    image: Picture,
    *,
    predicted: Box | None = None,
    true: Sequence[Box] = (),
    thickness: int = 2,
) -> Picture:
    """Draw the predicted box as a solid line, the true ones dashed and in another color.

    Every line has a dark rim, so that it is seen on any image. Boxes are half-open: the line of
    ``(0, 0, width, height)`` lies on the image's outermost pixels.
    """
    check_sizes(image)
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for box in true:
        _draw_box(draw, box, image.shape, TRUE, thickness, dash=6 * thickness)
    if predicted is not None:
        _draw_box(draw, predicted, image.shape, PREDICTED, thickness, dash=None)
    return np.array(canvas)


def _draw_box(
    draw: ImageDraw.ImageDraw,
    box: Box,
    shape: tuple[int, ...],
    color: Color,
    thickness: int,
    *,
    dash: int | None,
) -> None:
    height, width = shape[:2]
    # the last pixel that belongs to the box, kept inside of the picture so that no side is lost
    x0, x1 = (min(max(value, 0), width - 1) for value in (round(box[0]), round(box[2]) - 1))
    y0, y1 = (min(max(value, 0), height - 1) for value in (round(box[1]), round(box[3]) - 1))
    x1, y1 = max(x0, x1), max(y0, y1)
    rim = (max(x0 - 1, 0), max(y0 - 1, 0), min(x1 + 1, width - 1), min(y1 + 1, height - 1))
    if dash is None:
        draw.rectangle(rim, outline=(0, 0, 0), width=thickness + 2)
        draw.rectangle((x0, y0, x1, y1), outline=color, width=thickness)
        return
    draw.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=thickness)
    inner = thickness - 1
    for start in range(x0, x1 + 1, 3 * dash // 2):
        end = min(start + dash - 1, x1)
        for top in (y0, max(y0, y1 - inner)):
            draw.rectangle((start, top, end, min(top + inner, y1)), fill=color)
    for start in range(y0, y1 + 1, 3 * dash // 2):
        end = min(start + dash - 1, y1)
        for left in (x0, max(x0, x1 - inner)):
            draw.rectangle((left, start, min(left + inner, x1), end), fill=color)


def _gray(image: Picture) -> Picture:
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    luma = np.rint(image @ weights).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _blend(below: Picture, above: Picture, opacity: float) -> Picture:
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], but got {opacity}")
    mixed = below * (1 - opacity) + above * opacity
    return np.rint(mixed).astype(np.uint8)


def check_sizes(image: Picture, **layers: NDArray[np.generic]) -> None:
    """Raise a ValueError unless `image` is one and all layers have its height and width."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"an image must be (H, W, 3) of uint8, but got {image.dtype} of shape {image.shape}"
        )
    for name, layer in layers.items():
        if layer.shape != image.shape[:2]:
            raise ValueError(
                f"{name} must have the image's size {image.shape[:2]}, but got {layer.shape}"
            )
