r"""Train a small segmentation network on pseudo-labels of photographs, and one on exact masks.

    python -m eval.figures.photo_segmentation --data VOC --checkpoint mobilenet_v2.safetensors \
        --labels recipe=EXPORT --labels CAM=EXPORT

`VOC` is a dataset in Pascal VOC's layout with one class per image; an EXPORT is what ``wsl export
--format segmentation`` wrote of a run on it, with the same classes. The photographs are cut into
five parts; for each part a decoder is trained on the labels of the other four and predicts this
one, and all predictions are scored on the exact masks: mIoU by the segmentation convention, 255
ignored, with the interval of a bootstrap over images. Labels of the exact masks and of each export
go through the same training.

The encoder is a frozen mobilenet_v2 trained on image-level labels; only the decoder, 1 x 1 and 3 x
3 convolutions over four of its grids, learns from the labels. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from eval.provenance import stamp
from wsl.models.checkpoint import load_state_dict, read_state_dict
from wsl.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

RESULTS = Path(__file__).parents[1] / "results" / "photo_segmentation.json"
SIDE = 224
GRID = 56
FOLDS = 5
IGNORED = 255
_LEVELS = (3, 6, 13, 18)  # the last layers of mobilenet_v2's grids of 56, 28, 14 and 7
_CHANNELS = (24, 32, 96, 1280)

Labels = NDArray[np.uint8]


class Decoder(nn.Module):
    """From the encoder's grids to class scores at the finest one."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(nn.Conv2d(channels, 32, 1) for channels in _CHANNELS)
        self.mix = nn.Sequential(
            nn.Conv2d(32 * len(_CHANNELS), 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1, groups=64),
            nn.Conv2d(64, 64, 1),
            nn.ReLU(),
            nn.Dropout2d(0.1),
        )
        self.head = nn.Conv2d(64, classes, 1)

    def forward(self, grids: Sequence[Tensor]) -> Tensor:
        """Grids (N, c, h, w) to scores (N, classes, 56, 56)."""
        size = (GRID, GRID)
        same = [
            F.interpolate(layer(grid), size=size, mode="bilinear", align_corners=False)
            for layer, grid in zip(self.narrow, grids, strict=True)
        ]
        return self.head(self.mix(torch.cat(same, dim=1)))


def encode(images: Sequence[Path], checkpoint: Path) -> list[Tensor]:
    """Compute the encoder's grids of photographs squeezed to 224 x 224, one tensor per level."""
    network = mobilenet_v2(weights=None)
    load_state_dict(network, read_state_dict(checkpoint), source=checkpoint)
    network.eval()
    mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    grids: list[list[Tensor]] = [[] for _ in _LEVELS]
    for path in images:
        pixels = np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE)))
        features = (torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255 - mean) / std
        features = features[None]
        with torch.no_grad():
            for number, layer in enumerate(network.features):
                features = layer(features)
                if number in _LEVELS:
                    grids[_LEVELS.index(number)].append(features)
    return [torch.cat(each) for each in grids]


