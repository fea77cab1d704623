r"""The results page: classifiers by recipes, with intervals, baselines and seconds.

    python -m eval.figures.results --work WORK --weights WEIGHTS --set data.root=ILSVRC \
        --model squeezenet1_0 --model timm/deit_tiny_patch16_224 --recipe default --recipe best

Each recipe is run with each classifier; one that names its own classifiers, such as ``best``, with
those. Checkpoints are the files of WEIGHTS whose names begin with the network's; without one the
published weights are taken. Images are those of ``--part``, on which no recipe was chosen.

Only the class of each image's label is localized: of a classifier's first five guesses, the one
that can be right is the label, so the top-5 localization error is that of a run of all five.
Processor seconds are those of one thread for one class: the median over the part's first images.

Runs and times are kept in WORK, so that the same command goes on after an interruption. Writes
``eval/results/results.md``, ``.csv`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from eval.figures.accuracy import right_by_rank
from eval.figures.cost_curve import time_all
from eval.provenance import stamp
from eval.tables import interval, line, slug
from wsl.cli.terminal import ProgressBar
from wsl.data.open import open_dataset
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, WslError
from wsl.models.average import AnyClassifier
from wsl.models.networks import named_model
from wsl.run.config import RunConfig, load_config
from wsl.run.rows import SCALARS
from wsl.run.runner import configured_classifier, run_dataset
from wsl.score.estimates import proportion_estimate
from wsl.score.inputs import read_annotations
from wsl.score.protocol import tuning_notes
from wsl.score.protocols.ilsvrc import score_ilsvrc
from wsl.storage import write_json
from wsl.tune.center import center_ious
from wsl.tune.result import known_estimates

RESULTS = Path(__file__).parents[1] / "results"
KNOWN = {
    "gt_known_0.3": "IoU 0.3",
    "gt_known_0.5": "0.5",
    "gt_known_0.7": "0.7",
    "gt_known_mean": "mean of the three",
}
TOP5 = "localization_error_top5"
RESAMPLES = 1000

NOTES = {
    "best": "`best`: of eleven mixes of these networks, compared on the images on which the recipe "
    "was chosen, this pair was the first with weights 2 : 1 and the second with equal weights (by "
    "0.4 points). Weights gave nothing on both halves together (equal ones +0.8, −0.3 to +1.9), so "
    "equal ones were taken; the choice between the two has therefore seen these images, too."
}


def main() -> None:
    """Run what is missing and write the page."""
    arguments = parse()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for recipe, config in configurations(arguments):
        classifier = configured_classifier(config)
        dataset = open_dataset(config.data, classifier.categories)
        rows.append(measured(recipe, config, classifier, dataset, arguments))
    side = load_config("default").tuned_on.center_side
    truth = read_annotations(dataset)
    ious = center_ious(dataset, truth, max_pixels=config.data.max_pixels)
    for at, name in ((1.0, "whole image"), (side, f"centered box of {side:g} of each side")):
        estimates = known_estimates(ious[at].box)
        rows.append({"classifier": "", "recipe": name, "figures": as_json(estimates)})
    content = {
        **stamp("eval.figures.results", "torch", "torchvision", "timm", "opencv-python", "numpy"),
        "test": dataset.name,
        "timed_images": min(arguments.timed, len(dataset)),
        "rows": rows,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "results.json", content)
    as_frame(rows).to_csv(arguments.out / "results.csv", index=False)
    (arguments.out / "results.md").write_text(markdown(content), encoding="utf-8")
    print(markdown(content))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True, metavar="NAME",
                        help="As wsl run --model.")  # fmt: skip
    parser.add_argument("--recipe", action="append", required=True, metavar="NAME")
    parser.add_argument("--weights", type=Path, help="Folder of checkpoints.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of data and run.")  # fmt: skip
    parser.add_argument("--part", default="2/2", help="Where figures are taken.")
    parser.add_argument("--timed", type=int, default=24, help="Images that are timed.")
    parser.add_argument("--work", type=Path, required=True, help="Folder of runs and times.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def configurations(arguments: argparse.Namespace) -> Iterator[tuple[str, RunConfig]]:
    """Recipes with each classifier, or with their own."""
    shared = [*arguments.set, "classes.select=ground_truth", f"data.subset={arguments.part}"]
    for recipe in arguments.recipe:
        config = load_config(recipe, shared)
        if config.models:
            models = [checkpointed(each.model_dump(), arguments.weights) for each in config.models]
            yield Path(recipe).stem, load_config(recipe, [*shared, f"models={json.dumps(models)}"])
            continue
        for name in arguments.model:
            model = json.dumps(checkpointed(named_model(name), arguments.weights))
            yield Path(recipe).stem, load_config(recipe, [*shared, f"model={model}"])


def checkpointed(model: dict[str, Any], weights: Path | None) -> dict[str, Any]:
    """Add the checkpoint that there is for a network's name."""
    name = model.get("architecture")
    found = sorted(weights.glob(f"{name}[-.]*")) if weights and name else []
    if len(found) > 1:
        raise ConfigError(f"{weights} must hold one checkpoint of {name}, but holds {len(found)}")
    return model | ({"checkpoint": str(found[0])} if found else {})


