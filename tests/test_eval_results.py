"""The script that makes the results page, on the drawn dataset with the bundled classifier."""

import csv
import json
import sys

import pytest

from eval.figures import results as script
from wsl.demo.draw import write_dataset
from wsl.errors import ConfigError

SMALL = (
    "saliency: {method: gradient, views: {input_sizes: []}}\n"
    "localize:\n"
    "  working_size: 48\n"
    "  box: null\n"
    "  boundary: null\n"
    "  refine: {method: grabcut, iterations: 1}\n"
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_dataset(folder / "data", count=4, seed=1)
    (folder / "small.yaml").write_text(SMALL)
    (folder / "both.yaml").write_text(
        f"{SMALL}models:\n  - {{source: demo}}\n  - {{source: demo}}\n"
    )
    return folder


def made(work, monkeypatch):
    arguments = [
        "results", "--work", str(work / "work"), "--out", str(work / "out"), "--part", "1/1",
        "--timed", "1", "--model", "demo", "--recipe", str(work / "both.yaml"),
        "--recipe", str(work / "small.yaml"), "--set", f"data.root={work / 'data'}",
        "--set", "run.workers=1",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    return json.loads((work / "out" / "results.json").read_text())


def test_the_page_has_a_row_for_each_classifier_and_recipe_and_two_baselines(work, monkeypatch):
    content = made(work, monkeypatch)
    both, single, whole, center = content["rows"]
    assert [both["classifier"], single["classifier"]] == ["demo + demo", "demo"]
    assert [both["recipe"], single["recipe"]] == ["both", "small"]
    assert both["figures"] == single["figures"]
    assert whole["recipe"] == "whole image"
    assert center["recipe"].startswith("centered box of 0.75")
    assert {figure["n"] for row in content["rows"] for figure in row["figures"].values()} == {4}
    assert both["seconds"]["median"] > 0
    page = (work / "out" / "results.md").read_text()
    assert page.count("\n| ") == 6  # the header, its rule, and the rows
    with (work / "out" / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = [float(line["gt_known_0.5"]) for line in lines]
    assert found == [
        round(100 * row["figures"]["gt_known_0.5"]["value"], 2) for row in content["rows"]
    ]
    assert lines[2]["localization_error_top5"] == ""


def test_the_same_command_goes_on(work, monkeypatch):
    first = made(work, monkeypatch)
    parts = sorted((work / "work").rglob("part-*.parquet"))
    before = [path.stat().st_mtime_ns for path in parts]
    again = made(work, monkeypatch)
    assert [path.stat().st_mtime_ns for path in parts] == before
    assert again["rows"] == first["rows"]


def test_checkpoints_are_found_by_the_networks_name(tmp_path):
    (tmp_path / "resnet18-own.pth").touch()
    (tmp_path / "resnet18_wide-own.pth").touch()
    (tmp_path / "resnet50-a.pth").touch()
    (tmp_path / "resnet50.pth").touch()
    found = script.checkpointed({"architecture": "resnet18"}, tmp_path)
    assert found == {
        "architecture": "resnet18", "checkpoint": str(tmp_path / "resnet18-own.pth"),
    }  # fmt: skip
    assert script.checkpointed({"architecture": "vgg16"}, tmp_path) == {"architecture": "vgg16"}
    assert script.checkpointed({"source": "demo"}, tmp_path) == {"source": "demo"}
    assert script.checkpointed({"architecture": "vgg16"}, None) == {"architecture": "vgg16"}
    with pytest.raises(ConfigError, match="must hold one checkpoint of resnet50, but holds 2"):
        script.checkpointed({"architecture": "resnet50"}, tmp_path)
