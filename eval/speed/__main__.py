r"""Measure how fast wsl is: ratios to captum, to the naive chain, and to what the machine allows.

    python -m eval.speed --ilsvrc ILSVRC --photos FOLDER --weights FOLDER

Parts (``--parts``; all by default):

saliency     top-5 maps of one batch, beside captum's ``Saliency`` called per class, beside a loop
             that runs the network anew for each class, and beside the floor of 1 + 5 forward passes
accelerator  images per second of the same stage on a GPU in float32 and bfloat16, beside forward
             passes alone; nothing where there is no GPU
grabcut      working sizes: time, mask IoU with GrabCut at the image's own
             size, and GT-known localization with the paired difference to the images' own size
end_to_end   photographs through ``wsl run``, beside the naive chain: captum per class and
             ``cv2.grabCut`` at the image's own size, 5 rounds, one image after another
workers      the refinement of the same images with 1 and with 2 threads
memory       peak memory of runs over a list of images and over the same list many times as long
cold_start   processor seconds of ``import wsl`` and ``wsl --help``

What is compared runs in one process and in turns, repetition by repetition, so that a machine's
moods hit both sides; figures are medians over the repetitions, ratios medians of the repetitions'
ratios. Each time is given on the clock (``wall``) and in processor seconds of all threads
(``cpu``). On a machine that is shared the clock means little: there the ratios of processor seconds
are the ones to read, and the load before each part is written beside it.

``--quick`` takes fewer images and repetitions (about two minutes on two free cores, instead of
forty). Results go to ``eval/results/speed.json``, part by part: parts that are not run keep
theirs.
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
from eval.speed.refinement import grabcut, workers
from eval.speed.runs import cold_start, end_to_end, memory, memory_probe
from eval.speed.saliency import accelerator, saliency

PACKAGES = ("torch", "torchvision", "opencv-python", "captum")
RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "saliency": saliency,
    "accelerator": accelerator,
    "grabcut": grabcut,
    "end_to_end": end_to_end,
    "workers": workers,
    "memory": memory,
    "cold_start": cold_start,
}


def main() -> None:
    """Run the parts and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ilsvrc", type=Path, help="images with boxes, in the challenge's layout")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--weights", type=Path, help="folder of NETWORK-imagenet1k.safetensors")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--network", default="squeezenet1_0", help="of all parts but saliency")
    parser.add_argument("--smoothing", type=float, default=0.0, help="of the seeds' maps")
    parser.add_argument("--images", type=int, help="images with boxes for grabcut")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory-probe", nargs=2, metavar=("LIST", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.memory_probe:
        print(memory_probe(arguments, *map(Path, arguments.memory_probe)))
        return
    written: dict[str, Any] = {}
    if arguments.results.exists():
        written = json.loads(arguments.results.read_text())
    for name in arguments.parts:
        load, began = os.getloadavg()[0], time.perf_counter()
        print(f"{name} (load {load:.1f})", flush=True)
        found = PARTS[name](arguments)
        about = about_this_run(arguments, load, time.perf_counter() - began)
        written[name] = {**found, "about": about}
        print(json.dumps(found, indent=1), flush=True)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(written, indent=2) + "\n")


def about_this_run(arguments: argparse.Namespace, load: float, seconds: float) -> dict[str, Any]:
    """Everything that a figure depends on."""
    return {
        **stamp("eval.speed", *PACKAGES),
        "machine": f"{platform.machine()}, {arguments.threads} threads",
        "load_before": round(load, 1),
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    main()
