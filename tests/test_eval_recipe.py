"""The scripts around the recipe: ablation, failures, cost curve, masks of the demo."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.figures import ablation, ablation_steps, cost_curve, demo_masks, failures
from wsl.cli.tour import DemoPlan
from wsl.demo.draw import CATEGORIES, write_dataset
from wsl.localize.segment import CutOptions
from wsl.models.sources import load_classifier
from wsl.run.config import build_config, load_config
from wsl.run.runner import run_dataset
from wsl.score.estimates import mean_estimate, proportion_estimate
from wsl.tune.result import known_estimates

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows():
    return ablation_steps.steps(("fine", "middle", "last"))


def test_every_row_of_the_ablation_can_be_configured_and_stands_beside_an_earlier_one(rows):
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert [row.name for row in rows if row.against is None] == names[:1]
    for at, row in enumerate(rows[1:], start=1):
        assert row.against in names[:at], row.name
    configs = [build_config({"extends": "plain"}, row.changes) for row in rows]
    texts = [config.model_dump_json() for config in configs]
    assert len(set(texts)) == len(texts), "two rows are the same"


def test_the_ablation_leads_from_the_papers_configuration_to_the_recommended_one(rows):
    by_name = {row.name: build_config({"extends": "plain"}, row.changes) for row in rows}
    files = {"PAPER": "simonyan2013", "RECIPE": "default", "FAST": "fast"}
    for name, file in files.items():
        ours = by_name[getattr(ablation_steps, name)]
        theirs = load_config(file)
        # Of these networks, auto is layercam_fusion without named layers.
        dumped = ours.saliency.model_dump(exclude={"method", "layers"})
        assert dumped == theirs.saliency.model_dump(exclude={"method"})
        # The ablation is of boxes: a recipe's own cut for the box, where it has one.
        cut = theirs.localize.box or theirs.localize
        assert all(
            getattr(ours.localize, option) == getattr(cut, option)
            for option in CutOptions.model_fields
        )


def test_each_step_of_the_path_changes_one_thing(rows):
    path = [row for row in rows if row.section == "path"]
    for row in path[1:]:
        before = next(one for one in path if one.name == row.against)
        changed = {change.split("=")[0] for change in set(row.changes) ^ set(before.changes)}
        stages = {key.rpartition(".")[0] for key in changed}
        assert len(changed) == 1 or row.name in (
            "the upper 40 % as probable foreground",
            "seeds around Otsu's threshold",
            "with the last layer: LayerCAM",
        ), (row.name, stages)


def test_an_images_part_in_the_ablations_figures_averages_to_them():
    iou = np.random.default_rng(0).random(30)
    parts = ablation.by_figure(iou)
    values = {figure.name: figure.value for figure in known_estimates(iou)}
    for name, each in parts.items():
        assert each.mean() == pytest.approx(values[name])


@pytest.mark.slow
def test_the_ablation_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    step = ablation_steps.Step
    write_dataset(tmp_path / "data", count=3, seed=4)
    small = ("saliency.method=gradient", "localize.working_size=48")
    rows = [
        step("plain", "path", None, small),
        step(
            "one round",
            "path",
            "plain",
            (*small, "localize.refine={method: grabcut, iterations: 1}"),
        ),
        step("grad-cam", "tried", "plain", ("saliency.method=grad_cam", *small[1:])),
    ]
    monkeypatch.setattr(ablation, "steps", lambda _: rows)
    sets = [f"data.root={tmp_path / 'data'}", "model.source=demo", "model.architecture=null"]
    overrides = [part for each in sets for part in ("--set", each)]
    command = ["ablation.py", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*command, *overrides])
    ablation.main()
    path = tmp_path / "out" / "ablation-demo.json"
    first = json.loads(path.read_text())
    stores = sorted(each.name for each in (tmp_path / "work").iterdir())
    assert stores == ["method-grad_cam", "method-gradient"]
    found = {row["name"]: row for row in first["rows"]}
    for name in ("one round", "grad-cam"):
        for key, figure in found[name]["differences"].items():
            own, other = (found[of]["figures"][key]["value"] for of in (name, "plain"))
            assert figure["value"] == pytest.approx(own - other)
    times = {each: each.stat().st_mtime_ns for each in (tmp_path / "work").rglob("*.np?")}
    ablation.main()
    assert json.loads(path.read_text())["rows"] == first["rows"]
    assert {each: each.stat().st_mtime_ns for each in times} == times
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "| one round |" in text
    assert "| Tried beside the recipe (n = 3) |" in text
    assert text.splitlines()[0] in capsys.readouterr().out


def failures_table(boxes, true, iou):
    kinds = ["right" if each >= 0.5 else "shifted" for each in iou]
    return pd.DataFrame(
        {
            "found": [np.array(box, dtype=float) for box in boxes],
            "true": [np.array(each, dtype=float) for each in true],
            "iou": iou,
            "kind": kinds,
        }
    )


def test_what_would_mend_a_wrong_box():
    none = [np.nan] * 4
    table = failures_table(
        boxes=[(40, 40, 60, 60), (0, 0, 40, 40), (0, 0, 50, 100), none, (0, 0, 10, 10)],
        true=[
            [(30, 30, 70, 70)],  # a quarter of its area, in its middle
            [(30, 30, 70, 70)],  # of its size, elsewhere
            [(0, 0, 20, 100), (25, 0, 50, 100)],  # both instances at once: IoU 0.5 with neither
            [(0, 0, 10, 10)],  # no box: nothing to mend
            [(0, 0, 10, 10)],  # right
        ],
        iou=[0.25, 0.03, 0.49, 0.0, 1.0],
    )
    found = {name: each.tolist() for name, each in failures.mended(table).items()}
    assert found["wrong"] == [True, True, True, True, False]
    assert found["missed narrowly: IoU of 0.4 to 0.5"] == [False, False, True, False, False]
    by_area = "right if its area were known (center and shape kept)"
    assert found[by_area] == [True, False, False, False, False]
    assert found["right if its size were known (center kept)"][:2] == [True, False]
    assert found["right if its center were known (size kept)"][:2] == [False, True]
    together = found["right if all instances were one object"]
    assert together == [False, False, True, False, False]


def test_counts_of_a_group():
    table = pd.DataFrame({"kind": ["right", "part", "part"], "iou": [0.9, 0.3, 0.3]})
    found = failures.group(table)
    assert (found["n"], found["right"]) == (3, 1 / 3)
    assert found["kinds"]["part"] == 2
    assert found["kinds"]["background"] == 0
    assert found["mean_iou"] == pytest.approx(0.5)


def method(name, value, seconds):
    figures = {
        key: {"value": value, "low": value - 0.05, "high": value + 0.05}
        for key in ("gt_known_0.5", "gt_known_mean")
    }
    cost = dict.fromkeys(("low", "median", "high"), seconds) if seconds else None
    return {"name": name, "seconds": cost, "figures": figures}


def test_the_cost_curve_is_drawn_and_laid_out(tmp_path, monkeypatch):
    content = {
        "classifier": "small net.pth",
        "test": "drawn, subset 2/2",
        "n": 9,
        "images": 2,
        **dict.fromkeys(("command", "commit", "date", "machine"), "x"),
        "methods": [
            method("default", 0.7, 0.2),
            method("plain gradient + GrabCut", 0.5, 0.4),
            method("CAM, best threshold for IoU 0.5", 0.6, 0.1),
            method("centered box for the mean of three IoUs and IoU 0.5", 0.55, None),
        ],
    }
    (tmp_path / "cost-small.json").write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["cost_curve.py", "--out", str(tmp_path)])
    cost_curve.main()
    text = (tmp_path / "cost_curve.md").read_text()
    assert "| default | 0.200 (0.200 to 0.200) | 0.50 | 70.0 (65.0 to 75.0) |" in text
    assert (tmp_path / "cost_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "figure", "shown"),
    [
        ("CAM, best threshold for IoU 0.5", "gt_known_0.5", True),
        ("CAM, best threshold for IoU 0.5", "gt_known_mean", False),
        ("centered box for the mean of three IoUs", "gt_known_0.5", False),
        ("centered box for the mean of three IoUs and IoU 0.5", "gt_known_0.5", True),
        ("default", "gt_known_mean", True),
    ],
)
def test_what_was_tuned_for_a_figure_stands_in_its_curve(name, figure, shown):
    assert cost_curve.for_objective(name, figure) is shown


def test_all_methods_are_timed_on_the_same_images(tmp_path):
    write_dataset(tmp_path, count=2, seed=4)
    config = build_config({"extends": "plain", "model": {"source": "demo", "architecture": None}})
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"root": tmp_path, "format": "ilsvrc"})}
    )
    dataset = cost_curve.open_dataset(config.data, CATEGORIES)
    methods = {
        "a": config,
        "b": build_config({"extends": "plain", "saliency": {"method": "grad_cam"}}),
    }
    found = cost_curve.time_all(methods, load_classifier("demo"), dataset, 5)
    assert set(found) == {"a", "b"}
    assert all(0 < one["low"] <= one["median"] <= one["high"] for one in found.values())


@pytest.mark.slow
def test_the_demos_masks_are_scored_as_the_demo_scores_them(tmp_path):
    plan = DemoPlan(tmp_path, count=3, seed=4)
    plan.draw()
    run_dataset(plan.config, plan.run)
    classifier = load_classifier("demo")
    found = demo_masks.judge(plan.data, classifier, plan.config, 4)
    assert plan.score_masks() == mean_estimate("mask_iou", found[:, 0])
    figures = demo_masks.figures(found, found)
    assert figures["recipe_minus_this"]["value"] == 0
    right = proportion_estimate("gt_known_0.5", found[:, 1] >= 0.5)
    assert figures["gt_known_0.5"] == right.to_json()
