"""Runs opened again: their configuration, their dataset, and what their reports are made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wsl.demo.draw import write_dataset
from wsl.errors import DataError, ScoreError
from wsl.report.from_run import report_run
from wsl.report.tables import write_tables
from wsl.run.config import build_config
from wsl.run.opened import open_run
from wsl.run.runner import run_dataset
from wsl.score.protocols.ilsvrc import IlsvrcOptions

COUNT = 6
SEED = 5
"""One of these images the demo's classifier takes for something else."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, count=COUNT, seed=SEED)
    return root


@pytest.fixture(scope="module")
def run_of(data, tmp_path_factory):
    """Make runs of the drawn dataset: which classes, where."""

    def make(select: str) -> Path:
        config = build_config(
            {
                "extends": "plain",
                "data": {"format": "ilsvrc", "root": str(data)},
                "model": {"source": "demo", "architecture": None},
                "classes": {"select": select, "top_k": 2},
                "localize": {"working_size": 32, "refine": {"method": "grabcut", "iterations": 1}},
                "run": {"workers": 1},
            }
        )
        out = tmp_path_factory.mktemp("runs") / select
        run_dataset(config, out)
        return out

    return make


@pytest.fixture(scope="module")
def both(run_of):
    return run_of("both")


def test_a_run_of_guesses_and_labels_is_judged_both_ways(both):
    described = report_run(open_run(both))
    assert described.name == "both"
    assert described.diagnosis.metric == "gt_known"
    assert described.top1_diagnosis.metric == "top1"
    assert set(described.diagnosis.kinds) == set(described.top1_diagnosis.kinds)
    assert any("wrong_class" in kind for kind in described.top1_diagnosis.kinds.values())
    assert len(described.quality) == COUNT
    assert described.facts["images"] == COUNT
    assert described.config["classes"]["select"] == "both"


def test_a_run_of_the_labels_alone_has_no_first_guesses(run_of):
    described = report_run(open_run(run_of("ground_truth")), pictures=False)
    assert described.diagnosis.metric == "gt_known"
    assert described.top1_diagnosis is None
    assert "localization_error_top1" in described.scores.omitted
    assert described.steps is None


def test_the_steps_are_those_of_the_class_that_is_scored(both):
    described = report_run(open_run(both))
    rows = {row["image_id"]: row for row in open_run(both).folder.read().to_pylist()
            if row["is_ground_truth"]}  # fmt: skip
    for image_id, row in rows.items():
        steps = described.steps(image_id)
        assert steps.image.shape == (row["height"], row["width"], 3)
        box = tuple(row[name] for name in ("x0", "y0", "x1", "y1"))
        assert (steps.box or (None,) * 4) == pytest.approx(box)
        assert steps.gt_boxes


def test_a_dataset_that_has_moved_is_found_where_it_is_now(both, data, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    opened = open_run(both, [f"data.root={moved}"])
    assert opened.dataset.sample(0).path.is_relative_to(moved)
    with pytest.raises(DataError, match="nowhere"):
        open_run(both, [f"data.root={tmp_path / 'nowhere'}"])


def test_runs_over_other_images_stand_in_no_report(both, tmp_path):
    described = report_run(open_run(both), pictures=False)
    fewer = described.scores.per_image.iloc[1:]
    other = replace(
        described,
        scores=replace(described.scores, per_image=fewer),
        diagnosis=None,
        top1_diagnosis=None,
        quality=None,
    )
    with pytest.raises(ScoreError, match="must be over the same images, but 1 are only in 'both'"):
        write_tables([described, other], tmp_path / "out", form="json")
    assert not (tmp_path / "out").exists()


def test_a_report_is_scored_with_the_options_of_scores(both):
    opened = open_run(both)
    assert opened.overrides == ()
    options = IlsvrcOptions(center_side=0.5)
    described = report_run(opened, options, pictures=False)
    assert described.scores.baselines[1].name == "centered box 0.5"
    assert described.diagnosis.baselines[1].name == "centered box 0.5"


def test_opening_a_run_needs_no_classifier(both):
    program = (
        "import sys; from pathlib import Path; from wsl.run.opened import open_run; "
        "import wsl.score.protocols, wsl.score.table; open_run(Path(sys.argv[1])); "
        "assert not {'torch', 'torchvision', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(both)], check=True, timeout=120)
