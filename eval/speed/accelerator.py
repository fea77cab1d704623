"""The recipes' saliency on a GPU."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from eval.speed.measure import photographs
from wsl import Localizer, load_classifier
from wsl.data.images import load_image

CLASSES = 5


def accelerator(arguments: argparse.Namespace) -> dict[str, Any]:
    """Images per second of the top-5 maps, and of the passes they need, by recipe and precision."""
    if not torch.cuda.is_available():
        return {"skipped": "there is no CUDA device"}
    found: dict[str, Any] = {"device": torch.cuda.get_device_name()}
    for precision in ("float32", "bfloat16"):
        network = load_classifier("resnet50", weights=None, device="cuda", precision=precision)
        for recipe in ("default", "fast"):
            found[f"resnet50, {recipe}, {precision}"] = rate(Localizer(network, recipe), arguments)
    return found


def rate(localizer: Localizer, arguments: argparse.Namespace) -> float:
    """Images per second of a batch of 32."""
    files = photographs(arguments)
    views = [localizer.views(load_image(files[at % len(files)])) for at in range(32)]
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        localizer.explain(views, [()] * len(views), first=CLASSES)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return round(len(views) / statistics.median(seconds[1:]), 1)
