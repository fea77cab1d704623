r"""Accuracy against cost: processor seconds per image beside GT-known localization.

    python -m eval.figures.cost_curve --classifier squeezenet1_0 --set data.root=ILSVRC \
        --set model.architecture=squeezenet1_0 --set model.checkpoint=squeezenet1_0.safetensors

takes the methods of ``eval/results/accuracy-CLASSIFIER.json``, which ``eval/figures/accuracy.py``
has written, and times each on the same images, one after the other, image by image: decoding, the
classifier, the gradients, refinement and quality, for the image's label alone, in one thread. What
is timed is processor time, so that other work on the machine counts for little; the median over
the images is shown.

Writes ``eval/results/cost-CLASSIFIER.json``, and from all such files ``cost_curve.png`` and
``cost_curve.md``. Without ``--classifier`` it only draws these again.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib import ticker

from eval.provenance import stamp
from eval.tables import interval, line
from wsl.data.open import open_dataset
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, WslError
from wsl.localize.localizer import Localizer
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config

RESULTS = Path(__file__).parents[1] / "results"
FIGURES = {"gt_known_0.5": "IoU of 0.5", "gt_known_mean": "mean of IoU 0.3, 0.5, 0.7"}
COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94")


def main() -> None:
    """Time what is asked for, and draw."""
    arguments = parse()
    if arguments.classifier:
        measure(arguments)
    found = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("cost-*.json"))]
    if not found:
        raise ConfigError(f"there is no cost-*.json in {arguments.out}: give --classifier")
    draw(found, arguments.out / "cost_curve.png")
    text = markdown(found)
    (arguments.out / "cost_curve.md").write_text(text, encoding="utf-8")
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifier", help="As in the name of its accuracy-*.json.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of data and model.")  # fmt: skip
    parser.add_argument("--images", type=int, default=24, help="The first so many are timed.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> None:
    """Time the methods of one classifier and write what was found beside their accuracy."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    path = arguments.out / f"accuracy-{arguments.classifier}.json"
    try:
        accuracy = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read; eval/figures/accuracy.py writes it: {error}"
        ) from error
    base = build_config({}, arguments.set)
    classifier = load_classifier(base.model)
    dataset = open_dataset(base.data, classifier.categories)
    methods = [one for one in accuracy["methods"] if is_shown(one["name"])]
    configs = {
        one["name"]: build_config({**one["config"], "tuned_on": None})
        for one in methods
        if one["config"]
    }
    seconds = time_all(configs, classifier, dataset, arguments.images)
    content = {
        **stamp("eval.figures.cost_curve", "torch", "opencv-python", "numpy"),
        "machine": f"{platform.machine()}, one thread, processor seconds",
        "images": min(arguments.images, len(dataset)),
        "classifier": accuracy["model"]["name"],
        "test": accuracy["test"]["name"],
        "n": accuracy["test"]["count"],
        "methods": [
            {
                "name": one["name"],
                "seconds": seconds.get(one["name"]),
                "figures": {name: one["figures"][name] for name in FIGURES},
            }
            for one in methods
        ],
    }
    out = arguments.out / f"cost-{arguments.classifier}.json"
    out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def is_shown(name: str) -> bool:
    """Whether a row of the accuracy table stands in the curve."""
    # Of networks that end in one linear layer after the average, Grad-CAM is CAM.
    return "usual threshold" not in name and name != "whole image" and "Grad-CAM" not in name


