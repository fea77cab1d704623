"""Whole runs: end to end beside the naive chain, peak memory, cold start."""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.speed.measure import TOP_K, classifier_of, photographs, timed
from eval.speed.refinement import VARIANTS


def end_to_end(arguments: argparse.Namespace) -> dict[str, Any]:
    """Photographs through a run and through the naive chain, in turns by groups of images."""
    import torch

    torch.set_num_threads(arguments.threads)
    paths = photographs(arguments)[:: 16 if arguments.quick else 1]
    classifier = classifier_of(arguments.network, arguments)
    naive_wall, naive_cpu = timed(lambda: naive_chain(classifier, paths))
    per_image = {"naive": {"wall": naive_wall / len(paths), "cpu": naive_cpu / len(paths)}}
    found: dict[str, Any] = {"photographs": len(paths)}
    for name in ("112", "224"):
        info, (wall, cpu) = run_over(arguments, paths, VARIANTS[name])
        per_image[name] = {"wall": wall / len(paths), "cpu": cpu / len(paths)}
        found[name] = {
            "naive_over_wsl": {
                "wall": round(naive_wall / wall, 2),
                "cpu": round(naive_cpu / cpu, 2),
            },
            **efficiency(info),
        }
    found["seconds_per_image"] = {
        name: {clock: round(value, 4) for clock, value in each.items()}
        for name, each in per_image.items()
    }
    return found


def naive_chain(classifier: Any, paths: Sequence[Path]) -> None:
    """Captum per class and GrabCut at the image's own size, one image after another."""
    import cv2
    import numpy as np
    import torch
    from captum.attr import Saliency

    attributor = Saliency(classifier.module)
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        rgb = cv2.cvtColor(cv2.resize(bgr, (224, 224)), cv2.COLOR_BGR2RGB)
        inputs = classifier.preprocessing.normalize(rgb)[None]
        with torch.no_grad():
            best = classifier.module(inputs)[0].topk(TOP_K).indices.tolist()
        for label in best:
            found = attributor.attribute(inputs, target=label)[0].amax(dim=0).numpy()
            large = cv2.resize(found, (bgr.shape[1], bgr.shape[0]))
            low, high = np.quantile(large, [0.30, 0.95])
            labels = np.full(large.shape, cv2.GC_PR_BGD, np.uint8)
            labels[large <= low], labels[large >= high] = cv2.GC_BGD, cv2.GC_FGD
            background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
            no_box = (0, 0, 0, 0)
            cv2.grabCut(bgr, labels, no_box, background, foreground, 5, cv2.GC_INIT_WITH_MASK)
            mask = (labels & 1).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            if count > 1:
                stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()].tolist()


def run_over(
    arguments: argparse.Namespace,
    paths: Sequence[Path],
    options: dict[str, Any],
    workers: int | None = None,
) -> tuple[Any, tuple[float, float]]:
    """Run the command's own way over some images; return the run's record and its times."""
    from wsl.run.runner import run_dataset

    classifier = classifier_of(arguments.network, arguments)
    with tempfile.TemporaryDirectory() as scratch:
        config = config_of(arguments, Path(scratch), paths, options, workers)
        summaries: list[Any] = []
        times = timed(
            lambda: summaries.append(
                run_dataset(config, Path(scratch) / "run", classifier=classifier)
            )
        )
    return summaries[0].info, times


def config_of(
    arguments: argparse.Namespace,
    scratch: Path,
    paths: Sequence[Path],
    options: dict[str, Any],
    workers: int | None,
) -> Any:
    """Configure a run over a folder of links to images."""
    from wsl.run.config import RunConfig

    folder = scratch / "images"
    folder.mkdir()
    for number, path in enumerate(paths):
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    return RunConfig.model_validate(
        {
            "data": {"format": "files", "root": folder},
            "localize": {"seeds": {"smoothing": arguments.smoothing}, **options},
            "classes": {"select": "top_k", "top_k": TOP_K},
            "run": {"batch_size": arguments.batch, "workers": workers},
        }
    )


def efficiency(info: Any) -> dict[str, Any]:
    """Slowest stage's busy time, per thread it has, over the wall's."""
    from wsl.run.pool import worker_count

    timings, threads = dict(info.timings), worker_count(None)
    share = {"decode": threads, "refine": threads}
    busy = {
        stage: timings[stage] / share.get(stage, 1)
        for stage in ("decode", "saliency", "refine", "write")
    }
    slowest = max(busy, key=lambda stage: busy[stage])
    return {
        "efficiency": round(busy[slowest] / timings["wall"], 3),
        "slowest": slowest,
        "timings": {name: round(float(seconds), 2) for name, seconds in timings.items()},
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a run, each in a process of its own, by the length of the dataset.

    GrabCut is left out: it works on one image at a time, and would take hours.
    """
    paths = photographs(arguments)
    if arguments.ilsvrc is not None:
        paths = sorted((arguments.ilsvrc / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))
    lengths = (60, 300) if arguments.quick else (len(paths), 10 * len(paths))
    peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        for length in lengths:
            listed = Path(scratch) / f"{length}.txt"
            listed.write_text("\n".join(str(paths[i % len(paths)]) for i in range(length)))
            command = [
                sys.executable,
                "-m",
                "eval.speed",
                *sys.argv[1:],
                "--memory-probe",
                str(listed),
                scratch,
            ]
            peaks[length] = float(subprocess.check_output(command, text=True).split()[-1])
    return {
        "growth": round(peaks[lengths[1]] / peaks[lengths[0]], 3),
        "peak_mib_by_images": {str(length): round(peak) for length, peak in peaks.items()},
    }


def memory_probe(arguments: argparse.Namespace, listed: Path, out: Path) -> float:
    """Peak MiB of this process after a run of top-1 maps without GrabCut."""
    from wsl.run.runner import run_dataset

    paths = [Path(line) for line in listed.read_text().splitlines()]
    scratch = out / f"run-{listed.stem}"
    scratch.mkdir()
    options = {"refine": {"method": "none"}, "working_size": 112}
    config = config_of(arguments, scratch, paths, options, None)
    config = config.model_copy(update={"classes": config.classes.model_copy(update={"top_k": 1})})
    run_dataset(config, scratch / "run", classifier=classifier_of("demo", arguments))
    shutil.rmtree(scratch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cold_start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of processes that do next to nothing."""
    commands = {
        "python": ["-c", "pass"],
        "import wsl": ["-c", "import wsl"],
        "wsl --help": [
            "-c",
            "import sys; sys.argv = ['wsl', '--help']; import wsl.cli as c; c.main()",
        ],
        "import torch": ["-c", "import torch"],
    }
    found = {}
    for name, command in commands.items():
        if name == "import torch" and arguments.quick:
            continue
        found[name] = round(min(child_seconds(command) for _ in range(3)), 3)
    return {"cpu_seconds": found}


def child_seconds(command: list[str]) -> float:
    """Processor seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
