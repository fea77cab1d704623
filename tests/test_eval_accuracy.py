"""The script that compares accuracies, on the drawn dataset with the bundled classifier."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.figures import accuracy as script
from wsl.data.open import open_dataset
from wsl.demo.draw import CATEGORIES, write_dataset
from wsl.run.config import load_config
from wsl.run.runner import run_dataset
from wsl.score.estimates import proportion_estimate
from wsl.score.protocols.ilsvrc import score_ilsvrc

ROOT = Path(__file__).parents[1]
METHODS = [
    "own",
    "plain gradient + GrabCut",
    "the paper: ten crops + GrabCut",
    "whole image",
    "centered box for",
    "CAM, usual threshold",
    "CAM, best threshold for",
    "Grad-CAM, usual threshold",
    "Grad-CAM, best threshold for",
]


def accuracy(work, *more):
    return subprocess.run(
        [
            sys.executable, "-m", "eval.figures.accuracy", str(work / "own.yaml"),
            "--work", str(work / "work"), "--out", str(work / "results"),
            "--set", f"data.root={work / 'data'}",
            "--set", "model.source=demo", "--set", "model.architecture=null", *more,
        ],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy")
    write_dataset(folder / "data", count=4, seed=1)
    # A working size that keeps the test short, and GrabCut's first round alone.
    (folder / "own.yaml").write_text(
        "localize:\n"
        "  working_size: 64\n"
        "  refine: {method: grabcut, iterations: 1}\n"
        "  seeds: {smoothing: 0.02}\n"
    )
    return folder


@pytest.mark.slow
def test_the_table_is_of_the_test_part_and_goes_on_where_it_was(work):
    result = accuracy(work)
    assert result.returncode == 0, result.stderr
    path = work / "results" / "accuracy-demo.json"
    found = json.loads(path.read_text())
    names = [method["name"] for method in found["methods"]]
    for name in METHODS:
        assert any(one.startswith(name) for one in names), name
    assert found["test"]["name"] == "ilsvrc val, subset 2/2"
    assert all(
        figure["n"] == 2 for method in found["methods"] for figure in method["figures"].values()
    )
    for name in ("own", "cam-usual-threshold"):
        table = pd.read_csv(work / "work" / "per_image" / f"{name}.csv")
        method = next(m for m in found["methods"] if m["name"].lower().startswith(name[:3]))
        right = proportion_estimate("gt_known_0.5", table["iou"] >= 0.5)
        assert method["figures"]["gt_known_0.5"] == right.to_json()
    best = [m for m in found["methods"] if "best threshold" in m["name"]]
    assert all("on ilsvrc val, subset 1/2 (2 images)" in method["note"] for method in best)
    own = [one for one in found["differences"] if one["method"] == "own"]
    assert {one["as"] for one in own} == {"paper", "best baseline"}
    values = {m["name"]: m["figures"]["mean_iou"]["value"] for m in found["methods"]}
    for one in own:
        if one["name"] == "mean_iou":
            assert one["value"] == pytest.approx(values["own"] - values[one["against"]])
            if one["as"] == "best baseline":
                peers = [v for name, v in values.items() if "GrabCut" not in name and name != "own"]
                assert values[one["against"]] == max(peers)
    parts = sorted((work / "work" / "runs").rglob("part-*.parquet"))
    before = {part: part.stat().st_mtime_ns for part in parts}
    again = accuracy(work)
    assert again.returncode == 0, again.stderr
    assert {part: part.stat().st_mtime_ns for part in parts} == before
    methods = json.loads(path.read_text())["methods"]
    assert [m["figures"] for m in methods] == [m["figures"] for m in found["methods"]]


def test_settings_of_a_method_cannot_be_set_for_all(work):
    result = accuracy(work, "--set", "localize.components=all")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "--set takes keys of data, model and run here, but got localize" in result.stderr


def row(name, kind, ious):
    right = np.ones(len(ious), dtype=bool)
    table = pd.DataFrame({"image_id": [f"i{at}" for at in range(len(ious))], "iou": ious})
    for k in (1, 5):
        table[f"class_right_top{k}"] = right
        table[f"box_right_top{k}"] = table["iou"] >= 0.5
    return script.Row(name, "", kind, table, {})


def test_each_images_values_average_to_the_figure():
    rng = np.random.default_rng(0)
    one = row("one", "peer", rng.random(20))
    for figure in one.figures():
        assert one.values(figure).mean() == pytest.approx(figure.value)


def test_differences_are_to_the_best_baseline_of_each_figure():
    rows = [
        row("own", "configuration", [0.9, 0.6, 0.55, 0.4]),
        row(script.PAPER, "peer", [0.5, 0.5, 0.1, 0.1]),
        row("steady", "baseline", [0.5, 0.5, 0.5, 0.2]),
        row("sharp", "baseline", [0.8, 0.75, 0.1, 0.1]),
    ]
    found = {(one["name"], one["as"]): one for one in script.differences(rows)}
    assert found["gt_known_0.5", "best baseline"]["against"] == "steady"
    assert found["gt_known_0.5", "best baseline"]["value"] == 0
    assert found["gt_known_0.7", "best baseline"]["against"] == "sharp"
    assert found["gt_known_0.7", "best baseline"]["value"] == -0.25
    assert found["localization_error_top1", "best baseline"]["against"] == "steady"
    assert found["localization_error_top1", "paper"]["value"] == -0.25
    assert {one["method"] for one in found.values()} == {"own"}


def test_rows_of_other_images_are_refused():
    rows = [row("a", "peer", [0.5]), row("b", "peer", [0.5, 0.6])]
    with pytest.raises(script.ConfigError, match="b was judged on other images than a"):
        script.check_same_images(rows)


@pytest.fixture
def drawn_run(tmp_path):
    write_dataset(tmp_path / "data", count=10, seed=2)
    config = load_config("demo", [f"data.root={tmp_path / 'data'}"])
    localize = config.localize.model_copy(update={"quality": False})
    summary = run_dataset(config.model_copy(update={"localize": localize}), tmp_path / "run")
    dataset = open_dataset(config.data, CATEGORIES)
    return summary.folder.read().to_pandas(), dataset


@pytest.mark.slow
def test_the_labels_box_alone_tells_the_localization_error(drawn_run):
    predictions, dataset = drawn_run
    whole = score_ilsvrc(predictions, dataset).per_image
    alone = predictions[predictions["is_ground_truth"]]
    found = script.right_by_rank(score_ilsvrc(alone, dataset).per_image)
    for column in [f"{what}_right_top{k}" for what in ("class", "box") for k in (1, 5)]:
        assert found[column].tolist() == whole[column].tolist()
    assert 0 < found["box_right_top5"].sum() < found["class_right_top5"].sum()


def test_an_image_that_failed_is_wrong():
    one = pd.DataFrame({"image_id": ["a", "b"], "gt_rank": [np.nan, 3.0], "gt_iou": [0.0, 0.5]})
    found = script.right_by_rank(one)
    assert found["class_right_top5"].tolist() == [False, True]
    assert found["box_right_top5"].tolist() == [False, True]
    assert found["class_right_top1"].tolist() == [False, False]
