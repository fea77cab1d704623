r"""What each part of the recipe gives: one row a step, on the images on which it was chosen.

    python -m eval.figures.ablation --work WORK --set data.root=ILSVRC --set data.subset=1/2 \
        --set model.architecture=squeezenet1_0 --set model.checkpoint=squeezenet1_0.safetensors

The class is known: the box judged is that of the image's label. Every row has its figures with
95 % intervals and the paired difference, on the same images, to the row that it is compared with.
Maps are computed once for all rows that share them; they and the boxes are kept in WORK, so that
the same command goes on after an interruption, and adds rows.

Writes ``eval/results/ablation-CLASSIFIER.json``, and ``ablation.md`` from all such files there.
The recipe's figures on images that it was not chosen on are those of ``eval/figures/accuracy.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.figures.ablation_steps import SECTIONS, Step, steps
from eval.provenance import stamp
from eval.tables import interval, line, slug
from wsl.cli.terminal import ProgressBar
from wsl.data.open import open_dataset
from wsl.errors import ConfigError, WslError
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config
from wsl.run.runner import build_localizer
from wsl.saliency.layers import grid_layers
from wsl.score.estimates import difference_estimate
from wsl.tune.ious import IouTable
from wsl.tune.maps import MapStore
from wsl.tune.result import known_estimates
from wsl.tune.space import make_candidate

RESULTS = Path(__file__).parents[1] / "results"
COMPARED = ("gt_known_0.5", "gt_known_mean", "mean_iou")
COLUMNS = ("gt_known_0.3", "gt_known_0.5", "gt_known_0.7", "gt_known_mean", "mean_iou")


def main() -> None:
    """Make what is missing and write the tables."""
    arguments = parse()
    base = build_config({"extends": "plain", "classes": {"select": "ground_truth"}}, arguments.set)
    classifier = load_classifier(base.model)
    layers = fused_layers(classifier)
    rows = [row for row in steps(layers) if not any(text in row.name for text in arguments.skip)]
    configs = {
        row.name: build_config({"extends": "plain"}, [*arguments.set, *row.changes]) for row in rows
    }
    iou = all_ious(configs, classifier, arguments.work)
    name = arguments.name or base.model.architecture or base.model.source
    content = {
        **stamp("eval.figures.ablation", "torch", "opencv-python", "numpy"),
        "classifier": classifier.name,
        "layers": list(layers),
        "dataset": open_dataset(base.data, classifier.categories).name,
        "rows": [as_json(row, iou) for row in rows],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"ablation-{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    found = [json.loads(each.read_text()) for each in sorted(arguments.out.glob("ablation-*.json"))]
    (arguments.out / "ablation.md").write_text(markdown(found), encoding="utf-8")
    print(markdown([content]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of data, model and run, for all rows.")  # fmt: skip
    parser.add_argument("--work", type=Path, required=True, help="Folder of maps and boxes.")
    parser.add_argument("--skip", action="append", default=[], metavar="TEXT",
                        help="Leave out rows with this in their name.")  # fmt: skip
    parser.add_argument("--name", help="Of the classifier, for the file's name.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def fused_layers(classifier: Classifier) -> tuple[str, ...]:
    """Name the layers that fused maps take by default, the finest grid first."""
    side = max(classifier.preprocessing.crop_size)
    with classifier.inference():
        return grid_layers(classifier, (3, side, side))


def all_ious(
    configs: dict[str, RunConfig], classifier: Classifier, work: Path
) -> dict[str, NDArray[np.float64]]:
    """IoU of each image's box by the name of the row: (N,), all of the same images."""
    groups: dict[str, list[str]] = {}
    for name, config in configs.items():
        groups.setdefault(config.saliency.model_dump_json(), []).append(name)
    iou: dict[str, NDArray[np.float64]] = {}
    for names in groups.values():
        saliency = configs[names[0]].saliency
        own = saliency.model_dump(mode="json", exclude_defaults=True)
        changed = {"method": saliency.method, **own}
        folder = work / (slug(json.dumps(changed)))
        iou |= group_ious({name: configs[name] for name in names}, classifier, folder)
    return {name: iou[name] for name in configs}


