"""Whole commands, each in a process of its own: memory, growth, two at once, cold start."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eval.speed.measure import WSL, busy_seconds, checkpoint_of, photographs, spent
from wsl.cli.tour import DemoPlan

RUN_NETWORKS = ("mobilenet_v2", "squeezenet1_0")


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak MB of runs of photographs and of images of 12 megapixels, the first class of each."""
    found: dict[str, Any] = {"images": arguments.images, "large_images": 8}
    with tempfile.TemporaryDirectory() as scratch:
        photos = links(Path(scratch) / "photos", photographs(arguments)[: arguments.images])
        large = large_images(Path(scratch) / "large", photographs(arguments)[0], 8)
        for network in RUN_NETWORKS:
            for recipe in ("default", "masks"):
                out = Path(scratch) / f"{network}-{recipe}"
                command = run_command(network, arguments, photos, out, "--recipe", recipe)
                (taken,) = spent(command)
                found[f"{network}, {recipe}"] = taken.peak
            out = Path(scratch) / f"{network}-large"
            (taken,) = spent(run_command(network, arguments, large, out))
            found[f"{network}, default, 12 megapixels"] = taken.peak
    return found


def together(arguments: argparse.Namespace) -> dict[str, Any]:
    """Two commands at once beside one alone, in turns."""
    found: dict[str, Any] = {"images": arguments.images}
    with tempfile.TemporaryDirectory() as scratch:
        photos = links(Path(scratch) / "photos", photographs(arguments)[: arguments.images])
        picture = photographs(arguments)[0]

        def run(number: int) -> list[str | Path]:
            return run_command(RUN_NETWORKS[0], arguments, photos, Path(scratch) / f"run-{number}")

        def draw(number: int) -> list[str | Path]:
            chosen = model_of(RUN_NETWORKS[0], arguments)
            return [*WSL, "show", picture, *chosen, "--out", Path(scratch) / f"show-{number}"]

        for name, command in (("run", run), ("show", draw)):
            (alone,) = spent(command(0))
            both = spent(command(1), command(2))
            (again,) = spent(command(3))
            one = (alone.wall + again.wall) / 2
            found[name] = {
                "one": round(one, 2),
                "two": max(each.wall for each in both),
                "two_over_one": round(max(each.wall for each in both) / one, 2),
                "cpu_two_over_one": round(
                    sum(each.cpu for each in both) / (alone.cpu + again.cpu), 2
                ),
            }
    return found


def growth(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the demo's images many times over, then score, report and export, by their number."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        plan = DemoPlan(Path(scratch) / "demo", count=65, seed=0)
        plan.draw()
        for count in arguments.counts:
            found[str(count)] = grown(Path(scratch), plan.data, count)
    return found


def grown(scratch: Path, demo: Path, count: int) -> dict[str, Any]:
    """Seconds, processor seconds and peak MB of each command on so many images."""
    data = repeated(demo, scratch / f"data-{count}", count)
    run = scratch / f"run-{count}"
    commands: dict[str, list[str | Path]] = {
        "run": [*WSL, "run", "demo", "--set", f"data.root={data}", "--out", run],
        "score": [*WSL, "score", run],
        "report": [*WSL, "report", run],
        "export coco": [*WSL, "export", run, "--format", "coco", "--out", f"{run}-coco"],
    }  # fmt: skip
    found = {}
    for name, command in commands.items():
        (taken,) = spent(command)
        found[name] = {"wall": taken.wall, "cpu": taken.cpu, "peak": taken.peak}
    return found


def repeated(data: Path, to: Path, count: int) -> Path:
    """Make a dataset in ILSVRC's layout of links to the images of another, many times over."""
    head, *rows = (data / "LOC_val_solution.csv").read_text().splitlines()
    named = {row.split(",")[0]: row for row in rows}
    names = {f"{number:08d}": list(named)[number % len(named)] for number in range(count)}
    for folder, ending in (("Data", "JPEG"), ("Annotations", "xml")):
        (to / folder / "CLS-LOC" / "val").mkdir(parents=True)
        for name, old in names.items():
            path = Path(folder) / "CLS-LOC" / "val" / f"{old}.{ending}"
            if (data / path).exists():
                (to / path).with_name(f"{name}.{ending}").symlink_to(data / path)
    listed = [f"{name} {number}" for number, name in enumerate(names, start=1)]
    (to / "ImageSets" / "CLS-LOC").mkdir(parents=True)
    (to / "ImageSets" / "CLS-LOC" / "val.txt").write_text("\n".join(listed) + "\n")
    solution = [head, *(named[old].replace(old, name, 1) for name, old in names.items())]
    (to / "LOC_val_solution.csv").write_text("\n".join(solution) + "\n")
    return to


def cold_start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of processes that do next to nothing."""
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import wsl": [sys.executable, "-c", "import wsl"],
        "wsl --help": [*WSL, "--help"],
        "import torch": [sys.executable, "-c", "import torch"],
    }
    found = {name: min(busy_seconds(each) for _ in range(3)) for name, each in commands.items()}
    return {"cpu_seconds": {name: round(seconds, 3) for name, seconds in found.items()}}


def run_command(
    network: str, arguments: argparse.Namespace, images: Path, out: Path, *more: str
) -> list[str | Path]:
    """Write the command of a run of a folder of images."""
    return [*WSL, "run", images, *model_of(network, arguments), "--out", out, *more]


def model_of(network: str, arguments: argparse.Namespace) -> list[str | Path]:
    return [
        "--model",
        network,
        "--checkpoint",
        checkpoint_of(network, arguments),
        "--device",
        "cpu",
    ]


def links(folder: Path, files: list[Path]) -> Path:
    """Make a folder of links to files."""
    folder.mkdir(parents=True)
    for number, path in enumerate(files):
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    return folder


def large_images(folder: Path, path: Path, count: int) -> Path:
    """Enlarge a photograph to 4000 x 3000 pixels, in several versions."""
    folder.mkdir(parents=True)
    large = cv2.resize(cv2.imread(str(path)), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.jpg"), np.roll(large, 97 * number, axis=1))
    return folder
