r"""Accuracy of configurations beside the paper, class activation maps and boxes that found nothing.

    python -m eval.figures.accuracy default fast --work WORK \
        --set data.root=ILSVRC --set model.architecture=squeezenet1_0 \
        --set model.checkpoint=squeezenet1_0.safetensors

All methods see one classifier and one dataset. What is chosen for a peer (the threshold of class
activation maps, the side of the centered box) is chosen on one part of the list, ``--tune-part``;
every figure is of another part, ``--test-part``. A configuration's own values must have been
chosen elsewhere too, or its row says that they were not.

Only the class of each image's label is localized, which is all that these figures need: of the
classifier's first k guesses, the one that can be right is the label, and its box is that of the
label. So the localization errors are those of runs that localize all guesses.

Runs, tunings and each image's results are kept in WORK, so that the same command goes on after an
interruption. The table goes to ``eval/results/accuracy-CLASSIFIER.json`` and ``.md``: figures with
95 % intervals, and paired differences to the paper's procedure and to the best baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.figures.accuracy_table import markdown
from eval.provenance import stamp
from eval.tables import slug
from wsl.cli.terminal import ProgressBar
from wsl.data.open import open_dataset
from wsl.errors import ConfigError, ModelError, WslError
from wsl.localize.segment import LocalizeOptions
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config, load_config
from wsl.run.folder import RunFolder
from wsl.run.pool import worker_count
from wsl.run.rows import SCALARS
from wsl.run.runner import run_dataset
from wsl.score.estimates import Estimate, difference_estimate, proportion_estimate
from wsl.score.inputs import read_annotations
from wsl.score.matching import RIGHT_IOU
from wsl.score.protocol import tuning_notes
from wsl.score.protocols.ilsvrc import score_ilsvrc
from wsl.tune.center import center_ious
from wsl.tune.ious import Ious
from wsl.tune.options import Objective, TuneOptions
from wsl.tune.result import TuningResult, known_estimates, objective_value
from wsl.tune.space import SearchSpace
from wsl.tune.tuner import store_maps, tune

ROOT = Path(__file__).resolve().parents[2]
PAPER = "the paper: ten crops + GrabCut"
PLAIN = "plain gradient + GrabCut"
QUANTILES = "seeds at the quantiles 95 and 30 %"
CAMS = {"cam": "CAM", "grad_cam": "Grad-CAM"}
SETTINGS = ("saliency", "localize", "seed", "tuned_on")  # of the configuration, in the results
# Zhou et al. 2016, sec. 3.1: the box of the largest component of what is above 20 % of the maximum.
USUAL = 0.2
CUT = {
    "seeds": {"threshold": "maximum", "foreground": USUAL, "background": 0.0},
    "refine": {"method": "none"},
}
THRESHOLDS = SearchSpace(
    {"localize.seeds.foreground": tuple(percent / 100 for percent in range(2, 92, 2))}
)
OBJECTIVES: dict[Objective, str] = {
    "gt_known_mean": "the mean of three IoUs",
    "gt_known_0.5": "IoU 0.5",
}


@dataclass(frozen=True, eq=False)
class Row:
    """A method, judged image by image.

    Attributes
    ----------
    name, note : str
    kind : {'configuration', 'peer', 'baseline'}
        The best of the baselines is what a configuration has to beat.
    per_image : DataFrame
        ``image_id, iou`` (of the ground-truth class's box), ``class_right_top1, class_right_top5,
        box_right_top1, box_right_top5``.
    seconds : mapping of str to float
        By stage and image; ``wall`` is what a user waits for. Empty for boxes that cost nothing.
    config : dict or None
    """

    name: str
    note: str
    kind: str
    per_image: pd.DataFrame
    seconds: dict[str, float]
    config: dict[str, Any] | None = None

    def figures(self) -> tuple[Estimate, ...]:
        """All figures, with their intervals."""
        table = self.per_image
        errors = [
            proportion_estimate(
                f"{what}_error_top{k}", ~table[f"{column}_right_top{k}"], higher_is_better=False
            )
            for what, column in (("localization", "box"), ("classification", "class"))
            for k in (1, 5)
        ]
        return (*known_estimates(table["iou"].to_numpy()), *errors)

    def values(self, figure: Estimate) -> np.ndarray:
        """Each image's contribution to a figure, whose mean it is."""
        table, name = self.per_image, figure.name
        if name == "mean_iou":
            return table["iou"].to_numpy()
        if name.startswith("gt_known"):
            ious = (0.3, 0.5, 0.7) if name == "gt_known_mean" else (float(name.split("_")[-1]),)
            return np.mean([table["iou"] >= at for at in ious], axis=0)
        what, _, top = name.split("_")
        column = "box" if what == "localization" else "class"
        return ~table[f"{column}_right_{top}"].to_numpy() * 1.0


@dataclass(frozen=True, eq=False)
class Study:
    """What all methods share: a classifier and two parts of one dataset."""

    classifier: Classifier
    tuning: RunConfig
    test: RunConfig
    work: Path

    def run(self, name: str, config: RunConfig, *, note: str, kind: str) -> Row:
        """Run a configuration on the test part, or go on with it, and judge it."""
        shared = {key: getattr(self.test, key) for key in ("data", "model", "classes", "run")}
        config = config.model_copy(update=shared)
        with ProgressBar(name) as progress:
            out = self.work / "runs" / slug(name)
            summary = run_dataset(config, out, classifier=self.classifier, progress=progress)
        dataset = open_dataset(config.data, self.classifier.categories)
        predictions = summary.folder.read(SCALARS).to_pandas()
        table = right_by_rank(score_ilsvrc(predictions, dataset).per_image)
        keep(table, self.work / "per_image" / f"{slug(name)}.csv")
        about = tuning_notes(config.model_dump(mode="json"), dataset)
        seconds = {stage: spent / len(dataset) for stage, spent in summary.info.timings.items()}
        notes = "; ".join(filter(None, [note, *about]))
        settings = config.model_dump(mode="json", include=set(SETTINGS))
        return Row(name, notes, kind, table, seconds, settings)

    def tuned(self, name: str, config: RunConfig) -> dict[str, TuningResult]:
        """Choose the threshold of a map on the tuning part, by each objective."""
        shared = {key: getattr(self.tuning, key) for key in ("data", "model", "run")}
        config = config.model_copy(update=shared)
        out = self.work / "tunings" / slug(name)
        with ProgressBar(f"{name}: maps") as progress:
            store = store_maps(
                config, THRESHOLDS, out, classifier=self.classifier, progress=progress
            )
        with ProgressBar(f"{name}: thresholds", unit="boxes") as progress:
            return {
                objective: tune(
                    store, THRESHOLDS, TuneOptions(objective=objective), progress=progress
                )
                for objective in OBJECTIVES
            }


def main() -> None:
    """Run what is missing and write the table."""
    arguments = parse()
    study = open_study(arguments)
    first = study.run(PLAIN, study.test, note=f"whole image, {QUANTILES}", kind="peer")
    paper = load_config("simonyan2013")
    rows = [first, study.run(PAPER, paper, note="Simonyan et al. 2013, sec. 3.2", kind="peer")]
    rows += fixed_boxes(study, first)
    omitted: dict[str, str] = {}
    for method, name in CAMS.items():
        try:
            rows += cam_rows(study, method, name)
        except ModelError as error:  # a network for which the method is not defined
            omitted[name] = str(error)
    rows = [own_row(study, path) for path in arguments.configs] + rows
    check_same_images(rows)
    content = describe(arguments, study, rows, omitted)
    name = arguments.name or study.test.model.architecture or study.test.model.source
    limited = f"-first{arguments.limit}" if arguments.limit else ""
    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out / f"accuracy-{slug(name)}{limited}.json"
    out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(content), encoding="utf-8")
    print(markdown(content))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", help="Recipes or files to judge.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of data, model and run, for all methods.")  # fmt: skip
    parser.add_argument("--work", type=Path, required=True, help="Folder of runs and tunings.")
    parser.add_argument("--tune-part", default="1/2", help="Where thresholds are chosen.")
    parser.add_argument("--test-part", default="2/2", help="Where figures are taken.")
    parser.add_argument("--limit", type=int, help="Only so many images of each part, to try.")
    parser.add_argument("--name", help="Of the classifier, for the files' names.")
    parser.add_argument("--out", type=Path, default=ROOT / "eval" / "results")
    return parser.parse_args()


