r"""Masks of photographs beside the paper, a class activation map, and masks that see nothing.

    python -m eval.figures.masks --voc VOC --work WORK --set model.architecture=mobilenet_v2 \
        --set model.checkpoint=mobilenet_v2.safetensors \
        --set model.categories=LOC_synset_mapping.txt

VOC is a folder in VOC's layout with masks of one object per photograph, and ``groups.csv``, the
classifier's classes that stand for each of VOC's (`wsl.models.groups`). The class is known. Every
second photograph by name is half A: thresholds of the activation map and the ellipse are chosen
there, as were the recipes' numbers for masks. Half B is the one to read.

Writes ``eval/results/masks-CLASSIFIER.json``, and ``masks.md`` from all such files there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import stamp
from eval.tables import interval, line
from wsl.boxes import centered_box
from wsl.cli.terminal import ProgressBar
from wsl.data.open import open_dataset
from wsl.data.sample import Dataset
from wsl.localize.boundary import resize_mask
from wsl.masks import Mask, largest_component
from wsl.models.classifier import Classifier
from wsl.models.groups import group_classes, read_groups
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.runner import run_dataset
from wsl.score.estimates import difference_estimate, mean_estimate
from wsl.score.image_list import ImageList
from wsl.score.images import ScoredImage, scored_images
from wsl.score.protocols.boundary import BoundaryOptions
from wsl.score.protocols.mask_iou import MaskIoUOptions

RESULTS = Path(__file__).parents[1] / "results"
RECIPES = ("masks", "default", "fast", "simonyan2013")
PAPER = "simonyan2013"
CAM = "Grad-CAM at its best threshold"
ELLIPSE = "ellipse in a centered box"
WHOLE = "whole image"
METRICS = {**MaskIoUOptions().metrics(), **BoundaryOptions().metrics()}
THRESHOLDS = [percent / 100 for percent in range(5, 75, 5)]
SIDES = [percent / 100 for percent in range(50, 105, 5)]

Values = NDArray[np.float64]
"""By image and metric, shape (N, 3)."""
MaskOf = Callable[[ScoredImage], Mask]


def main() -> None:
    """Run what is missing and write the tables."""
    arguments = parse()
    config = configured(PAPER, arguments)
    network = load_classifier(config.model)
    classifier = group_classes(network, read_groups(arguments.voc / "groups.csv"))
    dataset = open_dataset(config.data, classifier.categories)
    found = {
        name: of_run(run(configured(name, arguments), classifier, arguments.work / name), dataset)
        for name in RECIPES
    }
    chosen: dict[str, float] = {}
    cam = configured("plain", arguments, "saliency.method=grad_cam", "run.maps=true")
    maps = run(cam, classifier, arguments.work / "grad_cam")
    found[CAM], chosen[CAM] = best(dataset, cuts(maps))
    found[ELLIPSE], chosen[ELLIPSE] = best(dataset, ellipses())
    found[WHOLE] = judge(true_images(dataset), lambda image: np.ones(image.known_size, bool))
    name = arguments.name or config.model.architecture or config.model.source
    content = {
        **stamp("eval.figures.masks", "torch", "opencv-python", "numpy"),
        "classifier": network.name,
        "photographs": len(dataset),
        "chosen": {name: round(value, 2) for name, value in chosen.items()},
        "rows": {name: as_json(values, found[PAPER]) for name, values in found.items()},
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"masks-{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    files = [json.loads(each.read_text()) for each in sorted(arguments.out.glob("masks-*.json"))]
    (arguments.out / "masks.md").write_text(markdown(files), encoding="utf-8")
    print(markdown([content]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc", type=Path, required=True, help="VOC's layout, with groups.csv.")
    parser.add_argument("--work", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of data, model and run.")  # fmt: skip
    parser.add_argument("--split", default="val", help="List of the photographs.")
    parser.add_argument("--name", help="Of the classifier, for the file's name.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def configured(recipe: str, arguments: argparse.Namespace, *overrides: str) -> RunConfig:
    base = {
        "extends": recipe,
        "data": {"format": "voc", "root": str(arguments.voc), "split": arguments.split},
        "classes": {"select": "ground_truth"},
        "localize": {"quality": False},
    }
    return build_config(base, [*arguments.set, *overrides])


def run(config: RunConfig, classifier: Classifier, out: Path) -> RunFolder:
    with ProgressBar(out.name) as progress:
        return run_dataset(config, out, classifier=classifier, progress=progress).folder


def judge(images: Iterable[ScoredImage], mask_of: MaskOf) -> Values:
    """Score a mask for each image."""
    values = []
    for image in images:
        masks = mask_of(image), image.foreground(), image.ignored()
        values.append([metric(*masks) for metric in METRICS.values()])
    return np.array(values)


def of_run(folder: RunFolder, dataset: Dataset) -> Values:
    def mask_of(image: ScoredImage) -> Mask:
        found = image.localization
        return np.zeros(image.known_size, bool) if found is None else found.mask

    return judge(scored_images(dataset, folder, ImageList.of(dataset)), mask_of)


def true_images(dataset: Dataset) -> Iterator[ScoredImage]:
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        if sample.annotation is None or sample.label is None:
            raise ValueError(f"{sample.image_id} must show one class, with its mask")
        yield ScoredImage(sample.image_id, sample.label, sample.annotation, sample.annotation.size)


def best(dataset: Dataset, masks: Mapping[float, MaskOf]) -> tuple[Values, float]:
    """Values of the choice whose mask IoU is the largest on half A, and the choice."""
    images = list(true_images(dataset))
    iou = METRICS["mask_iou"]

    def on_half_a(choice: float) -> float:
        mask_of = masks[choice]
        return sum(iou(mask_of(one), one.foreground(), one.ignored()) for one in images[::2])

    chosen = max(masks, key=on_half_a)
    return judge(images, masks[chosen]), chosen


def cuts(folder: RunFolder) -> dict[float, MaskOf]:
    """Largest components of what is at or above a share of each map's maximum."""
    paths = sorted((folder.path / "maps").glob("*.npz"))
    maps = {image_id: map_ for path in paths for image_id, _, map_ in read_maps(path)}

    def mask_of(image: ScoredImage, share: float) -> Mask:
        map_ = maps[image.image_id]
        return largest_component(resize_mask(map_ >= share * map_.max(), image.known_size))

    return {share: partial(mask_of, share=share) for share in THRESHOLDS}


