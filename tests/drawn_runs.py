"""Runs over drawn images, for the tests of reports: ellipses, and boxes that miss them a little."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.sample import Annotation, Instance, Sample
from wsl.localize.seeds import SeedOptions, quantile_seeds
from wsl.report.runs import ReportRun, Steps, quality_by_image
from wsl.score.protocols.diagnosis import DiagnosisOptions, diagnose
from wsl.score.protocols.ilsvrc import score_ilsvrc

EVIL_ID = '"><script>document.title="broken"</script>'
EVIL_CLASS = "<img src=x onerror=\"document.title='broken'\">"


@dataclass(frozen=True)
class DrawnImage:
    image_id: str
    size: tuple[int, int]
    box: Box
    label: int


def drawn_images(count: int, classes: int) -> list[DrawnImage]:
    rng = np.random.default_rng(7)
    images = []
    for index in range(count):
        height, width = (int(side) for side in rng.integers(60, 160, 2))
        w, h = rng.uniform(0.35, 0.8) * width, rng.uniform(0.35, 0.8) * height
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        image_id = EVIL_ID if index == 3 else f"drawn_{index:04d}"
        images.append(DrawnImage(image_id, (height, width), (x, y, x + w, y + h), index % classes))
    return images


def make_run(
    *,
    count: int = 30,
    classes: int = 5,
    miss: float = 0.1,
    name: str = "plain",
    seed: int = 0,
    quality: bool = True,
    pictures: bool = True,
    both: bool = False,
    config: Mapping[str, Any] | None = None,
) -> ReportRun:
    """Run whose boxes miss by `miss` of the image's sides, and every fifth class is wrong.

    Judged is the top-1 prediction; with `both` also, and foremost, the box of the image's class.
    """
    images = drawn_images(count, classes)
    names = [EVIL_CLASS if label == 1 else f"shape {label}, kind" for label in range(classes)]
    categories = Categories(tuple(names), tuple(f"n{label:08d}" for label in range(classes)))
    samples = [
        Sample(
            one.image_id,
            Path("none"),
            one.label,
            Annotation((Instance(one.label, one.box),), one.size),
        )
        for one in images
    ]
    predictions, boxes = _predictions(images, categories, miss=miss, seed=seed, quality=quality)
    guesses = diagnose(predictions, samples, DiagnosisOptions(metric="top1"))
    return ReportRun(
        name=name,
        scores=score_ilsvrc(predictions, samples),
        categories=categories,
        diagnosis=diagnose(predictions, samples) if both else guesses,
        top1_diagnosis=guesses if both else None,
        quality=quality_by_image(predictions),
        steps=_Drawer(images, boxes) if pictures else None,
        facts={"Classifier": "drawn"},
        config=config or {"saliency": {"method": name, "note": "</script><b>bold</b>"}},
        versions={"wsl": "1.2.3"},
        timings={"decode": 1.5, "saliency": 20.0, "refine": 12.25, "wall": 21.0},
    )


def _predictions(
    images: list[DrawnImage], categories: Categories, *, miss: float, seed: int, quality: bool
) -> tuple[pd.DataFrame, dict[str, Box | None]]:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    boxes: dict[str, Box | None] = {}
    for index, one in enumerate(images):
        height, width = one.size
        moved = np.array(one.box) + rng.normal(0, miss, 4) * (width, height, width, height)
        x0, x1 = sorted(np.clip(moved[[0, 2]], 0, width))
        y0, y1 = sorted(np.clip(moved[[1, 3]], 0, height))
        box = None if index == 5 else (float(x0), float(y0), float(x1), float(y1))
        boxes[one.image_id] = box
        other = (one.label + 1) % len(categories)
        order = [other, one.label] if index % 5 == 4 else [one.label, other]
        for rank, label in enumerate(order, start=1):
            corners = dict(zip(("x0", "y0", "x1", "y1"), box or [None] * 4, strict=True))
            rows.append(
                {
                    "image_id": one.image_id,
                    "width": width,
                    "height": height,
                    "status": "ok",
                    "label": label,
                    "rank": rank,
                    "score": 0.6 / rank,
                    "in_top_k": True,
                    "is_ground_truth": label == one.label,
                    **corners,
                    "quality": (index % 10) / 10 + 0.05 if quality else None,
                }
            )
    return pd.DataFrame(rows), boxes


class _Drawer:
    """Draws the steps of an image when asked for them."""

    def __init__(self, images: list[DrawnImage], boxes: dict[str, Box | None]) -> None:
        self.images = {one.image_id: one for one in images}
        self.boxes = boxes

    def __call__(self, image_id: str) -> Steps:
        drawn, box = self.images[image_id], self.boxes[image_id]
        rng = np.random.default_rng(zlib.crc32(image_id.encode()))
        image = np.full((*drawn.size, 3), rng.integers(60, 200, 3), dtype=np.uint8)
        inside = _ellipse(drawn.box, drawn.size)
        image[inside] = rng.integers(0, 256, 3)
        noise = rng.random(drawn.size) ** 3
        saliency = (noise * (0.2 + inside)).astype(np.float32)
        seeds = quantile_seeds(saliency, SeedOptions(undecided="split"))
        mask = _ellipse(box, drawn.size) if box else np.zeros(drawn.size, bool)
        return Steps(image, saliency, seeds, mask, box, (drawn.box,))


def _ellipse(box: Box, size: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = box
    middle = (round((x0 + x1) / 2), round((y0 + y1) / 2))
    axes = (max(round((x1 - x0) / 2), 1), max(round((y1 - y0) / 2), 1))
    canvas = np.zeros(size, dtype=np.uint8)
    return cv2.ellipse(canvas, middle, axes, 0, 0, 360, 1, -1) > 0
