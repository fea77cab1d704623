"""Small runs made by hand over annotated images that were never drawn, for the tests of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsl.data.categories import Categories
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import encode_rle, mask_to_box
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.maps import map_key, write_maps
from wsl.run.rows import write_part
from wsl.score.protocols.mask_iou import MaskIoUOptions, MaskPair

CHUNK = 4


class Listed(Dataset):
    """A dataset of given samples; an exception in a sample's place is raised on reading it."""

    def __init__(self, samples: Mapping[str, Sample | Exception], name: str = "listed val"):
        self.name, self.root = name, Path()
        self.categories = Categories.numbered(6)
        self.image_ids = tuple(samples)
        self._samples = samples

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        found = self._samples[self.image_ids[index]]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class MadeImage:
    """One image: its object, what was found of it, and the map of its class."""

    image_id: str
    size: tuple[int, int]
    label: int
    true: np.ndarray
    found: np.ndarray
    map_: np.ndarray
    predicted: tuple[int, ...] = ()
    failed: bool = False

    @property
    def sample(self) -> Sample:
        box = mask_to_box(self.true)
        instance = Instance(self.label, box, encode_rle(self.true))
        annotation = Annotation((instance,), self.size)
        return Sample(self.image_id, Path(f"{self.image_id}.jpg"), self.label, annotation)

    @property
    def prediction(self) -> Prediction:
        if self.failed:
            return Prediction.failed(self.image_id, "truncated")
        return Prediction(
            self.image_id,
            self.size,
            tuple(
                Localization(
                    label=label,
                    category=f"class {label}",
                    rank=rank,
                    score=1 / (1 + rank),
                    box=mask_to_box(self.found),
                    mask=self.found,
                    is_ground_truth=label == self.label,
                )
                for rank, label in enumerate(self.predicted or (self.label,), start=1)
            ),
        )


def ellipse(size, center, axes):
    canvas = np.zeros(size, dtype=np.uint8)
    cv2.ellipse(canvas, center, axes, 0, 0, 360, 1, -1)
    return canvas > 0


def made_images(count: int = 9, *, seed: int = 0) -> list[MadeImage]:
    """Ellipses that were found a little beside; every third image has another class first."""
    rng = np.random.default_rng(seed)
    images = []
    for index in range(count):
        size = (int(rng.integers(60, 110)), int(rng.integers(60, 110)))
        center = (
            size[1] // 2 + int(rng.integers(-9, 10)),
            size[0] // 2 + int(rng.integers(-9, 10)),
        )
        axes = (int(rng.integers(9, 27)), int(rng.integers(9, 27)))
        true = ellipse(size, center, axes)
        moved = (center[0] + int(rng.integers(-6, 7)), center[1] + int(rng.integers(-6, 7)))
        found = ellipse(size, moved, axes)
        map_ = cv2.GaussianBlur(found.astype(np.float32), (0, 0), 4) + rng.random(size) / 20
        if index == 7:
            map_[0, 0] = 2  # its highest point is off the object
        label = index % 3
        images.append(
            MadeImage(
                f"img{index:02d}",
                size,
                label,
                true,
                found,
                (map_ / map_.max()).astype(np.float16),
                predicted=(5, label) if index % 3 == 2 else (label, 5),
            )
        )
    return images


@dataclass
class MadeRun:
    """Images with the folder of a run over them."""

    images: list[MadeImage]
    folder: RunFolder
    samples: dict[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> Listed:
        return Listed({one.image_id: one.sample for one in self.images} | self.samples)


def write_run(
    path: Path,
    images: Sequence[MadeImage],
    *,
    maps: bool = True,
    predictions: Mapping[str, Prediction] | None = None,
    config: Mapping[str, Any] | None = None,
) -> MadeRun:
    """Write a run over images; some may have another prediction than their own."""
    folder = RunFolder(path)
    folder.make()
    listed = {one.image_id: one.prediction for one in images} | dict(predictions or {})
    for chunk in range(0, len(images), CHUNK):
        some = images[chunk : chunk + CHUNK]
        write_part(folder.part_path(chunk // CHUNK), [listed[one.image_id] for one in some])
        if maps:
            stored = {
                map_key(one.image_id, found.label): one.map_
                for one in some
                for found in listed[one.image_id].localizations
            }
            folder.maps_path(chunk // CHUNK).parent.mkdir(exist_ok=True)
            write_maps(folder.maps_path(chunk // CHUNK), stored)
    folder.write_info(
        RunInfo(
            config=dict(config or {}),
            dataset={"name": "listed val", "count": len(images), "fingerprint": "0"},
            categories={"names": [f"class {n}" for n in range(6)], "ids": None},
            model={"name": "made", "fingerprint": "0", "device": "cpu"},
            versions={},
        )
    )
    return MadeRun(list(images), folder)


def score_masks(pairs, options=None, boxes=None):
    """Score (image id, predicted, true) and perhaps ignored pixels; by mean IoU unless told."""
    return (options or MaskIoUOptions()).score_pairs((MaskPair(*pair) for pair in pairs), boxes)