def train(grids: Sequence[Tensor], labels: Tensor, classes: int, *, epochs: int = 25) -> Decoder:
    """Train a decoder on grids and labels (N, 56, 56); the same labels give the same decoder."""
    torch.manual_seed(0)
    decoder = Decoder(classes)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=4e-3, total_steps=epochs * -(-len(labels) // 16)
    )
    decoder.train()
    for _ in range(epochs):
        for part in torch.randperm(len(labels)).split(16):
            scores = decoder([grid[part] for grid in grids])
            loss = F.cross_entropy(scores, labels[part], ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return decoder.eval()


def confusions(
    grids: Sequence[Tensor], labels: Sequence[Labels], exact: Sequence[Labels], classes: int
) -> NDArray[np.int64]:
    """Cross-validate: confusion of each held-out photograph at its own size, (N, C, C)."""
    small = torch.stack([torch.from_numpy(_resized(each, (GRID, GRID))) for each in labels]).long()
    found = np.zeros((len(exact), classes, classes), dtype=np.int64)
    for fold in range(FOLDS):
        held_out = torch.arange(len(exact)) % FOLDS == fold
        decoder = train([grid[~held_out] for grid in grids], small[~held_out], classes)
        for index in held_out.nonzero().flatten().tolist():
            true = exact[index]
            with torch.no_grad():
                scores = decoder([grid[index : index + 1] for grid in grids])
            full = F.interpolate(scores, size=true.shape, mode="bilinear", align_corners=False)
            found[index] = confusion(full[0].argmax(dim=0).numpy(), true, classes)
    return found


def confusion(predicted: NDArray[Any], true: Labels, classes: int) -> NDArray[np.int64]:
    """Count pixels by true and predicted class, without the ignored ones: (C, C)."""
    counted = true != IGNORED
    pairs = true[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean IoU over the classes that occur, of a confusion matrix (C, C)."""
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    there = union > 0
    return float((np.diag(matrix)[there] / union[there]).mean())


def interval(found: NDArray[np.int64], *, draws: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap over photographs of the mIoU of confusions (N, C, C)."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), size=draws)
    drawn = [mean_iou(np.tensordot(weight, found, axes=1)) for weight in weights]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def read_exact(root: Path, names: Sequence[str]) -> list[Labels]:
    """Read the exact label images."""
    folder = root / "SegmentationClass"
    return [np.asarray(Image.open(folder / f"{name}.png")) for name in names]


def read_export(folder: Path, names: Sequence[str], values: Mapping[str, int]) -> list[Labels]:
    """Read the label images of an export in the values of the exact masks.

    A photograph without a label image has nothing to learn from: all its pixels are ignored.
    """
    table = pd.read_csv(folder / "classes.csv")
    lookup = np.full(256, IGNORED, dtype=np.uint8)
    lookup[0] = 0
    for value, category in zip(table["value"], table["category"], strict=True):
        if str(category) in values:
            lookup[int(value)] = values[str(category)]
    found = []
    for name in names:
        path = folder / "labels" / f"{name}.png"
        labels = np.asarray(Image.open(path)) if path.exists() else np.full((8, 8), IGNORED)
        found.append(lookup[labels])
    return found


def _resized(labels: Labels, size: tuple[int, int]) -> Labels:
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def main() -> None:
    """Train, score, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset in VOC's layout")
    parser.add_argument("--split", default="val", help="list in ImageSets/Segmentation")
    parser.add_argument("--checkpoint", type=Path, required=True, help="mobilenet_v2's weights")
    parser.add_argument(
        "--labels", action="append", default=[], metavar="NAME=EXPORT", help="pseudo-labels"
    )
    parser.add_argument("--classes", nargs="+", default=["cat", "cow", "dog", "horse", "sheep"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    listed = arguments.data / "ImageSets" / "Segmentation" / f"{arguments.split}.txt"
    names = listed.read_text().split()
    exact = read_exact(arguments.data, names)
    used = sorted({int(value) for each in exact for value in np.unique(each)} - {0, IGNORED})
    compact = {value: number for number, value in enumerate(used, start=1)}
    exact = [_renumbered(each, compact) for each in exact]
    values = {name: number for number, name in enumerate(sorted(arguments.classes), start=1)}
    classes = len(used) + 1
    grids = encode(
        [arguments.data / "JPEGImages" / f"{n}.jpg" for n in names], arguments.checkpoint
    )

    sets = {"exact masks": exact}
    for given in arguments.labels:
        name, _, folder = given.partition("=")
        sets[name] = read_export(Path(folder), names, values)
    rows = []
    for name, labels in sets.items():
        found = confusions(grids, labels, exact, classes)
        own = np.stack(
            [
                confusion(np.where(mine == IGNORED, 0, mine), true, classes)
                if mine.shape == true.shape
                else np.zeros((classes, classes), np.int64)
                for mine, true in zip(labels, exact, strict=True)
            ]
        )
        low, high = interval(found)
        rows.append(
            {
                "labels": name,
                "miou": mean_iou(found.sum(axis=0)),
                "low": low,
                "high": high,
                "miou_of_the_labels": mean_iou(own.sum(axis=0)),
            }
        )
        print(f"{name}: {100 * rows[-1]['miou']:.1f} ({100 * low:.1f} to {100 * high:.1f})")
    best = rows[0]["miou"]
    for row in rows:
        row["share_of_exact"] = row["miou"] / best
    content = {
        **stamp("eval.figures.photo_segmentation", "torch", "torchvision", "numpy"),
        "images": len(names),
        "folds": FOLDS,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


def _renumbered(labels: Labels, compact: Mapping[int, int]) -> Labels:
    lookup = np.full(256, IGNORED, dtype=np.uint8)
    lookup[0] = 0
    for value, number in compact.items():
        lookup[value] = number
    return lookup[labels]


if __name__ == "__main__":
    main()