def open_study(arguments: argparse.Namespace) -> Study:
    keys = [override.partition("=")[0].split(".")[0] for override in arguments.set]
    wrong = sorted(set(keys) - {"data", "model", "run"})
    if wrong:
        raise ConfigError(f"--set takes keys of data, model and run here, but got {wrong[0]}")
    limit = [f"data.limit={arguments.limit}"] if arguments.limit else []
    base = {"extends": "plain", "classes": {"select": "ground_truth"}}
    tuning, test = (
        build_config(base, [*arguments.set, f"data.subset={part}", *limit])
        for part in (arguments.tune_part, arguments.test_part)
    )
    classifier = load_classifier(test.model)
    if len(classifier.categories.names) < 5:
        raise ConfigError("the classifier must have at least five categories")
    return Study(classifier, tuning, test, arguments.work)


def right_by_rank(per_image: pd.DataFrame) -> pd.DataFrame:
    """Say what is right among the top-1 predictions, from the label's rank and its box alone."""
    table = per_image.rename(columns={"gt_iou": "iou"})
    for k in (1, 5):
        table[f"class_right_top{k}"] = table["gt_rank"] <= k  # NaN where an image failed
        table[f"box_right_top{k}"] = table[f"class_right_top{k}"] & (table["iou"] >= RIGHT_IOU)
    return table


