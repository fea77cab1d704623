"""Measure what an occlusion experiment costs: the forward passes' share of the time, and memory.

    python -m eval.figures.occlusion_cost IMAGE --network squeezenet1_0 --checkpoint WEIGHTS

slides a mask of 71 x 71 over a photograph at strides 32, 16, 8 and 4 (49 to 3136 positions at 224 x
224), each in a process of its own, and writes what came out to ``eval/results/occlusion.json``. The
forward passes are all that happens between the network's first and last hook; the memory is the
process's highest resident set. Memory that grew with the positions would show: the masked images
of stride 4 alone would be 1.9 GB.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eval.provenance import stamp

RESULTS = Path(__file__).parents[1] / "results" / "occlusion.json"
STRIDES = (32, 16, 8, 4)


def main() -> None:
    """Measure every stride in a fresh process, or one of them in this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--network", default="squeezenet1_0")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--size", type=int, default=71)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stride", type=int, help="measure this one alone and print it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.stride is not None:
        print(json.dumps(measure(arguments)))
        return
    made_with = stamp("eval.figures.occlusion_cost", "torch", "torchvision", "numpy")
    command = [sys.executable, "-m", "eval.figures.occlusion_cost", *sys.argv[1:]]
    rows = [
        json.loads(subprocess.check_output([*command, "--stride", str(stride)], text=True))
        for stride in STRIDES
    ]
    for row in rows:
        print(row)
    written = {
        "what": "occlusion sensitivity of one photograph: cost by the number of positions",
        "network": arguments.network,
        "mask": arguments.size,
        "batch_size": arguments.batch_size,
        "rows": rows,
        "highest_memory_growth": rows[-1]["peak_mib"] / rows[0]["peak_mib"] - 1,
        **made_with,
        "machine": f"{platform.machine()}, {arguments.threads} thread(s)",
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(written, indent=2) + "\n")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one experiment of the best class and time it."""
    import torch

    from wsl.data.images import load_image
    from wsl.models.sources import load_classifier
    from wsl.saliency.occlusion import Occlusion, occlude
    from wsl.saliency.views import make_views

    torch.set_num_threads(arguments.threads)
    classifier = load_classifier(arguments.network, checkpoint=arguments.checkpoint, device="cpu")
    image = make_views(load_image(arguments.image), classifier.preprocessing).inputs[0]
    with torch.no_grad():
        class_ = int(classifier.scores(image.expand(arguments.batch_size, -1, -1, -1))[0].argmax())
    forward = 0.0
    begun = 0.0

    def begin(*_: Any) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def end(*_: Any) -> None:
        nonlocal forward
        forward += time.perf_counter() - begun

    classifier.module.register_forward_pre_hook(begin)
    classifier.module.register_forward_hook(end)
    started = time.perf_counter()
    found = occlude(
        classifier,
        image,
        [class_],
        Occlusion(size=arguments.size, stride=arguments.stride, batch_size=arguments.batch_size),
    )
    seconds = time.perf_counter() - started
    return {
        "stride": arguments.stride,
        "positions": len(found.grid),
        "seconds": round(seconds, 2),
        "forward_share": round(forward / seconds, 4),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
