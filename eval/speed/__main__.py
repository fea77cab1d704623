r"""Measure how fast wsl is, and what memory it takes.

    python -m eval.speed --voc VOC --weights FOLDER

Parts (``--parts``; all by default):

recipes      the recipes ``default``, ``fast`` and ``masks`` on photographs with all networks, stage
             by stage, beside the naive chain (captum per class, ``cv2.grabCut`` at the image's own
             size) and the floor (decoding, forward passes, a backward pass per class, GrabCut on
             the recipe's own seeds at its working size), with the accuracy of what was timed
memory       peak memory of runs, and of runs over images of 12 megapixels
together     two commands at once beside one alone
growth       run, report and export of the demo's images by their number (``--counts``)
accelerator  images per second of the maps on a GPU; nothing where there is no GPU
cold_start   processor seconds of ``import wsl`` and ``wsl --help``

Ratios compare what was measured in turns, image by image. Seconds of ``recipes`` are processor
seconds of one thread, which other work on the machine changes little; the load before each part is
written beside it. Results go to ``eval/results/speed.json``, part by part: parts that are not run
keep theirs; ``speed.md`` holds the tables made of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.provenance import stamp
from eval.speed.accelerator import accelerator
from eval.speed.recipes import recipes
from eval.speed.runs import cold_start, growth, memory, together
from eval.speed.table import markdown

RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "recipes": recipes,
    "memory": memory,
    "together": together,
    "growth": growth,
    "accelerator": accelerator,
    "cold_start": cold_start,
}


def main() -> None:
    """Run the parts and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc", type=Path, help="Pascal VOC, with masks")
    parser.add_argument("--weights", type=Path, help="folder of NETWORK-imagenet1k.safetensors")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--images", type=int, default=16, help="photographs")
    parser.add_argument("--classes", type=int, default=1, help="of an image, in recipes")
    parser.add_argument("--counts", type=int, nargs="+", default=[650, 6500], help="of growth")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    written: dict[str, Any] = {}
    if arguments.results.exists():
        written = json.loads(arguments.results.read_text())
    for name in arguments.parts:
        load, began = os.getloadavg()[0], time.perf_counter()
        print(f"{name} (load {load:.1f})", flush=True)
        found = PARTS[name](arguments)
        about = {
            **stamp("eval.speed", "torch", "opencv-python", "captum"),
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "load_before": round(load, 1),
            "seconds": round(time.perf_counter() - began),
        }
        written[name] = {**found, "about": about}
        arguments.results.write_text(json.dumps(written, indent=2) + "\n")
    text = markdown(written)
    arguments.results.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