def ellipses() -> dict[float, MaskOf]:
    return {side: lambda image, side=side: ellipse(image.known_size, side) for side in SIDES}


def ellipse(size: tuple[int, int], side: float) -> Mask:
    x0, y0, x1, y1 = centered_box(size, side)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    across, down = (x - (x0 + x1) / 2) / (x1 - x0), (y - (y0 + y1) / 2) / (y1 - y0)
    return np.asarray(across**2 + down**2 <= 0.25)


def as_json(values: Values, paper: Values) -> dict[str, Any]:
    """Estimates by half and metric, each with the paired difference to the paper's recipe."""
    return {
        half: {
            name: {
                **mean_estimate(name, values[part, at]).to_json(),
                "minus_paper": difference_estimate(
                    name, paper[part, at], values[part, at]
                ).to_json(),
            }
            for at, name in enumerate(METRICS)
        }
        for half, part in {"A": slice(0, None, 2), "B": slice(1, None, 2)}.items()
    }


def markdown(files: Iterable[dict[str, Any]]) -> str:
    lines = [
        "# Masks of photographs",
        "",
        "In percent, with 95 % intervals; in brackets the paired difference to the paper's recipe "
        "(`simonyan2013`). Mask IoU without VOC's void pixels; boundary F within 0.75 % of the "
        "diagonal; trimap IoU within 2 % of it. Numbers were chosen on half A: read half B.",
    ]
    for content in files:
        n = content["photographs"]
        for half in "BA":
            count = next(iter(content["rows"].values()))[half]["mask_iou"]["n"]
            lines += ["", f"## {content['classifier']}, half {half} ({count} of {n})", ""]
            lines += [line(["masks of", "mask IoU", "boundary F", "trimap IoU"]), line(["---"] * 4)]
            for name, row in content["rows"].items():
                cells = [cell(row[half][metric], name == PAPER) for metric in METRICS]
                lines.append(line([f"`{name}`" if name in RECIPES else name, *cells]))
        chosen = ", ".join(f"{name} {value:g}" for name, value in content["chosen"].items())
        lines += ["", f"Chosen on A: {chosen}.", "", f"`{content['command']}`"]
        lines += ["", f"{content['commit']}, {content['date']}"]
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any], is_paper: bool) -> str:
    if is_paper:
        return interval(found)
    other = found["minus_paper"]
    low, high = (f"{100 * other[end]:+.1f}" for end in ("low", "high"))
    return f"{interval(found)} [{100 * other['value']:+.1f}, {low} to {high}]"


if __name__ == "__main__":
    main()
