"""The scheduler's own cost: a run of 5,000 chunks whose work is empty.

    python eval/dry_run.py --out eval/results/dry_run.json

The local engine runs over a list of images that are not there; the stages give ready-made rows
(five classes an image, with a mask) at once. What is left is the scheduling, the rows and the
files. Counted is CPU time. Afterwards the folder is read as ``wsl run --status`` and a new start
read it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from wsl.config import build_config
from wsl.data.categories import Categories
from wsl.data.sample import Dataset, Sample
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Localization, Prediction
from wsl.models import Preprocessing, load_classifier
from wsl.run.engine import LocalEngine
from wsl.run.folder import RunFolder, RunInfo
from wsl.run.progress import NoProgress
from wsl.run.records import prediction_rows
from wsl.run.stages import Decoded, Finished, Stages
from wsl.run.status import read_status


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=5000)
    parser.add_argument("--chunk-size", type=int, default=256)
    parser.add_argument("--work", type=float, required=True, help="CPU seconds of an image's work.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    images = arguments.chunks * arguments.chunk_size
    config = build_config(
        {"run": {"chunk_size": arguments.chunk_size, "workers": 2}, "data": {"root": "none"}}
    )
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))
    classifier = load_classifier(
        module, preprocessing=Preprocessing(8, (8, 8)), categories=Categories(("a",))
    )
    stages = NoWork(Localizer(classifier), classes=config.classes, options=config.run, max_pixels=1)
    stages.prepare()
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        dataset = NoImages(images)
        info = RunInfo(
            config=config.model_dump(mode="json"),
            dataset={"name": "none", "count": images, "fingerprint": "0"},
            categories={"names": ["a"], "ids": None},
            model={"name": "none", "fingerprint": "0", "device": "cpu"},
            versions={},
        )
        folder.begin(info)
        engine = LocalEngine(stages, dataset, folder, progress=NoProgress())
        begin = time.process_time()
        engine.run(range(arguments.chunks))
        cost = time.process_time() - begin
        result = {
            "cpu_seconds": round(cost, 1),
            "cpu_ms_per_image": round(1000 * cost / images, 3),
            "share_of_the_work": round(cost / (arguments.work * images), 5),
            "bytes": sum(path.stat().st_size for path in folder.parts()),
            **reading(folder, arguments.chunks, arguments.chunk_size),
        }
    print(json.dumps(result, indent=1))
    if arguments.out:
        content = {
            "command": (
                f"python eval/dry_run.py --chunks {arguments.chunks} "
                f"--chunk-size {arguments.chunk_size} --work {arguments.work:g} "
                f"--out {arguments.out}"
            ),
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            "versions": {p: importlib.metadata.version(p) for p in ("pyarrow", "wsl-localize")},
            "result": result,
        }
        arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def reading(folder: RunFolder, chunks: int, size: int) -> dict[str, float]:
    """Seconds, by the clock and of the CPU, of what looks at the whole folder."""
    found = {}
    for name, look in (
        ("run.json", folder.read_info),
        ("missing", lambda: folder.missing_chunks(chunks)),
        ("status", lambda: read_status(folder.path)),
        (
            "check",
            lambda: list(folder.damaged_chunks(dict.fromkeys(range(chunks), size), maps=False)),
        ),
    ):
        clock, cpu = time.perf_counter(), time.process_time()
        look()
        found[f"{name}_seconds"] = round(time.perf_counter() - clock, 3)
        found[f"{name}_cpu_seconds"] = round(time.process_time() - cpu, 3)
    return found


if __name__ == "__main__":
    main()
