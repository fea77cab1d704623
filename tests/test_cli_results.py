"""The commands on finished runs: what is wrong or mixed is refused in one clear line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import wsl_here

from wsl import cli
from wsl.config.options import choices
from wsl.demo.draw import write_dataset
from wsl.run.config import build_config
from wsl.run.runner import run_dataset
from wsl.score.protocols import ProtocolOptions


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs over four drawn images and over three of them, and the images of another drawing."""
    root = tmp_path_factory.mktemp("runs")
    write_dataset(root / "data", count=4, seed=0)
    write_dataset(root / "other", count=4, seed=1)
    for name, limit in (("four", None), ("three", 3)):
        config = build_config(
            {
                "extends": "plain",
                "data": {"format": "ilsvrc", "root": str(root / "data"), "limit": limit},
                "model": {"source": "demo", "architecture": None},
                "classes": {"select": "both", "top_k": 1},
                "localize": {"working_size": 32, "refine": {"method": "grabcut", "iterations": 1}},
                "run": {"workers": 1},
            }
        )
        run_dataset(config, root / name)
    return root


@pytest.fixture
def refused(monkeypatch, capsys):
    """Call the command, which must end with status 1 and one line; return the line."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["wsl", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("wsl: error: ")
        return line

    return call


def test_runs_over_different_lists(runs, refused, tmp_path):
    line = refused("report", runs / "four", runs / "three", "--pictures", 0, "--out", tmp_path)
    assert "runs 'four' and 'three' must be over the same images, but 1 are only in 'four'" in line
    assert not list(tmp_path.iterdir())


def test_annotations_of_other_images(runs, refused, tmp_path):
    other = tmp_path / "other"
    (runs / "other").rename(other)
    for path in other.rglob("*00000002*"):
        path.rename(path.with_name(path.name.replace("00000002", "00000009")))
    for path in [*other.rglob("*.txt"), *other.rglob("*.csv")]:
        path.write_text(path.read_text().replace("00000002", "00000009"))
    line = refused("score", runs / "four", "--set", f"data.root={other}")
    assert "DEMO_val_00000002" in line


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        (np.full((224, 224), 2.0), r"must be in [0, 1], but goes from 2 to 2"),
        (np.full((224, 224), np.nan), "must be finite, but holds NaN"),
        (np.zeros((224, 224, 3)), "must have shape (height, width)"),
        (None, "has no map of 4 of the 4 images"),
    ],
    ids=["range", "nan", "color", "absent"],
)
def test_maps_of_other_tools(runs, refused, tmp_path, map_, message):
    if map_ is not None:
        for number in range(1, 5):
            np.save(tmp_path / f"DEMO_val_{number:08d}.npy", map_)
    line = refused(
        *("score", runs / "four", "--protocol", "max_box_acc", "--set", f"score.maps={tmp_path}")
    )
    assert message in line
    assert "DEMO_val_0000000" in line


def test_options_that_a_protocol_does_not_have(runs, refused):
    for protocol, key in (("ilsvrc", "step"), ("max_box_acc", "alpha"), ("mask_iou", "blacklist")):
        line = refused("score", runs / "four", "--protocol", protocol, "--set", f"score.{key}=1")
        assert key in line
        assert protocol in line
    line = refused("score", runs / "four", "--protocol", "max_box_ac")
    assert "Did you mean max_box_acc" in line


def test_protocols_are_listed_from_their_classes():
    lines = wsl_here("score", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(choices(ProtocolOptions))
    assert all(len(line.split()) > 3 for line in lines)


def test_stored_maps_need_a_dataset_and_no_run(runs, refused, tmp_path):
    assert "name a run, or the dataset" in refused(
        "score", "--protocol", "pxap", "--maps", tmp_path
    )
    line = refused("score", runs / "four", "--data", "voc")
    assert "--data and --root go without a run" in line
    line = refused("score", "--data", "ilsvrc", "--root", runs / "data", "--set", "model.source=x")
    assert "without a run, --set takes data.… and score.…, but got 'model.source=x'" in line
    line = refused("score", "--data", "ilsvrc", "--root", runs / "data")
    assert "the protocol ilsvrc scores a run" in line


def test_what_is_no_run(refused, tmp_path):
    for command in (["score"], ["report"], ["export", "--format", "coco", "--out", tmp_path / "x"]):
        assert f"{tmp_path} " in refused(command[0], tmp_path, *command[1:])
    assert not (tmp_path / "x").exists()


def test_an_export_into_the_folder_of_another(runs, refused, tmp_path, capsys, monkeypatch):
    out: Path = tmp_path / "coco"
    monkeypatch.setattr(
        sys, "argv", ["wsl", "export", str(runs / "four"), "--format", "coco", "--out", str(out)]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    capsys.readouterr()
    line = refused("export", runs / "three", "--format", "coco", "--out", out)
    assert "holds another export (it differs in run)" in line
    line = refused("export", runs / "four", "--format", "coko", "--out", tmp_path / "other")
    assert "Did you mean coco?" in line


def test_corrected_in_label_studio_scored_again_and_exported_again(
    runs, tmp_path, capsys, monkeypatch
):
    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["wsl", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    run, new = runs / "four", tmp_path / "new"
    call("export", run, "--format", "label_studio", "--out", tmp_path / "ls")
    tasks = json.loads((tmp_path / "ls/tasks-00000.json").read_text())
    for task in tasks:
        result = [region for one in task["predictions"] for region in one["result"]]
        task["annotations"] = [{"result": result}]
    tasks[0]["annotations"][0]["result"][0]["value"] |= {"x": 0, "width": 50}  # its box
    (tmp_path / "corrected.json").write_text(json.dumps(tasks))
    told = call("import", run, tmp_path / "corrected.json", "--out", new)
    assert "4 of 4 images were corrected" in told
    assert "3 unchanged, 1 changed, 0 added" in told
    truth = f"data.annotations={new / 'annotations/instances_corrected.json'}"
    images = f"data.root={runs / 'data'}"
    estimates = {}
    for folder in (run, new):
        call("score", folder, "--set", "data.format=coco", "--set", truth, "--set", images)
        scores = json.loads((folder / "scores.json").read_text())
        estimates[folder.name] = scores["estimates"]["mean_iou"]["value"]
    assert estimates["four"] < estimates["new"] == 1
    assert "coco: 4 localizations" in call(
        "export", new, "--format", "coco", "--out", tmp_path / "coco"
    )


def test_formats_are_listed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wsl", "export", "--list"])
    with pytest.raises(SystemExit):
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("coco          COCO ")
