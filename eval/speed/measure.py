"""What the parts of ``eval/speed`` share: clocks, turns, classifiers and photographs."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOP_K = 5
PHOTO_ENDINGS = {".jpg", ".jpeg", ".png"}


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(
    calls: dict[str, Callable[[], Any]], repetitions: int
) -> dict[str, list[tuple[float, float]]]:
    """Time calls in turns, after one turn that warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            taken = timed(call)
            if repetition:
                times[name].append(taken)
    return times


def medians(times: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Median seconds by name and clock."""
    return {
        name: {
            clock: round(statistics.median(taken[index] for taken in each), 4)
            for index, clock in enumerate(("wall", "cpu"))
        }
        for name, each in times.items()
    }


def ratio(times: dict[str, list[tuple[float, float]]], over: str, under: str) -> dict[str, float]:
    """Median over the repetitions of one time divided by another of the same turn."""
    return {
        clock: round(
            statistics.median(
                a[index] / b[index] for a, b in zip(times[over], times[under], strict=True)
            ),
            3,
        )
        for index, clock in enumerate(("wall", "cpu"))
    }


def classifier_of(name: str, arguments: argparse.Namespace) -> Any:
    """Classifier with the weights of the folder; random ones where it has none."""
    import torch

    from wsl import load_classifier

    torch.manual_seed(0)
    if name == "demo":
        return load_classifier(name, device="cpu")
    checkpoint = (arguments.weights or Path()) / f"{name}-imagenet1k.safetensors"
    if not checkpoint.is_file():
        return load_classifier(name, weights=None, device="cpu")
    return load_classifier(name, checkpoint=checkpoint, device="cpu")


def batch_of(arguments: argparse.Namespace, classifier: Any) -> Any:
    """Take the first photographs as inputs; noise where there are none."""
    import torch

    from wsl.data.images import load_image
    from wsl.saliency.views import make_views

    if arguments.photos is None:
        return torch.randn(arguments.batch, 3, 224, 224)
    paths = photographs(arguments)[: arguments.batch]
    views = [make_views(load_image(path), classifier.preprocessing) for path in paths]
    return torch.cat([view.inputs for view in views])


def photographs(arguments: argparse.Namespace) -> list[Path]:
    """Files of the photographs, by name."""
    if arguments.photos is None:
        raise SystemExit("--photos must be given for this part")
    files = sorted(arguments.photos.iterdir())
    return [path for path in files if path.suffix.lower() in PHOTO_ENDINGS]
