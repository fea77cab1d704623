"""Measure exports of many predictions: time, memory and room of each format.

    python -m eval.figures.export_scale --work FOLDER

makes two runs of drawn masks, of few images and of many, without any classifier (masks of several
parts and with holes, stored maps, images as links to a handful of files), and exports both in every
format, each in a process of its own. Memory is the process's peak; it is flat if it hardly grows
from the small run to the large one. Time is given on the clock and of the processor, which is the
one to read on a machine that is shared. Tables go to ``eval/results/export.json`` and
``export.md``; FOLDER takes some gigabytes and can be removed after.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.provenance import stamp
from wsl.data.categories import Categories
from wsl.data.sample import Dataset, Sample
from wsl.export.export import export_run
from wsl.export.formats import FORMATS
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import largest_component, mask_to_box
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.maps import map_key, stored_map, write_maps
from wsl.run.rows import write_part

RESULTS = Path(__file__).parents[1] / "results"
CHUNK = 256
PICTURES = 20
"""Different masks, maps and image files; the runs' images take them in turns."""
CATEGORIES = Categories(
    tuple(f"class {index}" for index in range(200)),
    tuple(f"n{index:08d}" for index in range(200)),
)


class LinkedImages(Dataset):
    """Many images that are a few files."""

    def __init__(self, root: Path, count: int) -> None:
        self.name = "drawn"
        self.root = root
        self.categories = CATEGORIES
        self.image_ids = tuple(image_id(index) for index in range(count))

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Sample at a position."""
        return Sample(self.image_ids[index], self.root / f"{index % PICTURES}.jpg")


def image_id(index: int) -> str:
    return f"image_{index:08d}"


def blob(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Smooth noise in [0, 1]."""
    noise = generator.random(size, dtype=np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), min(size) / 10))
    smooth -= smooth.min()
    return np.asarray(smooth / smooth.max(), dtype=np.float32)


def make_run(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write a run as the engine does."""
    generator = np.random.default_rng(0)
    fields = [blob(generator, size) for _ in range(PICTURES)]
    masks = [field > np.quantile(field, 0.7) for field in fields]
    boxes = [mask_to_box(largest_component(mask)) for mask in masks]
    maps = [stored_map(np.asarray(cv2.resize(field, (28, 28)))) for field in fields]
    run = RunFolder(folder)
    for chunk, start in enumerate(range(0, count, CHUNK)):
        predictions = []
        stored = {}
        for index in range(start, min(start + CHUNK, count)):
            at, label = index % PICTURES, index % len(CATEGORIES)
            found = Localization(
                label=label,
                category=CATEGORIES.names[label],
                rank=1,
                score=0.5,
                box=boxes[at],
                mask=masks[at],
                quality=(index % 100) / 100,
                refined=True,
                in_top_k=True,
                is_ground_truth=True,
            )
            predictions.append(Prediction(image_id(index), size, (found,)))
            stored[map_key(image_id(index), label)] = maps[at]
        write_part(run.part_path(chunk), predictions)
        write_maps(run.maps_path(chunk), stored)
    run.write_info(
        RunInfo(
            config={},
            dataset={"name": "drawn", "count": count, "fingerprint": "0"},
            categories={"names": list(CATEGORIES.names), "ids": list(CATEGORIES.ids or ())},
            model={"name": "none", "fingerprint": "0", "device": "cpu"},
            versions={},
        )
    )


def make_images(folder: Path, size: tuple[int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    for index in range(PICTURES):
        pixels = np.stack([blob(generator, size) for _ in range(3)], axis=2) * 255
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.jpg")


def export_one(work: Path, run: str, form: str) -> None:
    """Export in this process and print what it took."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    options: dict[str, Any] = {}
    if form == "ilsvrc":
        (work / "ids.txt").write_text(
            "".join(f"{wnid} {at}\n" for at, wnid in enumerate(CATEGORIES.ids or (), 1))
        )
        options["ilsvrc_map"] = work / "ids.txt"
    count = int(RunFolder(work / run).read_info().dataset["count"])
    dataset = LinkedImages(work / "images", count)
    started, busy = time.perf_counter(), time.process_time()
    summary = export_run(work / run, out, FORMATS[form](**options), dataset=dataset)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    if summary.images_exported != count or summary.masks != count:
        raise SystemExit(f"{form}: {summary.text()}")
    # VmHWM is the peak of this program alone; ru_maxrss keeps that of the parent.
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("peak memory is read from /proc, which this system does not have")
    files = [path.lstat().st_size for path in out.rglob("*") if not path.is_dir()]
    measured = {
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "peak_mib": round(int(found.group(1)) / 1024, 1),
        "files": len(files),
        "mib": round(sum(files) / 2**20, 1),
    }
    shutil.rmtree(out)
    print(json.dumps(measured))


def measure(work: Path, run: str, form: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "eval.figures.export_scale",
        "--work",
        str(work),
        "--one",
        run,
        form,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def as_markdown(report: Mapping[str, Any]) -> str:
    """Table of the figures."""
    few, many = report["few"], report["many"]
    height, width = report["size"]
    lines = [
        f"# Exports of {many:,} predictions",
        "",
        f"One mask per image of {width} × {height} pixels, of several parts and with holes; images",
        f"as links where the format has images. Peak memory of the whole process, with {few:,}",
        f"images and with {many:,}; time in one thread.",
        "",
        "| format | MiB, few | MiB, many | processor s | clock s | ms each | files | MiB out |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for form, found in report["formats"].items():
        small, large = found["few"], found["many"]
        lines.append(
            f"| {form} | {small['peak_mib']:.0f} | {large['peak_mib']:.0f} "
            f"| {large['processor_seconds']:.1f} | {large['seconds']:.1f} "
            f"| {1000 * large['processor_seconds'] / many:.2f} "
            f"| {large['files']:,} | {large['mib']:.0f} |"
        )
    lines += ["", f"`{report['command']}`, {report['date']}, {report['commit']}", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure every format and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and exports")
    parser.add_argument("--few", type=int, default=2_500)
    parser.add_argument("--many", type=int, default=50_000)
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("H", "W"))
    parser.add_argument("--formats", nargs="+", choices=tuple(FORMATS), default=tuple(FORMATS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        export_one(options.work, *options.one)
        return
    size = (options.size[0], options.size[1])
    counts = {"few": options.few, "many": options.many}
    make_images(options.work / "images", size)
    for name, count in counts.items():
        shutil.rmtree(options.work / name, ignore_errors=True)
        make_run(options.work / name, count, size)
    formats = {}
    for form in options.formats:
        formats[form] = {name: measure(options.work, name, form) for name in counts}
        print(form, json.dumps(formats[form]), flush=True)
    report = {
        "what": "exports of drawn predictions in every format: time, peak memory, room",
        **counts,
        "size": size,
        "formats": formats,
        **stamp("eval.figures.export_scale", "numpy", "pillow", "pyarrow"),
        "machine": platform.machine(),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "export.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.results / "export.md").write_text(as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
