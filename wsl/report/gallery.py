"""The gallery: which images have a picture, and the pictures, small enough for the page.

A picture is stored in layers, each once: the image (JPEG), the map in colors (JPEG), the seeds and
the mask as images of a few colors (PNG). The page lays them over each other and draws the boxes
itself, so that a strip is crisp at every size and several runs share the image.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from wsl.boxes import Box
from wsl.draw.overlays import PREDICTED, SEED_COLORS, colorize_map
from wsl.draw.pictures import encode_jpeg, resize_picture
from wsl.errors import ScoreError, WslError
from wsl.masks import Mask
from wsl.progress import NoProgress, Progress
from wsl.report.runs import RunTable, Steps

_LEAST_OF_A_KIND = 12
_LISTED = 100_000  # of more images the page knows those with a picture alone
_HEIGHT, _HEIGHT_OF_MANY, _MANY = 224, 160, 300
_WIDEST = 2.0  # a picture is at most so many times as wide as the pictures are high


@dataclass(frozen=True)
class PictureOptions:
    """How many pictures a report has, and how large they are."""

    count: int = 200
    """Images in the gallery; 0 for none."""
    height: int | None = None
    """Height of a picture in pixels; smaller images are not enlarged. None: 224, but 160 if there
    are more than 300 pictures, so that a page with 650 photographs stays below 15 MB."""
    quality: int = 80
    """Quality of the JPEGs, from 1 to 95."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ScoreError(f"the number of pictures must be 0 or more, but is {self.count}")
        if self.height is not None and not 32 <= self.height <= 2000:
            raise ScoreError(f"pictures must be 32 to 2000 pixels high, but got {self.height}")
        if not 1 <= self.quality <= 95:
            raise ScoreError(f"the pictures' quality must be 1 to 95, but is {self.quality}")


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report."""

    pictures: dict[str, dict[str, Any]]
    """Pictures by image id; JSON's types, which `page.js` draws."""
    rule: str
    """How the images were chosen, for the reader."""
    without: list[tuple[str, str]]
    """Chosen images whose picture could not be made, and why."""
    differing: list[str]
    """Images whose steps, computed again, lead to another box than the run's."""


