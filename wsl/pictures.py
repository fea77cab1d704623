"""Pictures of the steps from an image to its box: overlays, and strips of them side by side.

All functions take and return arrays and never change their arguments: images are RGB, (H, W, 3)
uint8; maps, seeds and masks have the image's height and width; boxes are in its pixels. Only
`save_png` and `save_jpeg` touch the disk. Colours are chosen from the palette of Okabe and Ito
(2008), which people with any common kind of colour vision tell apart; maps are drawn with
matplotlib's perceptually even colour maps.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsl.boxes import Box
from wsl.masks import Mask
from wsl.montage import FAINT, Colour, Panel, side_by_side

__all__ = [
    "PREDICTED",
    "SEED_COLOURS",
    "TRUE",
    "Picture",
    "colour_table",
    "colourise_map",
    "draw_boxes",
    "encode_jpeg",
    "encode_png",
    "map_limits",
    "overlay_mask",
    "overlay_saliency",
    "overlay_seeds",
    "resize_picture",
    "save_jpeg",
    "save_png",
    "scale_map",
    "strip",
]

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

PREDICTED: Colour = (230, 159, 0)
"""Orange: what was predicted."""
TRUE: Colour = (86, 180, 233)
"""Sky blue: what the annotation says."""

SEED_COLOURS: dict[int, Colour] = {
    0: (0, 92, 178),
    1: (213, 94, 0),
    2: (118, 200, 245),
    3: (240, 228, 66),
}
"""By GrabCut's codes: background blue, foreground vermilion, probable background sky blue, probable
foreground yellow. Warm is foreground, cold is background; the surer, the darker."""

_WIDEST = 3.0  # no panel is wider than so many times its height


# ---------------------------------------------------------------------------------- overlays


@cache
def colour_table(name: str = "inferno") -> Picture:
    """Return the 256 colours of one of matplotlib's colour maps, shape (256, 3)."""
    import matplotlib  # not needed, and slow, where nothing is drawn

    table = matplotlib.colormaps[name](np.arange(256) / 255, bytes=True)[:, :3]
    return np.ascontiguousarray(table, dtype=np.uint8)


def scale_map(saliency: NDArray[np.floating], *, clip: float = 0.995) -> NDArray[np.float32]:
    """Scale a map to [0, 1] for the eye.

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


def colourise_map(
    saliency: NDArray[np.floating], *, colours: str = "inferno", clip: float = 0.995
) -> Picture:
    """Draw a map in colours, the least salient pixels dark: shape (H, W, 3)."""
    levels = np.rint(scale_map(saliency, clip=clip) * 255).astype(np.uint8)
    return colour_table(colours)[levels]


def overlay_saliency(
    image: Picture,
    saliency: NDArray[np.floating],
    *,
    colours: str = "inferno",
    opacity: float = 0.75,
) -> Picture:
    """Lay a map in colours over the image in grey.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    saliency : ndarray, shape (H, W)
    colours : str
        One of matplotlib's colour maps.
    opacity : float
        Of the colours, in [0, 1].

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    _check_sizes(image, saliency=saliency)
    return _blend(_grey(image), colourise_map(saliency, colours=colours), opacity)


def overlay_seeds(image: Picture, seeds: NDArray[np.uint8], *, opacity: float = 0.7) -> Picture:
    """Lay seeds in the four `SEED_COLOURS` over the image in grey.

    Raises
    ------
    ValueError
        If the seeds hold another code than GrabCut's 0 to 3.
    """
    _check_sizes(image, seeds=seeds)
    if seeds.size and int(seeds.max()) > 3:
        raise ValueError(f"seeds must be 0, 1, 2 or 3, but got {int(seeds.max())}")
    table = np.array([SEED_COLOURS[code] for code in range(4)], dtype=np.uint8)
    return _blend(_grey(image), table[seeds], opacity)


