"""Runs on disk for the tests of exports: awkward ids and masks, without any classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.sample import Dataset, Sample
from wsl.export.export import ExportSummary, export_run
from wsl.export.formats import FORMATS
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import mask_to_box
from wsl.progress import Progress
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.maps import map_key, stored_map, write_maps
from wsl.run.rows import write_part

CATEGORIES = Categories(("tench, Tinca tinca", "hen", "žába & co"), ("n1", "n2", "n3"))


def drawn(*rows: str) -> np.ndarray:
    """Mask from rows of text: # is inside."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def found(
    mask: np.ndarray,
    label: int = 0,
    *,
    rank: int = 1,
    score: float = 0.5,
    quality: float | None = 0.5,
    truth: bool = True,
    in_top_k: bool = True,
    box: Box | None = None,
) -> Localization:
    tight = mask_to_box(mask) if box is None else box
    return Localization(
        label=label,
        category=CATEGORIES.names[label],
        rank=rank,
        score=score,
        box=tight,
        mask=mask,
        quality=quality,
        refined=True,
        in_top_k=in_top_k,
        is_ground_truth=truth,
    )


def image(image_id: str, *localizations: Localization) -> Prediction:
    return Prediction(image_id, localizations[0].mask.shape, localizations)


BORDER = np.ones((7, 5), dtype=bool)
PIXEL = np.zeros((6, 9), dtype=bool)
PIXEL[5, 8] = True
CORNER_PIXEL = np.zeros((6, 9), dtype=bool)
CORNER_PIXEL[0, 0] = True
HOLE = drawn(".......", ".#####.", ".#...#.", ".#.#.#.", ".#...#.", ".#####.")
PARTS = drawn("##....#", "##....#", ".......", "...##..", "#......")
TOUCHING = drawn("#..#", ".##.", ".##.", "#..#")
EMPTY = np.zeros((4, 6), dtype=bool)
LEFT = drawn("####..", "####..", "####..", "####..")
RIGHT = drawn("..####", "..####", "..####", "..####")


def hard_predictions() -> list[Prediction]:
    """Images whose ids and masks go wrong easily; one class each but for the ninth."""
    no_box = replace(found(LEFT, 1), box=None)
    return [
        image("plain", found(BORDER, 1, score=0.25)),
        image("a folder/with spaces & more", found(PIXEL, 2, quality=None)),
        image("../up", found(HOLE)),
        image("žába 青蛙", found(PARTS, 1, box=(0, 0, 2, 2))),
        image("CON", found(TOUCHING)),
        image("Case", found(LEFT)),
        image("case", found(RIGHT, 1)),
        image("long" * 100, found(CORNER_PIXEL)),
        image(
            "two.jpg",
            found(LEFT, 0, score=0.6, rank=1),
            found(RIGHT, 2, score=0.3, rank=2),
            found(EMPTY, 1, score=0.1, rank=3),
        ),
        image("no box", no_box),
        image("nothing", found(EMPTY, 2)),
        Prediction.failed("broken", "the file is truncated"),
        Prediction.failed("failed later", "out of memory", size=(4, 6)),
    ]


def write_run(
    folder: Path,
    predictions: Sequence[Prediction],
    *,
    categories: Categories = CATEGORIES,
    chunk_size: int = 3,
    expected: int | None = None,
    maps: Mapping[tuple[str, int], np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run as the engine does."""
    run = RunFolder(folder)
    for chunk, start in enumerate(range(0, len(predictions), chunk_size)):
        part = predictions[start : start + chunk_size]
        write_part(run.part_path(chunk), part)
        ids = {one.image_id for one in part}
        stored = {
            map_key(*key): stored_map(saliency.astype(np.float32))
            for key, saliency in (maps or {}).items()
            if key[0] in ids
        }
        if maps is not None:
            write_maps(run.maps_path(chunk), stored)
    run.write_info(
        RunInfo(
            config=dict(config or {}),
            dataset={
                "name": "hard & odd",
                "count": len(predictions) if expected is None else expected,
                "fingerprint": "0",
            },
            categories={
                "names": list(categories.names),
                "ids": None if categories.ids is None else list(categories.ids),
            },
            model={"name": "none", "fingerprint": "0", "device": "cpu"},
            versions={},
        )
    )
    return folder


class ListedImages(Dataset):
    """A dataset of the given files."""

    def __init__(self, root: Path, files: Mapping[str, Path]) -> None:
        self.name = "hard & odd"
        self.root = root
        self.categories = CATEGORIES
        self.image_ids = tuple(files)
        self._files = files

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        image_id = self.image_ids[index]
        return Sample(image_id, self._files[image_id])


def write_images(folder: Path, predictions: Sequence[Prediction]) -> ListedImages:
    """Draw an image of the right size for each prediction whose size is known."""
    folder.mkdir()
    files = {}
    for number, prediction in enumerate(predictions):
        path = folder / f"photo {number}.{'jpg' if number % 2 else 'png'}"
        files[prediction.image_id] = path
        if prediction.size is not None:
            pixels = np.full((*prediction.size, 3), 10 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return ListedImages(folder, files)


def expected_masks(predictions: Sequence[Prediction]) -> dict[tuple[str, int], Localization]:
    """Localizations with a mask by image id and label."""
    return {
        (prediction.image_id, localization.label): localization
        for prediction in predictions
        for localization in prediction.localizations
        if localization.mask.any()
    }


def export(
    run: Path,
    name: str,
    out: Path | str,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> ExportSummary:
    """Export a run in a format; the images go in only where there is a dataset."""
    if dataset is None and "images" in FORMATS[name].model_fields and name != "image_folder":
        options.setdefault("images", "none")
    return export_run(run, out, FORMATS[name](**options), dataset=dataset, progress=progress)
