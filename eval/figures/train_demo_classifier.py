"""Train the classifier that comes with the demo, from image-level labels alone.

    python -m eval.figures.train_demo_classifier --out wsl/demo/classifier.safetensors

draws the training pictures (of another seed than the demo's), trains on the CPU, measures the
stored weights on pictures of a third seed, and writes what came out to
``eval/results/demo_classifier.json``. Boxes and masks are thrown away as soon as a picture is
drawn. On one machine two runs give the same weights, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from eval.provenance import stamp
from wsl.demo.network import INPUT_SIZE, MEAN, STD, build_network
from wsl.demo.scene import CATEGORIES, DEMO_COMPOSITION, DEMO_SEED, Composition, draw_image
from wsl.score.estimates import proportion_estimate

RESULTS = Path(__file__).parents[1] / "results" / "demo_classifier.json"


@dataclass(frozen=True)
class Plan:
    """What is drawn, and how it is learnt."""

    easy_seed: int = 20130
    train_seed: int = 20131
    held_out_seed: int = 20132
    torch_seed: int = 0
    easy_images: int = 4000
    images: int = 8000
    held_out: int = 2000
    # (pictures, input side, epochs): large objects alone, and small inputs, teach most of it in a
    # fraction of the time.
    stages: tuple[tuple[str, int, int], ...] = (
        ("easy", 64, 8),
        ("demo", 96, 5),
        ("demo", INPUT_SIZE, 2),
    )
    batch: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 0.02
    # One thread: sums are then added in one order, however many cores there are.
    threads: int = 1
    workers: int = 2  # that draw


EASY = Composition(sides=(128, 128), shares=(0.45, 0.9), clutter=1, counts=(1.0,), cut=0.05)
Drawn = tuple[NDArray[np.uint8], NDArray[np.int64]]


def draw_inputs(
    count: int, *, seed: int, workers: int, composition: Composition = DEMO_COMPOSITION
) -> Drawn:
    """Draw pictures and squeeze them to the input: (N, 3, 128, 128) RGB, and labels (N,)."""
    draw = partial(_draw_input, seed=seed, composition=composition)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        drawn = list(pool.map(draw, range(count), chunksize=50))
    images, labels = zip(*drawn, strict=True)
    return np.stack(images), np.array(labels)


def _draw_input(
    index: int, *, seed: int, composition: Composition
) -> tuple[NDArray[np.uint8], int]:
    cv2.setNumThreads(1)  # one worker is one core
    drawn = draw_image(index, seed=seed, composition=composition)
    squeezed = Image.fromarray(drawn.image).resize(
        (INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR
    )
    return np.asarray(squeezed).transpose(2, 0, 1), drawn.label


def train(drawn: dict[str, Drawn], plan: Plan) -> nn.Module:
    """Train from scratch with AdamW and one cycle of the learning rate.

    `drawn` holds the pictures and labels that the plan's stages name.
    """
    torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(plan.torch_seed)
    generator = torch.Generator().manual_seed(plan.torch_seed)
    network = build_network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=plan.weight_decay)
    steps = sum(epochs * (len(drawn[name][1]) // plan.batch) for name, _, epochs in plan.stages)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=steps, pct_start=0.2
    )
    for name, side, epochs in plan.stages:
        for epoch in range(epochs):
            started, seen, right, total = time.perf_counter(), 0, 0, 0.0
            for images, labels in _batches(drawn[name], plan.batch, generator):
                scores = network(_varied(images, side, generator))
                loss = F.cross_entropy(scores, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                cycle.step()
                seen += len(labels)
                right += int((scores.argmax(1) == labels).sum())
                total += float(loss.detach()) * len(labels)
            print(
                f"{name} at {side:3d}, epoch {epoch + 1}/{epochs}: loss {total / seen:.3f}, "
                f"top-1 {right / seen:.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )
    return network.eval()


def _batches(
    drawn: Drawn, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = (torch.from_numpy(array) for array in drawn)
    order = torch.randperm(len(labels), generator=generator)
    for start in range(0, len(labels) - size + 1, size):
        picked = order[start : start + size]
        yield images[picked], labels[picked]


def _varied(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Reflect, zoom, stretch, shift and recolor each picture a little, and resize it."""
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1] = mirror * uniform(0.85, 1.1), uniform(0.85, 1.1)
    matrix[:, 0, 1], matrix[:, 1, 0] = uniform(-0.1, 0.1), uniform(-0.1, 0.1)
    matrix[:, :, 2] = uniform(-0.1, 0.1, 2)
    pixels = images.to(torch.float32) / 255
    if side < INPUT_SIZE:
        # Shrunk with averaging first: the sampling below does none.
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    grid = F.affine_grid(matrix, [count, 3, side, side], align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    shuffled = pixels[:, torch.randperm(3, generator=generator)]
    keep = (uniform(0, 1) < 0.7)[:, None, None, None]
    pixels = torch.where(keep, pixels, shuffled)
    gain, bias = uniform(0.8, 1.2, 3, 1, 1), uniform(-0.08, 0.08, 1, 1, 1)
    return normalized(pixels * gain + bias).contiguous(memory_format=torch.channels_last)


def normalized(pixels: Tensor) -> Tensor:
    """RGB in [0, 1], (N, 3, h, w), to the network's input."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def stored(network: nn.Module) -> bytes:
    """Weights in half precision; counters of the batch norms, which are integers, as they are."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    return save(state, metadata={"classes": " ".join(CATEGORIES.names)})


@torch.inference_mode()
def ranks(
    weights: bytes, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rank of the true class, from 0, of each picture under stored weights."""
    network = build_network()
    network.load_state_dict(load(weights))
    network.eval()
    found = []
    for start in range(0, len(images), 100):
        pixels = torch.from_numpy(images[start : start + 100]).to(torch.float32) / 255
        inputs = normalized(pixels).contiguous(memory_format=torch.channels_last)
        scores = network(inputs).numpy()
        own = scores[np.arange(len(scores)), labels[start : start + 100]]
        found.append((scores > own[:, None]).sum(axis=1))
    return np.concatenate(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the weights go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args(arguments)
    plan = Plan()
    if len({DEMO_SEED, plan.easy_seed, plan.train_seed, plan.held_out_seed}) < 4:
        raise SystemExit(
            "the seeds of the demo, of training and of the held-out pictures must differ"
        )
    started = time.perf_counter()
    draw = partial(draw_inputs, workers=plan.workers)
    drawn = {
        "easy": draw(plan.easy_images, seed=plan.easy_seed, composition=EASY),
        "demo": draw(plan.images, seed=plan.train_seed),
    }
    print(f"drew the pictures in {time.perf_counter() - started:.0f} s", flush=True)
    weights = stored(train(drawn, plan))
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds()
    options.out.write_bytes(weights)
    images, labels = draw(plan.held_out, seed=plan.held_out_seed)
    found = ranks(weights, images, labels)
    report = {
        "what": "bundled demo classifier on held-out drawn pictures, whole picture squeezed",
        "top1": proportion_estimate("top1", found < 1).to_json(),
        "top5": proportion_estimate("top5", found < 5).to_json(),
        "top1_per_class": {
            name: float((found[labels == number] < 1).mean())
            for number, name in enumerate(CATEGORIES.names)
        },
        "weights": {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()},
        "plan": asdict(plan),
        "demo_seed": DEMO_SEED,
        "wall_seconds": round(seconds),
        "cpu_seconds": round(cpu_seconds),
        **stamp(
            "eval.figures.train_demo_classifier",
            *("torch", "numpy", "pillow", "safetensors", "opencv-python"),
        ),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def _cpu_seconds() -> float:
    """Processor time of this process and of those that drew."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
