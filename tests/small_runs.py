"""Small runs for the tests of engines and faults: eleven images, a small random network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsl.data.categories import Categories
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config
from wsl.run.folder import RunFolder

WNIDS = ("n00000001", "n00000002", "n00000003")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(inplace=True), nn.AvgPool2d(4),
        nn.Flatten(), nn.Linear(8 * 8 * 8, 3),
    )  # fmt: skip


def classifier(module: nn.Module | None = None) -> Classifier:
    """Any module of three scores for inputs of 32 x 32, by default a small random network."""
    return load_classifier(
        module or network(),
        preprocessing=Preprocessing(
            resize_size=36, crop_size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
        ),
        categories=Categories(("one", "two", "three"), WNIDS),
    )


def draw_photos(root: Path, count: int = 11) -> Path:
    """Draw images of three classes, one folder each: a light square on dark noise."""
    rng = np.random.default_rng(0)
    for index in range(count):
        folder = root / WNIDS[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        size = (int(rng.integers(30, 60)), int(rng.integers(30, 60)))
        pixels = rng.integers(0, 80, (*size, 3)).astype(np.uint8)
        pixels[8:22, 10:24] += 150
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return root


def config(photos: Path | str, **changes: object) -> RunConfig:
    """Chunks of four images, batches of three; changes by dotted key, ``.`` written ``__``."""
    content = {
        "extends": "plain",
        "data": {"format": "folder", "root": str(photos)},
        "classes": {"select": "both", "top_k": 2},
        "run": {"chunk_size": 4, "batch_size": 3, "workers": 2},
    }
    return build_config(
        content, [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    )


def rows(folder: Path | str) -> list[dict[str, object]]:
    return RunFolder(folder).read().to_pylist()