def cam_rows(study: Study, method: str, name: str) -> list[Row]:
    """Rows of a class activation map at its usual threshold and at its best ones."""
    content = {**study.test.model_dump(mode="json"), "saliency": {"method": method}}
    config = build_config({**content, "localize": CUT})
    note = f"box of the largest component at or above {USUAL:g} of the maximum"
    rows = [study.run(f"{name}, usual threshold", config, note=note, kind="baseline")]
    chosen: dict[LocalizeOptions, list[str]] = {}
    results = study.tuned(name, config)
    for objective, result in results.items():
        chosen.setdefault(result.best.candidate.options, []).append(OBJECTIVES[objective])
    result = next(iter(results.values()))
    for options, objectives in chosen.items():
        note = (
            f"{options.seeds.foreground:g} of the maximum, the best of {len(result.trials)} on "
            f"{result.tuned_on.dataset} ({result.best.estimates[0].n} images)"
        )
        title = f"{name}, best threshold for {' and '.join(objectives)}"
        best = config.model_copy(update={"localize": options})
        rows.append(study.run(title, best, note=note, kind="baseline"))
    return rows


def fixed_boxes(study: Study, classes: Row) -> Iterator[Row]:
    """Boxes that found nothing, with the classes of a run."""
    on_tuning, name = centered_boxes(study, study.tuning)
    on_test, _ = centered_boxes(study, study.test)
    yield fixed_box("whole image", "", on_test[1.0].box, classes)
    chosen: dict[float, list[str]] = {}
    for objective, described in OBJECTIVES.items():
        values = {side: objective_value(iou, objective) for side, iou in on_tuning.items()}
        chosen.setdefault(max(values, key=values.__getitem__), []).append(described)
    for side, objectives in chosen.items():
        note = f"{side:g} of each side, the best of {len(on_tuning)} on {name}"
        yield fixed_box(
            f"centered box for {' and '.join(objectives)}", note, on_test[side].box, classes
        )


def centered_boxes(study: Study, config: RunConfig) -> tuple[dict[float, Ious], str]:
    """IoU of centered boxes by their side, and the name of what they lie on."""
    dataset = open_dataset(config.data, study.classifier.categories)
    truth = read_annotations(dataset)
    return center_ious(dataset, truth, max_pixels=config.data.max_pixels), dataset.name


def fixed_box(name: str, note: str, iou: np.ndarray, classes: Row) -> Row:
    table = classes.per_image[["image_id", "class_right_top1", "class_right_top5"]].assign(iou=iou)
    for k in (1, 5):
        table[f"box_right_top{k}"] = table[f"class_right_top{k}"] & (iou >= RIGHT_IOU)
    return Row(name, f"{note}; classes of the {classes.name}".lstrip("; "), "baseline", table, {})


def own_row(study: Study, source: str) -> Row:
    config = load_config(source)
    note = "" if config.tuned_on else "where its values were chosen is not recorded"
    return study.run(Path(source).stem, config, note=note, kind="configuration")


def keep(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def check_same_images(rows: Sequence[Row]) -> None:
    first = rows[0].per_image["image_id"].tolist()
    for row in rows:
        if row.per_image["image_id"].tolist() != first:
            raise ConfigError(f"{row.name} was judged on other images than {rows[0].name}")


def describe(
    arguments: argparse.Namespace, study: Study, rows: Sequence[Row], omitted: dict[str, str]
) -> dict[str, Any]:
    """Everything that the table and a later reader need, as JSON's types."""
    info = RunFolder(study.work / "runs" / slug(PLAIN)).read_info()
    return {
        **stamp("eval.figures.accuracy"),
        "versions": info.versions,
        "model": info.model,
        "cores": worker_count(study.test.run.workers),
        "test": info.dataset,
        "tuning_part": arguments.tune_part,
        "methods": [
            {
                "name": row.name,
                "kind": row.kind,
                "note": row.note,
                "figures": {figure.name: figure.to_json() for figure in row.figures()},
                "seconds_per_image": row.seconds,
                "config": row.config,
            }
            for row in rows
        ],
        "differences": differences(rows),
        "omitted": omitted,
    }


def differences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each configuration minus the paper's procedure, and minus the best baseline of each figure.

    The best baseline is the one that is best on the test part itself, which favors it.
    """
    paper = next(row for row in rows if row.name == PAPER)
    baselines = [row for row in rows if row.kind == "baseline"]
    found = []
    for row in rows:
        if row.kind == "baseline" or row is paper:
            continue
        for figure in row.figures():
            if figure.name.startswith("classification"):
                continue
            best = max(baselines, key=lambda one, of=figure: of_sign(of) * one.values(of).mean())
            found += [
                {
                    "method": row.name,
                    "against": other.name,
                    "as": role,
                    **difference_estimate(
                        figure.name,
                        other.values(figure),
                        row.values(figure),
                        higher_is_better=figure.higher_is_better,
                    ).to_json(),
                }
                for role, other in (("paper", paper), ("best baseline", best))
            ]
    return found


def of_sign(figure: Estimate) -> int:
    return 1 if figure.higher_is_better else -1


if __name__ == "__main__":
    try:
        main()
    except WslError as error:
        sys.exit(f"accuracy: error: {error}")
