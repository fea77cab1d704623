"""Strips of the steps from an image to its box, and pictures as files.

Pictures are arrays as in `wsl.draw.overlays`. Only `save_png` and `save_jpeg` touch the disk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.boxes import Box
from wsl.draw.montage import FAINT, Color, Panel, color_bar, side_by_side
from wsl.draw.overlays import (
    PREDICTED,
    TRUE,
    Picture,
    check_sizes,
    color_table,
    draw_boxes,
    map_limits,
    overlay_mask,
    overlay_saliency,
    overlay_seeds,
)
from wsl.masks import Mask
from wsl.storage import as_path, whole_file

_WIDEST = 3.0  # no panel is wider than so many times its height


def strip(
    image: Picture,
    saliency: NDArray[np.floating] | None = None,
    seeds: NDArray[np.uint8] | None = None,
    mask: Mask | None = None,
    pred_box: Box | None = None,
    gt_boxes: Sequence[Box] = (),
    *,
    title: str | None = None,
    method: str | None = None,
    height: int | None = 224,
    captions: bool = True,
) -> Picture:
    """Draw the steps from an image to its box side by side.

    Panels are the image, the saliency map, the seeds, the mask and the boxes; what is not given is
    left out. Overlays are drawn after the image has been resized, so that lines stay crisp.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    saliency : ndarray, shape (h, w), optional
        At the image's size or the working size: it is stretched to fit.
    seeds : ndarray of uint8, shape (h, w), optional
        Likewise.
    mask : ndarray of bool, shape (H, W), optional
    pred_box : Box, optional
        In pixels of `image`.
    gt_boxes : sequence of Box
        In pixels of `image`.
    title : str, optional
        A line above the panels, such as the class and its score; cut if it is too long.
    method : str, optional
        The saliency method, for the map's caption.
    height : int or None
        Height of the panels in pixels, at least 16. A panel is at most three times as wide: a
        longer image is drawn lower. None is the image's own size, with the mask's boundary to the
        pixel.
    captions : bool
        Whether a line beneath each panel says what it is, and a scale beside the map what its
        colors mean.

    Returns
    -------
    ndarray of uint8, shape (height with title and captions, W, 3)

    Raises
    ------
    ValueError
        If sizes do not fit together.
    """
    if height is not None and height < 16:
        raise ValueError(f"height must be at least 16, but got {height}")
    check_sizes(image, **({} if mask is None else {"mask": mask}))
    for name, layer in (("saliency", saliency), ("seeds", seeds)):
        if layer is not None and (layer.ndim != 2 or not layer.size):
            raise ValueError(f"{name} must be (h, w), but got shape {layer.shape}")
    rows, columns = image.shape[:2]
    scale = 1.0 if height is None else min(height / rows, _WIDEST * height / columns)
    size = (max(round(rows * scale), 1), max(round(columns * scale), 1))
    height = height or rows
    line = max(2, round(height / 112))
    base = resize_picture(image, size)
    panels = [Panel(base, (("image", FAINT),))]
    if saliency is not None:
        values = _resize_map(saliency.astype(np.float32), size)
        caption = "saliency" if method is None else f"saliency, {method}"
        panels.append(Panel(overlay_saliency(base, values), ((caption, FAINT),)))
        if captions:
            panels.append(Panel(color_bar(color_table(), map_limits(values), height=size[0]), ()))
    if seeds is not None:
        drawn = overlay_seeds(base, _resize_seeds(seeds, size))
        panels.append(Panel(drawn, (("seeds", FAINT),)))
    if mask is not None:
        panels.append(Panel(mask_picture(image, mask, size, thickness=line), (("mask", FAINT),)))
    if pred_box is not None or len(gt_boxes) or mask is not None:
        ratio = np.array([size[1] / columns, size[0] / rows] * 2)
        drawn = draw_boxes(
            base,
            predicted=None if pred_box is None else _scaled(pred_box, ratio),
            true=[_scaled(box, ratio) for box in gt_boxes],
            thickness=line,
        )
        panels.append(Panel(drawn, _box_caption(pred_box, gt_boxes)))
    return side_by_side(panels, title=title, height=height, captions=captions)


def mask_picture(
    image: Picture,
    mask: Mask,
    size: tuple[int, int],
    *,
    pred_box: Box | None = None,
    gt_boxes: Sequence[Box] = (),
    thickness: int = 2,
) -> Picture:
    """Draw a mask and boxes on an image at another size, with lines of that size.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    mask : ndarray of bool, shape (H, W)
    size : (int, int)
        (height, width) of the picture.
    pred_box : Box, optional
        In pixels of `image`.
    gt_boxes : sequence of Box
        In pixels of `image`.
    thickness : int
        Thickness of lines in pixels.
    """
    area = _resize_map(mask.astype(np.float32), size) >= 0.5
    drawn = overlay_mask(resize_picture(image, size), area, thickness=thickness)
    if pred_box is None and not len(gt_boxes):
        return drawn
    ratio = np.array([size[1] / image.shape[1], size[0] / image.shape[0]] * 2)
    predicted = None if pred_box is None else _scaled(pred_box, ratio)
    true = [_scaled(box, ratio) for box in gt_boxes]
    return draw_boxes(drawn, predicted=predicted, true=true, thickness=thickness)


def _scaled(box: Box, ratio: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = (np.asarray(box) * ratio).tolist()
    return (x0, y0, x1, y1)


def _box_caption(pred_box: Box | None, gt_boxes: Sequence[Box]) -> tuple[tuple[str, Color], ...]:
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
    """Write a picture as PNG, whole or not at all; folders are made as needed."""
    _write(path, encode_png(image))


def save_jpeg(path: Path | str, image: Picture, *, quality: int = 90) -> None:
    """Write a picture as JPEG, whole or not at all; folders are made as needed."""
    _write(path, encode_jpeg(image, quality=quality))


def _write(path: Path | str, content: bytes) -> None:
    with whole_file(as_path(path)) as file:
        file.write(content)


def file_part(text: str) -> str:
    """Part of a file name: the first synonym, with signs that any system takes."""
    return re.sub(r"[^\w.-]+", "_", text.split(",")[0]).strip("_.") or "_"