def group_ious(
    configs: dict[str, RunConfig], classifier: Classifier, folder: Path
) -> dict[str, NDArray[np.float64]]:
    """IoUs of rows that share their maps."""
    first = next(iter(configs.values()))
    dataset = open_dataset(first.data, classifier.categories)
    sizes = dict.fromkeys(size for config in configs.values() for size in config.localize.map_sizes)
    store = MapStore.open(folder, first, build_localizer(first, classifier), dataset, sizes)
    with ProgressBar(f"maps of {folder.name}") as progress:
        store.compute(progress)
    candidates = {name: make_candidate(config, {}) for name, config in configs.items()}
    table = IouTable(store)
    with ProgressBar(f"boxes of {folder.name}", unit="boxes") as progress:
        table.compute(list(candidates.values()), progress)
    return {name: table.ious(candidate).box for name, candidate in candidates.items()}


def as_json(row: Step, iou: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Describe a row: its figures, and the differences to the row that it is compared with."""
    own = iou[row.name]
    differences: dict[str, Any] = {}
    if row.against in iou:
        before, after = (by_figure(iou[name]) for name in (row.against, row.name))
        differences = {
            name: difference_estimate(name, before[name], after[name]).to_json()
            for name in COMPARED
        }
    return {
        "name": row.name,
        "section": row.section,
        "against": row.against,
        "changes": list(row.changes),
        "figures": {figure.name: figure.to_json() for figure in known_estimates(own)},
        "differences": differences,
    }


def by_figure(iou: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Each image's contribution to the figures, which are its means."""
    right = np.array([iou >= at for at in (0.3, 0.5, 0.7)], dtype=np.float64)
    return {"gt_known_0.5": right[1], "gt_known_mean": right.mean(axis=0), "mean_iou": iou}


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Lay the tables of some classifiers out for people."""
    lines = [
        "# What each part of the recipe gives",
        "",
        "GT-known localization (the class is known) at an IoU of 0.3, 0.5 and 0.7, their mean, and "
        "mean IoU, in percent with 95 % intervals. On the images on which the recipe's numbers "
        "were chosen, which flatters it; its figures on other images stand in "
        "`accuracy-CLASSIFIER.md`. Differences are paired, in points: to the row before; below the "
        "first table to the recipe; of the map's parts to the recipe at 224 pixels alone; unless "
        "a row says otherwise.",
        "",
        "No part of the recipe is learnt from boxes: there is no center prior in it, and none in "
        "the library.",
    ]
    for content in found:
        lines += ["", f"## {content['classifier']}, {content['dataset']}"]
        for section, title in SECTIONS.items():
            rows = [row for row in content["rows"] if row["section"] == section]
            lines += ["", *section_lines(title, rows)] if rows else []
        named = ", ".join(content["layers"])
        lines += ["", f"Layers, the finest grid first: {named}."]
        lines += ["", f"`{content['command']}`", "", f"{content['commit']}, {content['date']}"]
    return "\n".join(lines) + "\n"


def section_lines(title: str, rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    n = rows[0]["figures"]["mean_iou"]["n"]
    heads = [f"{title} (n = {n})", "0.3", "0.5", "0.7", "mean", "mean IoU"]
    heads += ["difference at 0.5", "of the mean", "of mean IoU"]
    yield line(heads)
    yield line(["---", *["---:"] * (len(heads) - 1)])
    usual = [None, *(row["name"] for row in rows)]
    for row, before in zip(rows, usual, strict=False):
        cells = [interval(row["figures"][name]) for name in COLUMNS]
        cells += [
            interval(row["differences"][name], signed=True) if row["differences"] else ""
            for name in COMPARED
        ]
        expected = before if row["section"] == "path" else rows[0]["against"]
        other = f" (beside: {row['against']})" if row["against"] != expected else ""
        yield line([row["name"] + other, *cells])


if __name__ == "__main__":
    try:
        main()
    except (WslError, ConfigError) as error:
        sys.exit(f"ablation: error: {error}")
