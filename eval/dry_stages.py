"""Images that are not there, and stages whose results are ready: the rest is an engine's cost.

A module of its own, which Ray's workers import.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from wsl.data.categories import Categories
from wsl.data.geometry import Geometry
from wsl.data.sample import Dataset, Sample
from wsl.localize.localizer import Explained, Localizer
from wsl.localize.prediction import Localization, Prediction
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig
from wsl.run.engines.ray_work import WorkPlan
from wsl.run.info import RunInfo
from wsl.run.records import prediction_rows
from wsl.run.stages import Decoded, Finished, Stages
from wsl.saliency.views import Views


class NoImages(Dataset):
    """A list of images that are not there."""

    def __init__(self, count: int) -> None:
        self.name, self.root = "none", Path()
        self.categories = Categories(("a",))
        self.image_ids = tuple(f"n01440764/n01440764_{number:08d}" for number in range(count))

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Name the image."""
        return Sample(self.image_ids[index], Path(self.image_ids[index]))


class NoWork(Stages):
    """Stages that have their results ready."""

    pixels = np.zeros((8, 8, 3), np.uint8)

    def prepare(self) -> None:
        """Make the rows of an image."""
        mask = np.zeros((375, 500), bool)
        yy, xx = np.mgrid[:375, :500]
        mask[(yy - 180) ** 2 + 2 * (xx - 240) ** 2 + 900 * np.sin(yy / 3) < 20_000] = True
        found = tuple(
            Localization(rank, "class", rank + 1, 0.2, (9, 9, 99, 99), mask, 0.5, True)
            for rank in range(5)
        )
        self.rows = prediction_rows(Prediction("", (375, 500), found))
        # Masks that differ, for files of a real run's size.
        rng = np.random.default_rng(0)
        letters = rng.integers(48, 112, (1009, 300), dtype=np.uint8)
        self.masks = [row.tobytes().decode() for row in letters]

    def decode(self, dataset: Dataset, index: int) -> Decoded:
        """Name the image."""
        return Decoded(dataset.sample(index), self.pixels, None)  # type: ignore[arg-type]

    def explain(self, batch: Any) -> list[Any]:
        """Say nothing of each."""
        return [None] * len(batch)

    def refine(self, image: Decoded, explained: Any) -> Finished:
        """Give the rows."""
        first = hash(image.sample.image_id)
        rows = [
            row | {"image_id": image.sample.image_id, "mask": self.masks[(first + at) % 1009]}
            for at, row in enumerate(self.rows)
        ]
        return Finished(rows, {}, failed=False)


@dataclass(frozen=True)
class Size:
    """How large images and their maps are."""

    image: tuple[int, int] = (8, 8)
    map: tuple[int, int] = (8, 8)
    classes: int = 5


class OneImage(NoImages):
    """A list of images that are all the same file."""

    def __init__(self, count: int, path: Path) -> None:
        super().__init__(count)
        self.path = path

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Name the image."""
        return Sample(self.image_ids[index], self.path)


class NoWorkOnRay(NoWork):
    """Stages that have their results ready, maps included."""

    size = Size()

    def decode(self, dataset: Dataset, index: int) -> Decoded:
        """Give black pixels."""
        views = Views((), (Geometry.squash(self.size.image, self.size.map),))
        pixels = np.broadcast_to(np.uint8(0), (*self.size.image, 3))
        return Decoded(dataset.sample(index), pixels, views)

    def explain(self, batch: Any) -> list[Explained]:
        """Give each image maps of its own."""
        classes = range(self.size.classes)
        return [
            Explained(
                tuple(classes),
                tuple(rank + 1 for rank in classes),
                tuple(0.2 for _ in classes),
                (np.zeros((len(classes), *self.size.map), np.float32),),
            )
            for _ in batch
        ]


@dataclass(frozen=True, eq=False)
class DryPlan(WorkPlan):
    """A plan whose stages do nothing."""

    size: Size = field(default_factory=Size)

    def stages(self, classifier: Classifier | None = None) -> Stages:
        """Make them once per process, as what they have ready takes a moment."""
        if self.size not in _kept:
            stages = NoWorkOnRay(
                Localizer(self.classifier, self.localizer),
                classes=self.classes,
                options=self.options,
                max_pixels=self.max_pixels,
            )
            stages.size = self.size
            stages.prepare()
            _kept[self.size] = stages
        return _kept[self.size]


# Of this process, which may be a worker's.
_kept: dict[Size, NoWorkOnRay] = {}


def no_stages(config: RunConfig) -> NoWork:
    """Make stages around a classifier that nobody asks."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))
    classifier = load_classifier(
        module, preprocessing=Preprocessing(8, (8, 8)), categories=Categories(("a",))
    )
    stages = NoWork(
        Localizer(classifier), classes=config.classes, options=config.run, max_pixels=10**6
    )
    stages.prepare()
    return stages


def no_info(config: RunConfig, images: int) -> RunInfo:
    """Say what the run is."""
    return RunInfo(
        config=config.model_dump(mode="json"),
        dataset={"name": "none", "count": images, "fingerprint": "0"},
        categories={"names": ["a"], "ids": None},
        model={"name": "none", "fingerprint": "0", "device": "cpu"},
        versions={},
    )
