"""CPU seconds of each stage of a run, for one image: the rates of `eval/scale.md`.

    python eval/measure_rates.py --out eval/results/rates.json

Drawn images of 500 × 375 pixels as JPEG, the settings of a configuration, one thread. What is
counted is CPU time, so that other work on the machine slows the measurement but does not enter it
(but for shared caches and hardware threads). Weights are random: arithmetic does not depend on
them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from provenance import stamp

from wsl.data.images import load_image
from wsl.data.open import open_dataset
from wsl.data.options import DataOptions
from wsl.run.config import load_config
from wsl.run.engines.local import write_chunk
from wsl.run.folder import RunFolder
from wsl.run.records import check_part, read_counts
from wsl.run.runner import build_localizer
from wsl.run.stages import Decoded, Stages

OVERRIDES = ["model.weights=null", "model.device=cpu", "data.format=files", "classes.select=top_k"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/default.yaml")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = load_config(arguments.config, [*OVERRIDES, *arguments.overrides])
    seconds: dict[str, list[float]] = {}

    def timed(stage: str, work: Callable[[], object]) -> object:
        begin = time.process_time()
        result = work()
        seconds.setdefault(stage, []).append(time.process_time() - begin)
        return result

    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.images):
            draw(Path(folder) / f"{number}.jpg", number)
        localizer = build_localizer(config)
        dataset = open_dataset(
            DataOptions(format="files", root=folder), localizer.classifier.categories
        )
        stages = Stages(localizer, classes=config.classes, options=config.run, max_pixels=10**8)
        finished = []
        for index in range(len(dataset)):
            path = dataset.sample(index).path
            timed("read", lambda path=path: load_image(path))
            image = timed("read and views", lambda index=index: stages.decode(dataset, index))
            if not isinstance(image, Decoded):
                raise RuntimeError(image.error)
            (explained,) = timed("gradients", lambda image=image: stages.explain([image]))
            finished.append(timed("refine", lambda i=image, e=explained: stages.refine(i, e)))
        run = RunFolder(Path(folder) / "run")
        chunk = (finished * 256)[:256]
        timed("write a chunk of 256", lambda: write_chunk(run, 0, chunk, maps=False))
        size = run.part_path(0).stat().st_size
        unique = len({row["image_id"] for image in chunk for row in image.rows})
        timed("check a chunk of 256", lambda: check_part(run.part_path(0), images=unique))
        timed("count a chunk of 256", lambda: read_counts(run.part_path(0)))
    result = {stage: round(statistics.median(found), 5) for stage, found in seconds.items()}
    print(json.dumps(result, indent=1), size)
    if arguments.out:
        command = f"python eval/measure_rates.py --out {arguments.out}"
        content = {
            **stamp(command, ["torch", "opencv-python"]),
            "machine": platform.processor() or platform.machine(),
            "config": arguments.config,
            "overrides": [*OVERRIDES, *arguments.overrides],
            "images": arguments.images,
            "classes": config.classes.top_k,
            "median_cpu_seconds": result,
            "part_bytes_per_image": size // 256,
        }
        arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def draw(path: Path, seed: int) -> None:
    """Draw smooth noise with an ellipse in it: 500 × 375 pixels."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), (500, 375))
    noise = cv2.add(noise, rng.integers(0, 30, (375, 500, 3), dtype=np.uint8))
    center = (int(rng.integers(150, 350)), int(rng.integers(120, 250)))
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    cv2.ellipse(noise, center, (110, 80), 0, 0, 360, color, -1)
    Image.fromarray(noise).save(path, quality=90)


if __name__ == "__main__":
    main()
