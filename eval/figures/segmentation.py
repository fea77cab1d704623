"""Train a small segmentation network on pseudo-labels, and one on exact masks.

    python -m eval.figures.segmentation --work FOLDER

draws training pictures and held-out ones (of seeds of their own), localizes the training pictures'
objects with the demo's classifier from their image-level labels alone, exports the masks as
pseudo-labels (`wsl export --format segmentation`), and trains one small network on them and one
on the exact masks: same pictures, same start, same order. Both are scored on the held-out pictures'
exact masks at the pictures' own sizes. The figures go to ``eval/results/segmentation.json``.

The encoder of both starts as the demo's classifier, which has seen image-level labels only.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from eval.figures.train_demo_classifier import Plan as ClassifierPlan
from eval.figures.train_demo_classifier import normalized
from eval.mean_iou import IGNORED, MeanIoU
from eval.provenance import stamp
from wsl.data.open import open_dataset
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.demo.draw import write_dataset
from wsl.demo.network import demo_module
from wsl.demo.scene import CATEGORIES, DEMO_SEED, draw_image
from wsl.run.config import load_config
from wsl.run.runner import run_dataset
from wsl.score.result import Scores

RESULTS = Path(__file__).parents[1] / "results" / "segmentation.json"
CLASSES = len(CATEGORIES) + 1  # with the background
SIDE = 96
"""Pictures are squeezed to squares of this side, in pixels; the encoder has seen them so, too."""


@dataclass(frozen=True)
class Plan:
    """What is drawn, and how it is learnt."""

    train_seed: int = 20133
    held_out_seed: int = 20134
    torch_seed: int = 0
    images: int = 600
    held_out: int = 200
    epochs: int = 15
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    threads: int = 1


class SmallUNet(nn.Module):
    """The demo's classifier as an encoder, and a decoder of two steps up."""

    def __init__(self) -> None:
        super().__init__()
        blocks = list(demo_module().features.children())
        pools = [at for at, layer in enumerate(blocks) if isinstance(layer, nn.MaxPool2d)]
        self.fine = nn.Sequential(*blocks[: pools[0]])  # 24 channels, 48 x 48
        self.middle = nn.Sequential(*blocks[pools[0] : pools[1]])  # 48 channels, 24 x 24
        self.coarse = nn.Sequential(*blocks[pools[1] :])  # 128 channels, 12 x 12
        self.narrow = nn.Conv2d(128, 32, 1)
        self.up_middle = _block(32 + 48, 32)
        self.up_fine = _block(32 + 24, 24)
        self.head = nn.Conv2d(24, CLASSES, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, 96, 96) to scores (N, classes, 48, 48)."""
        fine = self.fine(pixels)
        middle = self.middle(fine)
        up = self.narrow(self.coarse(middle))
        up = self.up_middle(torch.cat([_twice(up), middle], dim=1))
        return self.head(self.up_fine(torch.cat([_twice(up), fine], dim=1)))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _twice(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


def make_pseudo_labels(work: Path, plan: Plan) -> dict[str, Any]:
    """Draw the training pictures, run on them, and export; each only if it is not there."""
    data, run, export = work / "data", work / "run", work / "pseudo"
    if not (data / "LOC_val_solution.csv").exists():  # written last
        write_dataset(data, count=plan.images, seed=plan.train_seed)
    config = load_config("demo", [f"data.root={data}", "classes.select=ground_truth"])
    run_dataset(config, run)
    command = ["wsl", "export", str(run), "--format", "segmentation", "--out", str(export)]
    command += ["--set", "export.class_list=all"]
    subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:]], check=True)
    localizer = json.loads((run / "run.json").read_text())["config"]
    return {key: localizer[key] for key in ("saliency", "localize")}


def training_pictures(work: Path) -> tuple[list[str], NDArray[np.uint8], NDArray[np.int64]]:
    """Names of the training pictures with pseudo-labels, and the pictures at the input's size."""
    with (work / "pseudo" / "classes.csv").open(newline="") as file:
        named = {row["category"]: int(row["value"]) for row in csv.DictReader(file)}
    if [named[name] for name in CATEGORIES.names] != list(range(1, CLASSES)):
        raise SystemExit(f"the export's classes are not the demo's: {named}")
    names = (work / "pseudo" / "train.txt").read_text().split()
    folder = work / "data" / "Data" / "CLS-LOC" / "val"
    pictures = [squeezed(np.asarray(Image.open(folder / f"{name}.JPEG"))) for name in names]
    drawn = open_dataset(IlsvrcOptions(root=work / "data"), CATEGORIES)
    by_id = {drawn.image_ids[at]: drawn.sample(at).label for at in range(len(drawn))}
    return names, np.stack(pictures), np.array([by_id[name] for name in names])