def overlay_mask(
    image: Picture, mask: Mask, *, colour: Colour = PREDICTED, thickness: int = 2
) -> Picture:
    """Draw a mask: its outline in colour, the rest of the image in faded grey.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    mask : ndarray of bool, shape (H, W)
        Of an empty mask nothing is drawn: all of the image is faded.
    colour : (int, int, int)
        Of the outline.
    thickness : int
        Of the outline in pixels; it lies inside the mask, so that it is seen at the image's border.
    """
    _check_sizes(image, mask=mask)
    faded = _blend(_grey(image), np.full_like(image, 255), 0.55)
    drawn = np.where(mask[..., None], image, faded)
    if thickness > 0:
        kernel = np.ones((3, 3), dtype=np.uint8)
        inside = np.pad(mask, 1).astype(np.uint8)
        eroded = cv2.erode(inside, kernel, iterations=thickness)[1:-1, 1:-1]
        drawn[mask & (eroded == 0)] = colour
    return np.asarray(drawn, dtype=np.uint8)


def draw_boxes(
    image: Picture,
    *,
    predicted: Box | None = None,
    true: Sequence[Box] = (),
    thickness: int = 2,
) -> Picture:
    """Draw the predicted box as a solid line, the true ones dashed and in another colour.

    Every line has a dark rim, so that it is seen on any image. Boxes are half-open: the line of
    ``(0, 0, width, height)`` lies on the image's outermost pixels.
    """
    _check_sizes(image)
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
    colour: Colour,
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
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=thickness)
        return
    draw.rectangle((x0, y0, x1, y1), outline=(0, 0, 0), width=thickness)
    inner = thickness - 1
    for start in range(x0, x1 + 1, 3 * dash // 2):
        end = min(start + dash - 1, x1)
        for top in (y0, max(y0, y1 - inner)):
            draw.rectangle((start, top, end, min(top + inner, y1)), fill=colour)
    for start in range(y0, y1 + 1, 3 * dash // 2):
        end = min(start + dash - 1, y1)
        for left in (x0, max(x0, x1 - inner)):
            draw.rectangle((left, start, min(left + inner, x1), end), fill=colour)


def _grey(image: Picture) -> Picture:
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    luma = np.rint(image @ weights).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _blend(below: Picture, above: Picture, opacity: float) -> Picture:
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], but got {opacity}")
    mixed = below * (1 - opacity) + above * opacity
    return np.rint(mixed).astype(np.uint8)


def _check_sizes(image: Picture, **layers: NDArray[np.generic]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"an image must be (H, W, 3) of uint8, but got {image.dtype} of shape {image.shape}"
        )
    for name, layer in layers.items():
        if layer.shape != image.shape[:2]:
            raise ValueError(
                f"{name} must have the image's size {image.shape[:2]}, but got {layer.shape}"
            )


# ------------------------------------------------------------------------------------ strips


def strip(
    image: Picture,
    saliency: NDArray[np.floating] | None = None,
    seeds: NDArray[np.uint8] | None = None,
    mask: Mask | None = None,
    pred_box: Box | None = None,
    gt_boxes: Sequence[Box] = (),
    *,
    title: str | None = None,
    height: int = 224,
    captions: bool = True,
) -> Picture:
    """Draw the steps from an image to its box side by side.

    Panels are the image, the saliency map, the seeds, the mask and the boxes; what is not given is
    left out. Overlays are drawn after the image has been resized, so that lines stay crisp.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    saliency : ndarray, shape (h, w), optional
        Of the image's size or of the size at which the work was done: it is stretched to fit.
    seeds : ndarray of uint8, shape (h, w), optional
        Likewise.
    mask : ndarray of bool, shape (H, W), optional
    pred_box : Box, optional
        In pixels of `image`.
    gt_boxes : sequence of Box
        In pixels of `image`.
    title : str, optional
        A line above the panels, such as the class and its score; cut if it is too long.
    height : int
        Of the panels in pixels, at least 16. A panel is at most three times as wide: a longer
        image is drawn lower.
    captions : bool
        Whether a line beneath each panel says what it is.

    Returns
    -------
    ndarray of uint8, shape (height with title and captions, W, 3)

    Raises
    ------
    ValueError
        If sizes do not fit together.
    """
    if height < 16:
        raise ValueError(f"height must be at least 16, but got {height}")
    _check_sizes(image, **({} if mask is None else {"mask": mask}))
    for name, layer in (("saliency", saliency), ("seeds", seeds)):
        if layer is not None and (layer.ndim != 2 or not layer.size):
            raise ValueError(f"{name} must be (h, w), but got shape {layer.shape}")
    panels = _panels(image, saliency, seeds, mask, pred_box, gt_boxes, height)
    return side_by_side(panels, title=title, height=height, captions=captions)


def _panels(
    image: Picture,
    saliency: NDArray[np.floating] | None,
    seeds: NDArray[np.uint8] | None,
    mask: Mask | None,
    pred_box: Box | None,
    gt_boxes: Sequence[Box],
    height: int,
) -> list[Panel]:
    rows, columns = image.shape[:2]
    scale = min(height / rows, _WIDEST * height / columns)
    size = (max(round(rows * scale), 1), max(round(columns * scale), 1))
    line = max(2, round(height / 112))
    base = resize_picture(image, size)
    panels = [Panel(base, (("image", FAINT),))]
    if saliency is not None:
        drawn = overlay_saliency(base, _resize_map(saliency.astype(np.float32), size))
        panels.append(Panel(drawn, (("saliency", FAINT),)))
    if seeds is not None:
        drawn = overlay_seeds(base, _resize_seeds(seeds, size))
        panels.append(Panel(drawn, (("seeds", FAINT),)))
    if mask is not None:
        shrunk = _resize_map(mask.astype(np.float32), size) >= 0.5
        drawn = overlay_mask(base, shrunk, thickness=line)
        panels.append(Panel(drawn, (("mask", FAINT),)))
    if pred_box is not None or len(gt_boxes) or mask is not None:
        ratio = np.array([size[1] / columns, size[0] / rows] * 2)
        drawn = draw_boxes(
            base,
            predicted=None if pred_box is None else _scaled(pred_box, ratio),
            true=[_scaled(box, ratio) for box in gt_boxes],
            thickness=line,
        )
        panels.append(Panel(drawn, _box_caption(pred_box, gt_boxes)))
    return panels


def _scaled(box: Box, ratio: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = (np.asarray(box) * ratio).tolist()
    return (x0, y0, x1, y1)


def _box_caption(pred_box: Box | None, gt_boxes: Sequence[Box]) -> tuple[tuple[str, Colour], ...]:
    box = (("no box", FAINT),) if pred_box is None else (("■ ", PREDICTED), ("box", FAINT))
    return (*box, ("  ■ ", TRUE), ("true", FAINT)) if len(gt_boxes) else box


def resize_picture(image: Picture, size: tuple[int, int]) -> Picture:
    """Resize a picture to (height, width), without aliasing."""
    if image.shape[:2] == size:
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(resized)


def _resize_map(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    shrinks = size[0] < values.shape[0] or size[1] < values.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=way), dtype=np.float32)


def _resize_seeds(seeds: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    resized = cv2.resize(seeds, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)


# -------------------------------------------------------------------------------------- files


def encode_png(image: Picture) -> bytes:
    """Encode a picture as PNG, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_jpeg(image: Picture, *, quality: int = 80) -> bytes:
    """Encode a picture as JPEG; `quality` from 1 to 95."""
    if not 1 <= quality <= 95:
        raise ValueError(f"quality must be in 1 to 95, but got {quality}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def save_png(path: Path | str, image: Picture) -> None:
    """Write a picture as PNG; folders are made as needed, a file is there whole or not at all."""
    _write(Path(path), encode_png(image))


def save_jpeg(path: Path | str, image: Picture, *, quality: int = 90) -> None:
    """Write a picture as JPEG; folders are made as needed, a file is there whole or not at all."""
    _write(Path(path), encode_jpeg(image, quality=quality))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