def measured(
    recipe: str,
    config: RunConfig,
    classifier: AnyClassifier,
    dataset: Dataset,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Run a recipe, or go on with it, and say what it gives and costs."""
    network = " + ".join(
        str(each.architecture or each.source) for each in config.models or [config.model]
    )
    out = arguments.work / slug(f"{recipe} {network}")
    with ProgressBar(f"{recipe}, {network}") as progress:
        run = run_dataset(config, out / "run", classifier=classifier, progress=progress)
    predictions = run.folder.read(SCALARS).to_pandas()
    table = right_by_rank(score_ilsvrc(predictions, dataset).per_image)
    errors = [
        proportion_estimate(
            f"{what}_error_top5", ~table[f"{column}_right_top5"], higher_is_better=False
        )
        for what, column in (("localization", "box"), ("classification", "class"))
    ]
    times = out / f"seconds-{arguments.timed}.json"
    if not times.exists():
        spent = time_all({recipe: config}, classifier, dataset, arguments.timed)
        write_json(times, spent[recipe])
    return {
        "classifier": network,
        "weights": run.info.model["name"],
        "recipe": recipe,
        "notes": tuning_notes(config.model_dump(mode="json"), dataset),
        "figures": as_json([*known_estimates(table["iou"].to_numpy()), *errors]),
        "quality": rank_correlation(predictions, table),
        "seconds": json.loads(times.read_text(encoding="utf-8")),
    }


def rank_correlation(predictions: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """Spearman's correlation of quality and IoU, with a bootstrap interval over the images."""
    quality = predictions.set_index("image_id")["quality"].reindex(table["image_id"]).fillna(0)
    pairs = np.stack([quality.to_numpy(), table["iou"].to_numpy()])
    generator = np.random.default_rng(0)
    count = pairs.shape[1]
    drawn = [pairs[:, generator.integers(0, count, count)] for _ in range(RESAMPLES)]
    value, *found = (
        float(spearmanr(*each).statistic) for each in (pairs, *drawn) if np.ptp(each, axis=1).all()
    )
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return {"value": value, "low": low, "high": high}


def as_json(estimates: Any) -> dict[str, Any]:
    return {each.name: each.to_json() for each in estimates}


def as_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One line per row: each figure with the ends of its interval, in percent, and its n."""
    lines = []
    for row in rows:
        found: dict[str, Any] = {"classifier": row["classifier"], "recipe": row["recipe"]}
        for name, figure in row["figures"].items():
            ends = {"": "value", "_low": "low", "_high": "high"}
            found |= {f"{name}{end}": round(100 * figure[key], 2) for end, key in ends.items()}
            found["n"] = figure["n"]
        correlation = row.get("quality", {}).get("value")
        lines.append({**found, "quality_spearman": correlation,
                      "seconds": row.get("seconds", {}).get("median")})  # fmt: skip
    return pd.DataFrame(lines)


def markdown(content: dict[str, Any]) -> str:
    """Write the page."""
    count = content["rows"][0]["figures"]["gt_known_mean"]["n"]
    best = max(
        row["figures"]["gt_known_mean"]["value"] for row in content["rows"] if row["classifier"]
    )
    notes = dict.fromkeys(note for row in content["rows"] for note in row.get("notes", ()))
    told = "".join(f"; {note}" for note in notes)
    head = [
        "# Classifiers and recipes",
        "",
        f"Boxes of {content['test']}, {count} images{told}.",
        "",
        "Percent of images whose box of the known class is right, with 95 % intervals; the top-5 "
        "localization error is that of the classifier's first five classes. Quality: Spearman's "
        "rank correlation of the estimated quality and the IoU. Processor seconds of an image and "
        f"class, one thread, median of {content['timed_images']} images. The same in "
        "`eval/results/results.csv`.",
        "",
        line(["classifier", "recipe", *KNOWN.values(), "top-5 error", "quality", "s"]),
        line(["---", "---", *["---:"] * (len(KNOWN) + 3)]),
    ]
    for row in content["rows"]:
        figures = row["figures"]
        cells = [interval(figures[name]) for name in KNOWN]
        if row["classifier"] and figures["gt_known_mean"]["value"] == best:
            cells[-1] = f"**{cells[-1]}**"
        error = interval(figures[TOP5]) if TOP5 in figures else ""
        seconds = f"{row['seconds']['median']:.2f}" if "seconds" in row else ""
        quality = (
            "{value:.2f} ({low:.2f} to {high:.2f})".format(**row["quality"]) if seconds else ""
        )
        recipe = f"`{row['recipe']}`" if row["classifier"] else row["recipe"]
        head.append(line([row["classifier"], recipe, *cells, error, quality, seconds]))
    own = [NOTES[recipe] for recipe in dict.fromkeys(row["recipe"] for row in content["rows"])
           if recipe in NOTES]  # fmt: skip
    made = f"Made by `{content['command']}`, {content['commit']}, {content['date']}."
    return "\n".join([*head, "", *(f"{note}\n" for note in own), made, ""])


if __name__ == "__main__":
    try:
        main()
    except WslError as error:
        sys.exit(f"results: error: {error}")