def squeezed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Squeeze a picture to the input's size: (3, 96, 96)."""
    resized = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def label_image(path: Path) -> NDArray[np.uint8]:
    """Values of a label image, at the input's size."""
    shape = (SIDE, SIDE)
    return np.asarray(Image.open(path).resize(shape, Image.Resampling.NEAREST))


def train(pictures: NDArray[np.uint8], labels: NDArray[np.uint8], plan: Plan) -> nn.Module:
    """Train a network on pictures (N, 3, 96, 96) and their label images (N, 96, 96)."""
    torch.manual_seed(plan.torch_seed)
    generator = torch.Generator().manual_seed(plan.torch_seed)
    network = SmallUNet().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=plan.weight_decay)
    steps = plan.epochs * (len(pictures) // plan.batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=steps)
    for epoch in range(plan.epochs):
        started, total = time.perf_counter(), 0.0
        for picked in _batches(len(pictures), plan.batch, generator):
            pixels, wanted = _varied(pictures[picked], labels[picked], generator)
            scores = _twice(network(pixels))
            loss = F.cross_entropy(scores, wanted, ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            total += float(loss.detach())
        mean = total / (len(pictures) // plan.batch)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{plan.epochs}: loss {mean:.3f}, {seconds:.0f} s", flush=True)
    return network.eval()


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[NDArray[np.int64]]:
    order = torch.randperm(count, generator=generator).numpy()
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def _varied(
    pictures: NDArray[np.uint8], labels: NDArray[np.uint8], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Reflect half of the pictures with their labels, and shift their colors."""
    pixels = torch.from_numpy(pictures).to(torch.float32) / 255
    wanted = torch.from_numpy(labels).to(torch.int64)
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    wanted = torch.where(mirrored[:, None, None], wanted.flip(2), wanted)
    gain = 0.8 + 0.4 * torch.rand(len(pixels), 3, 1, 1, generator=generator)
    return normalized(pixels * gain), wanted


def exact_labels(masks: Sequence[NDArray[np.bool_]], label: int) -> NDArray[np.uint8]:
    """Label image of a drawn picture: 0 is background, the class's number + 1 its objects."""
    return np.where(np.any(masks, axis=0), np.uint8(label + 1), np.uint8(0))


Predict = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def predictor(network: nn.Module) -> Predict:
    """Label image of a picture, at the picture's size."""

    @torch.inference_mode()
    def predict(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = torch.from_numpy(squeezed(picture).copy())[None].to(torch.float32) / 255
        scores = F.interpolate(
            network(normalized(pixels)), picture.shape[:2], mode="bilinear", align_corners=False
        )
        return scores[0].argmax(0).numpy().astype(np.uint8)

    return predict


def score_held_out(predict: Predict, plan: Plan) -> dict[str, Any]:
    """Score label images of the held-out pictures against what was drawn."""
    figures = Figures()
    for index in range(plan.held_out):
        drawn = draw_image(index, seed=plan.held_out_seed)
        true = exact_labels(drawn.masks, drawn.label)
        figures.add(predict(drawn.image), true, name=str(index))
    return figures.result()


class Figures:
    """mIoU over all classes, and IoU of all objects as one foreground."""

    def __init__(self) -> None:
        self.classes, self.foreground = MeanIoU(CLASSES), MeanIoU(2)

    def add(self, predicted: NDArray[np.uint8], true: NDArray[np.uint8], *, name: str) -> None:
        """Add a picture; where `true` is 255, nothing counts."""
        self.classes.add(predicted, true, name=name)
        one = np.where(true == IGNORED, IGNORED, true > 0).astype(np.uint8)
        self.foreground.add((predicted > 0).astype(np.uint8), one, name=name)

    def result(self) -> dict[str, Any]:
        """Figures in percent, with 95 % intervals (bootstrap over images)."""
        by_class = dict(
            zip(("background", *CATEGORIES.names), self.classes.by_class(), strict=True)
        )
        return {
            "miou": _percent(self.classes.scores()),
            "foreground_iou": round(100 * float(self.foreground.by_class()[1]), 2),
            "iou_by_class": {name: round(100 * float(iou), 2) for name, iou in by_class.items()},
        }


def _percent(scores: Scores) -> dict[str, Any]:
    (figure,) = scores.estimates
    low, high = 100 * figure.low, 100 * figure.high
    return {
        "value": round(100 * figure.value, 2),
        "bootstrap95": [round(low, 2), round(high, 2)],
        "n": figure.n,
    }


def score_pseudo_labels(
    pseudo: NDArray[np.uint8], exact: NDArray[np.uint8], names: Sequence[str]
) -> dict[str, Any]:
    """Score the pseudo-labels themselves, where they are certain, at the input's size."""
    figures = Figures()
    for name, found, true in zip(names, pseudo, exact, strict=True):
        known = np.where(found == IGNORED, np.uint8(IGNORED), true)
        figures.add(np.where(found == IGNORED, np.uint8(0), found), known, name=name)
    certain = float((pseudo != IGNORED).mean())
    return {**figures.result(), "certain_pixels": round(100 * certain, 2)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both networks and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args(arguments)
    plan = Plan()
    classifier = ClassifierPlan()
    seen = {classifier.easy_seed, classifier.train_seed, classifier.held_out_seed}
    if len({DEMO_SEED, *seen, plan.train_seed, plan.held_out_seed}) < 6:
        raise SystemExit("all seeds must differ, or a network would be scored on what it has seen")
    torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(True)
    started = time.process_time()
    recipe = make_pseudo_labels(options.work, plan)
    names, pictures, labels = training_pictures(options.work)
    pseudo = np.stack([label_image(options.work / "pseudo/labels" / f"{n}.png") for n in names])
    masks = options.work / "data" / "Masks" / "CLS-LOC" / "val"
    drawn = np.stack([label_image(masks / f"{name}.png") > 0 for name in names])
    exact = np.where(drawn, (labels + 1)[:, None, None], 0).astype(np.uint8)
    figures = {
        which: score_held_out(predictor(train(pictures, taught, plan)), plan)
        for which, taught in (("pseudo_labels", pseudo), ("exact_masks", exact))
    }
    ratio = figures["pseudo_labels"]["miou"]["value"] / figures["exact_masks"]["miou"]["value"]
    report = {
        "what": "a small segmentation network on held-out drawn pictures, trained on pseudo-labels "
        "made from image-level labels alone, beside one trained on the exact masks; in percent",
        "trained_on": figures,
        "share_of_exact_miou": round(ratio, 4),
        "pseudo_labels_themselves": score_pseudo_labels(pseudo, exact, names),
        "training_pictures": len(names),
        "plan": asdict(plan),
        "recipe": recipe,
        "cpu_seconds_of_this_process": round(time.process_time() - started),
        **stamp("eval.figures.segmentation", "torch", "numpy", "pillow", "opencv-python"),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
