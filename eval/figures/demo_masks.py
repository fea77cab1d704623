r"""The recipe on the drawn demo, beside the paper's procedure: masks against the exact ones.

    python -m eval.figures.demo_masks --work WORK

draws the demo's 120 images, localizes the class of each, and compares the masks with all that is
drawn, exact to the pixel: mean IoU with 95 % intervals, and paired differences to the recipe. All
see the demo's classifier. The recipe's values were chosen on photographs, not here.

``--also KEY=VALUE`` adds the recipe with other values (several of one row are separated by blanks).
``--seed`` draws other images, on which values may be compared without looking at the demo's own.

Writes ``eval/results/demo_masks.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import stamp
from eval.tables import interval, line
from wsl.boxes import box_iou
from wsl.data.open import open_dataset
from wsl.demo.draw import draw_image, write_dataset
from wsl.errors import WslError
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions
from wsl.masks import mask_iou
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.run.config import load_config
from wsl.score.estimates import difference_estimate, mean_estimate, proportion_estimate

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "the recipe"


def main() -> None:
    """Compare and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder for the drawn images.")
    parser.add_argument("--count", type=int, default=120, help="Images to draw.")
    parser.add_argument("--seed", type=int, default=0, help="Of the drawing.")
    parser.add_argument("--also", action="append", default=[], metavar="KEY=VALUE",
                        help="The recipe with other values.")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "eval" / "results" / "demo_masks.json")
    arguments = parser.parse_args()
    data = arguments.work / f"demo-{arguments.seed}-{arguments.count}"
    write_dataset(data, count=arguments.count, seed=arguments.seed)
    classifier = load_classifier("demo", device="cpu")
    found = {
        name: judge(data, classifier, options, arguments.seed)
        for name, options in methods(arguments.also).items()
    }
    content = {
        "what": "masks of the label's class beside the exact masks of all that is drawn",
        **stamp("eval.figures.demo_masks", "torch", "opencv-python", "numpy"),
        "images": arguments.count,
        "seed": arguments.seed,
        "methods": {name: figures(each, found[RECIPE]) for name, each in found.items()},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(table(content))


def methods(also: list[str]) -> dict[str, LocalizerOptions]:
    """Name what is compared."""
    paper = "simonyan2013"
    return {
        RECIPE: load_config("demo"),
        "the paper: ten crops + GrabCut": load_config(paper),
        "plain gradient + GrabCut": load_config(paper, ["saliency.views.kind=squash"]),
        **{f"{RECIPE}, {given}": load_config("demo", given.split()) for given in also},
    }


def judge(
    data: Path, classifier: Classifier, options: LocalizerOptions, seed: int
) -> NDArray[np.float64]:
    """IoU of each image's mask with the exact one, and of its box with the best: (N, 2)."""
    config = load_config("demo", [f"data.root={data}"])
    dataset = open_dataset(config.data, classifier.categories)
    localizer = Localizer(classifier, options)
    found = []
    for index in range(len(dataset)):
        sample, drawn = dataset.sample(index, annotated=False), draw_image(index, seed=seed)
        (one,) = localizer(sample.path, classes=[drawn.label], image_id=sample.image_id)
        exact = np.any(drawn.masks, axis=0)
        box = float(box_iou([one.box], drawn.boxes).max()) if one.box else 0.0
        found.append((mask_iou(one.mask, exact), box))
    return np.array(found)


def figures(found: NDArray[np.float64], recipe: NDArray[np.float64]) -> dict[str, Any]:
    """Figures of a method, and the recipe's differences to it."""
    return {
        "mask_iou": mean_estimate("mask_iou", found[:, 0]).to_json(),
        "gt_known_0.5": proportion_estimate("gt_known_0.5", found[:, 1] >= 0.5).to_json(),
        "recipe_minus_this": difference_estimate("mask_iou", found[:, 0], recipe[:, 0]).to_json(),
    }


def table(content: dict[str, Any]) -> str:
    """Lay the figures out for people."""
    lines = [
        f"| % (95 % interval), n = {content['images']} | mask IoU | GT-known 0.5 | recipe's lead |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, found in content["methods"].items():
        lead = interval(found["recipe_minus_this"], signed=True) if name != RECIPE else ""
        cells = [interval(found["mask_iou"]), interval(found["gt_known_0.5"]), lead]
        lines.append(line([name, *cells]))
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except WslError as error:
        sys.exit(f"demo_masks: error: {error}")