def time_all(
    configs: dict[str, RunConfig], classifier: Classifier, dataset: Dataset, count: int
) -> dict[str, dict[str, float]]:
    """Processor seconds per image by method: median and quartiles."""
    localizers = {name: Localizer(classifier, config) for name, config in configs.items()}
    spent: dict[str, list[float]] = {name: [] for name in configs}
    for index in range(-1, min(count, len(dataset))):
        sample = dataset.sample(max(index, 0), annotated=False)
        if sample.label is None:
            raise ConfigError(f"image {sample.image_id} has no label")
        for name, localizer in localizers.items():
            started = time.process_time()
            localizer(sample.path, classes=[sample.label])
            if index >= 0:  # the first image is done once before, for what is made but once
                spent[name].append(time.process_time() - started)
    return {
        name: dict(
            zip(("low", "median", "high"), np.quantile(each, [0.25, 0.5, 0.75]), strict=True)
        )
        for name, each in spent.items()
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves: a panel for each figure, a color for each classifier."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(FIGURES), figsize=(10.5, 4.2), layout="constrained")
    for panel, (name, title) in zip(panels, FIGURES.items(), strict=True):
        for content, color in zip(found, COLORS, strict=False):
            # Methods cost about the same with all: the last classifier's points name them.
            draw_one(panel, content, name, color, named=content is found[-1])
        panel.set(xscale="log", xlabel="processor seconds per image", ylabel="GT-known, %")
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        panel.margins(x=0.12)
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.25)
    panels[0].legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def draw_one(panel: Any, content: dict[str, Any], name: str, color: str, *, named: bool) -> None:
    label = content["classifier"].split()[0]
    for one in content["methods"]:
        value, low, high = (100 * one["figures"][name][end] for end in ("value", "low", "high"))
        if one["seconds"] is None:
            if for_objective(one["name"], name):
                panel.axhline(value, color=color, linewidth=0.8, linestyle=":")
            continue
        if not for_objective(one["name"], name):
            continue
        at = one["seconds"]["median"]
        bars = [[value - low], [high - value]]
        panel.errorbar(at, value, yerr=bars, color=color, fmt="o", markersize=5, capsize=2,
                       elinewidth=0.8, label=label)  # fmt: skip
        label = "_nolegend_"
        if named:
            panel.annotate(short(one["name"]), (at, value), (6, 5), textcoords="offset points",
                           fontsize=8, color="#3c4043")  # fmt: skip


def for_objective(method: str, figure: str) -> bool:
    """Whether what was tuned in a method was tuned for the figure; all others stand in both."""
    if " for " not in method:
        return True
    return ("IoU 0.5" if figure == "gt_known_0.5" else "mean") in method.split(" for ")[1]


def short(name: str) -> str:
    """Name a method in a word or two."""
    return name.split(",")[0].split(":")[0].removesuffix(" + GrabCut").removeprefix("the ")


def markdown(found: list[dict[str, Any]]) -> str:
    """Lay the table out for people."""
    lines = [
        "# Accuracy against cost",
        "",
        "![GT-known localization against processor seconds](cost_curve.png)",
        "",
        "Class known, images on which nothing was chosen; bars are 95 % intervals; dotted: the "
        "best centered box, which costs nothing. Processor seconds of one thread: median of the "
        "whole way of one class of an image, with the quartiles.",
    ]
    for content in found:
        plain = next(one for one in content["methods"] if one["name"].startswith("plain"))
        unit = plain["seconds"]["median"]
        lines += ["", f"## {content['classifier']}, {content['test']} (n = {content['n']})", ""]
        lines += ["| method | s/image | of the plain gradient's | IoU 0.5 | mean of three |"]
        lines += ["| --- | ---: | ---: | ---: | ---: |"]
        for one in content["methods"]:
            cells = [one["name"], *cost_cells(one["seconds"], unit)]
            cells += [interval(one["figures"][name]) for name in FIGURES]
            lines.append(line(cells))
        lines += ["", f"`{content['command']}`, {content['images']} images timed, "
                  f"{content['machine']}; {content['commit']}, {content['date']}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def cost_cells(seconds: dict[str, float] | None, unit: float) -> list[str]:
    if seconds is None:
        return ["", ""]
    low, median, high = (seconds[end] for end in ("low", "median", "high"))
    return [f"{median:.3f} ({low:.3f} to {high:.3f})", f"{median / unit:.2f}"]


if __name__ == "__main__":
    try:
        main()
    except WslError as error:
        sys.exit(f"cost_curve: error: {error}")