def choose_images(tables: Sequence[RunTable], count: int) -> tuple[list[str], str]:
    """Choose the images of the gallery; no chance is involved.

    All images if there are no more than `count`. Otherwise, with several runs, a third are those
    whose IoU differs most between the first two. The others are chosen by the first run's error
    kinds: each gets its share of the pictures, but at least 12 (or all of its images); within a
    kind the images are ordered by IoU and taken at even steps, the lowest and the highest
    included.

    Returns
    -------
    list of str
        Image ids, in the dataset's order. Images that failed are never chosen.
    str
        The rule, in a sentence or two for the reader.
    """
    images = tables[0].images
    # a run can fail on an image that another run does
    failed = np.any([(table.images["status"] == "failed").to_numpy() for table in tables], axis=0)
    images = images[~failed]
    if len(images) <= count:
        return (
            images.index.tolist(),
            f"All {len(images):,} images that were processed have a picture.",
        )
    chosen: set[str] = set()
    rule = f"{count:,} of {len(images):,} images have a picture. "
    if len(tables) > 1:
        change = (tables[1].images["iou"] - tables[0].images["iou"]).abs().loc[images.index]
        most = change.sort_values(ascending=False, kind="stable").index[: count // 3]
        chosen.update(most.tolist())
        rule += f"{len(most)} are those whose IoU differs most between the first two runs. "
    rest = images[~images.index.isin(list(chosen))]
    strata = [group for _, group in rest.groupby(rest["kind"].fillna(""), sort=True)]
    sizes = _allocate([len(group) for group in strata], count - len(chosen))
    for group, size in zip(strata, sizes, strict=True):
        ordered = group.sort_values("iou", kind="stable").index
        # size <= len(ordered): the steps are at least 1 and no image is met twice
        at = np.linspace(0, len(ordered) - 1, size).round().astype(int)
        chosen.update(ordered[at].tolist())
    rule += (
        "Each error kind has its share of the pictures, but at least "
        f"{_LEAST_OF_A_KIND} or all it has; within a kind they are spread evenly from the lowest "
        "to the highest IoU."
    )
    return [image_id for image_id in images.index if image_id in chosen], rule


def _allocate(sizes: Sequence[int], total: int) -> list[int]:
    """Share `total` among strata by their sizes, each at least a few, none more than it has."""
    if not sizes or total <= 0:
        return [0] * len(sizes)
    least = min(_LEAST_OF_A_KIND, total // len(sizes))
    parts = [min(size, max(least, math.floor(total * size / sum(sizes)))) for size in sizes]
    while sum(parts) > total:  # the minima took too much: the largest give it back
        parts[parts.index(max(parts))] -= 1
    while sum(parts) < min(total, sum(sizes)):  # the roundings took too little
        room = [size - part for size, part in zip(sizes, parts, strict=True)]
        parts[room.index(max(room))] += 1
    return parts


def make_gallery(
    tables: Sequence[RunTable],
    options: PictureOptions,
    *,
    progress: Progress | None = None,
) -> Gallery:
    """Make the pictures of a report.

    Parameters
    ----------
    tables : sequence of RunTable
    options : PictureOptions
    progress : Progress, optional

    Raises
    ------
    ScoreError
        If the steps of an image contradict the run: another size, a map that is not finite or
        negative, a mask of another size, codes that are not seeds.
    """
    if options.count == 0 or all(table.run.steps is None for table in tables):
        return Gallery({}, "This report was made without pictures.", [], [])
    chosen, rule = choose_images(tables, options.count)
    height = options.height or (_HEIGHT if len(chosen) <= _MANY else _HEIGHT_OF_MANY)
    progress = progress or NoProgress()
    progress.start(len(chosen), 0)
    pictures: dict[str, dict[str, Any]] = {}
    without: list[tuple[str, str]] = []
    for image_id in chosen:
        try:
            pictures[image_id] = _picture(image_id, tables, height, options.quality)
        except ScoreError:
            raise
        except (WslError, OSError) as error:
            without.append((image_id, str(error)))
        progress.advance(1, int(bool(without) and without[-1][0] == image_id))
    differing = [
        image_id
        for image_id, picture in pictures.items()
        if any(run.get("other") for run in picture["runs"])
    ]
    return Gallery(pictures, rule, without, differing)


def image_columns(tables: Sequence[RunTable], gallery: Gallery) -> dict[str, Any]:
    """Return what the page filters and orders images by: lists with an entry per image."""
    images = tables[0].images
    if len(images) > _LISTED:
        images = images.loc[list(gallery.pictures)]
    own = [table.images.loc[images.index] for table in tables]
    labels = pd.concat([images["label"], *(of["predicted"] for of in own)]).dropna().unique()
    return {
        "ids": images.index.tolist(),
        "labels": _column(images["label"]),
        "names": {int(label): tables[0].class_name(label) for label in labels},
        "runs": [
            {
                "iou": of["iou"].round(4).tolist(),
                "kind": _column(of["kind"]),
                "top1_kind": _column(of["top1_kind"]),
                "quality": _column(of["quality"].astype(float).round(3)),
                "predicted": _column(of["predicted"]),
                "score": _column(of["predicted_score"].astype(float).round(3)),
            }
            for of in own
        ],
    }


def _column(values: pd.Series[Any]) -> list[Any] | None:
    """List of values, None where one is missing; None if all are."""
    return (
        None if values.isna().all() else values.astype(object).where(values.notna(), None).tolist()
    )


def _picture(
    image_id: str, tables: Sequence[RunTable], height: int, quality: int
) -> dict[str, Any]:
    steps = [None if t.run.steps is None else t.run.steps(image_id) for t in tables]
    for table, one in zip(tables, steps, strict=True):
        if one is not None:
            _check_steps(image_id, one, table)
    shown = next(one for one in steps if one is not None)
    rows, columns = shown.image.shape[:2]
    size = _picture_size((rows, columns), height)
    return {
        "size": [columns, rows],
        "image": _jpeg(resize_picture(shown.image, size), quality),
        "truth": [_rounded(box) for box in shown.gt_boxes],
        "runs": [
            {} if one is None else _layers(image_id, table, one, size, quality)
            for table, one in zip(tables, steps, strict=True)
        ],
    }


def _layers(
    image_id: str, table: RunTable, steps: Steps, size: tuple[int, int], quality: int
) -> dict[str, Any]:
    small = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    entry: dict[str, Any] = {"box": None if steps.box is None else _rounded(steps.box)}
    if table.differs(image_id, steps.box):
        entry["other"] = True
    if steps.saliency is not None:
        saliency = _shrunk(steps.saliency.astype(np.float32), small, cv2.INTER_AREA)
        entry["saliency"] = _jpeg(colorize_map(saliency), quality)
    if steps.seeds is not None:
        entry["seeds"] = _seeds_png(_shrunk(steps.seeds, small, cv2.INTER_NEAREST))
    if steps.mask is not None:
        entry["mask"] = _mask_png(steps.mask, size)
    return entry


def _check_steps(image_id: str, steps: Steps, table: RunTable) -> None:
    """Refuse steps that are not of this run's image."""
    image, row = steps.image, table.row(image_id)
    where = f"image {image_id!r} of run {table.name!r}"
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ScoreError(f"{where} must be (H, W, 3) of uint8, but is {image.dtype} {image.shape}")
    height, width = row["height"], row["width"]
    if height == height and (height, width) != image.shape[:2]:
        raise ScoreError(
            f"{where} is {image.shape[1]} × {image.shape[0]} pixels (width × height) now, but was "
            f"{width:g} × {height:g} in the run: is it another file?"
        )
    saliency, seeds, mask = steps.saliency, steps.seeds, steps.mask
    if saliency is not None:
        if saliency.ndim != 2 or not saliency.size:
            raise ScoreError(f"the map of {where} must be (h, w), but is {saliency.shape}")
        if not np.isfinite(saliency).all() or saliency.min() < 0:
            raise ScoreError(f"the map of {where} must be finite and 0 or more, but is not")
    if seeds is not None and (seeds.ndim != 2 or not seeds.size or seeds.max() > 3):
        raise ScoreError(f"the seeds of {where} must be (h, w) with codes 0 to 3, but are not")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ScoreError(
            f"the mask of {where} must have the image's size {image.shape[:2]}, but is {mask.shape}"
        )


def _picture_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    scale = min(height / size[0], _WIDEST * height / size[1], 1.0)
    return (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))


def _shrunk(layer: NDArray[Any], size: tuple[int, int], way: int) -> NDArray[Any]:
    """Shrink a layer to a size; one that is smaller already stays as it is."""
    if layer.shape[0] <= size[0] and layer.shape[1] <= size[1]:
        return layer
    return np.asarray(cv2.resize(layer, (size[1], size[0]), interpolation=way))


def _seeds_png(seeds: NDArray[np.uint8]) -> str:
    return _palette_png(seeds, [SEED_COLORS[code] for code in range(4)])


def _mask_png(mask: Mask, size: tuple[int, int]) -> str:
    """Transparent inside of the mask, a veil outside, and the outline."""
    area = _shrunk(mask.astype(np.float32), size, cv2.INTER_AREA) >= 0.5
    kernel = np.ones((3, 3), dtype=np.uint8)
    inner = cv2.erode(np.pad(area, 1).astype(np.uint8), kernel, iterations=2)[1:-1, 1:-1] > 0
    codes = np.where(area, np.where(inner, 0, 2), 1).astype(np.uint8)
    return _palette_png(codes, [(0, 0, 0, 0), (245, 245, 245, 190), PREDICTED])


def _palette_png(codes: NDArray[np.uint8], colors: Sequence[tuple[int, ...]]) -> str:
    """Draw codes in the colors at their places: red, green, blue, and opacity if not full."""
    image = Image.fromarray(codes)
    image.putpalette([part for color in colors for part in color[:3]])
    options: dict[str, Any] = {}
    if any(len(color) > 3 for color in colors):
        options["transparency"] = bytes((*color, 255)[3] for color in colors)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, bits=2, **options)
    return _data_uri("image/png", buffer.getvalue())


def _jpeg(picture: NDArray[np.uint8], quality: int) -> str:
    return _data_uri("image/jpeg", encode_jpeg(picture, quality=quality))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _rounded(box: Box) -> list[float]:
    return [round(float(value), 1) for value in box]
