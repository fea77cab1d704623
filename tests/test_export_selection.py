from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from export_cases import EMPTY, LEFT, RIGHT, export, found, image, write_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsl.errors import ConfigError
from wsl.export.selection import quality_thresholds

PREDICTIONS = [
    image("a", found(LEFT, 0, score=0.9, quality=0.9), found(RIGHT, 1, rank=2, score=0.1)),
    image("b", found(LEFT, 0, score=0.2, quality=0.1)),
    image("c", found(LEFT, 1, score=0.5, quality=0.4)),
    image("d", found(LEFT, 1, score=0.7, quality=None)),
    image("e", found(EMPTY, 1, score=0.8, quality=0.0)),
    image("f", found(LEFT, 2, score=0.3, quality=0.2, truth=False)),
]


def exported(tmp_path, predictions=PREDICTIONS, **options):
    run = write_run(tmp_path / "run", predictions)
    summary = export(run, "csv", tmp_path / "out", **options)
    frame = pd.read_csv(tmp_path / "out/boxes.csv")
    return [f"{row.image_id}{row.label}" for row in frame.itertuples()], summary


@pytest.mark.parametrize(
    ("options", "kept", "left_out"),
    [
        ({}, ["a0", "a1", "b0", "c1", "d1"], {"nothing found": 1}),
        ({"classes": "top1"}, ["a0", "b0", "c1", "d1", "f2"], {"nothing found": 1}),
        ({"classes": "all"}, ["a0", "a1", "b0", "c1", "d1", "f2"], {"nothing found": 1}),
        ({"min_score": 0.5}, ["a0", "c1", "d1"], {"nothing found": 1, "score too low": 2}),
        (
            {"min_quality": 0.4},
            ["a0", "a1", "c1"],
            {"nothing found": 1, "quality too low": 2},
        ),
        (
            # Class 0: 0.9, 0.1; class 1: 0.5, 0.4, none.
            {"top_fraction": 0.5},
            ["a0", "a1", "c1"],
            {"nothing found": 1, "not among the best": 2},
        ),
        (
            {"top_fraction": 0.4, "top_fraction_per_class": False},
            ["a0", "a1"],
            {"nothing found": 1, "not among the best": 3},
        ),
        (
            {"top_fraction": 0.5, "min_score": 0.4},
            ["a0", "c1"],
            {"nothing found": 1, "not among the best": 1, "score too low": 2},
        ),
    ],
    ids=["labels", "top1", "all", "score", "quality", "within class", "of all", "both"],
)
def test_selection_worked_by_hand(tmp_path, options, kept, left_out):
    found_rows, summary = exported(tmp_path, **options)
    assert found_rows == kept
    assert summary.left_out == left_out
    assert summary.masks == len(kept)


def test_images_without_a_mask_are_listed_with_the_reason(tmp_path):
    _, summary = exported(tmp_path, min_score=0.3)
    listed = pd.read_csv(tmp_path / "out/without_mask.csv")
    assert dict(zip(listed["image_id"], listed["reason"], strict=True)) == {
        "b": "score too low",
        "e": "nothing found",
        "f": "no localization of the chosen classes",
    }
    assert summary.images_without_mask == 3
    assert summary.images == 6


def test_ties_at_the_limit_are_all_kept(tmp_path):
    predictions = [image(f"i{n}", found(LEFT, quality=0.5)) for n in range(5)]
    kept, _ = exported(tmp_path, predictions, top_fraction=0.2)
    assert len(kept) == 5


def test_without_labels_the_first_class_is_meant(tmp_path):
    predictions = [image("a", found(LEFT, 2, truth=False), found(RIGHT, 0, rank=2, truth=False))]
    kept, summary = exported(tmp_path, predictions)
    assert kept == ["a2"]
    assert summary.classes == "top1"


def test_what_the_run_does_not_have_is_refused(tmp_path):
    predictions = [image("a", found(LEFT, truth=False, quality=None))]
    run = write_run(tmp_path / "run", predictions)
    with pytest.raises(ConfigError, match="classes must be top1 or all"):
        export(run, "csv", tmp_path / "out", classes="ground_truth")
    for key in ("min_quality", "top_fraction"):
        with pytest.raises(ConfigError, match="need qualities"):
            export(run, "csv", tmp_path / "out", **{key: 0.5})


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([-1.0, 0.0, 0.3, 0.5, 1.0])), min_size=1),
    st.floats(0.01, 1),
)
def test_at_least_the_fraction_is_kept_and_nothing_better_is_left(rows, fraction):
    candidates = pd.DataFrame(rows, columns=["label", "quality"])
    thresholds = quality_thresholds(candidates, fraction, per_class=True)
    for label, group in candidates.groupby("label")["quality"]:
        kept = group[group >= thresholds[label]]
        assert len(kept) >= fraction * len(group) - 1e-6
        assert (kept > thresholds[label]).sum() < math.ceil(round(fraction * len(group), 9))


def test_a_fraction_is_not_rounded_up_by_binary_fractions():
    candidates = pd.DataFrame({"label": 0, "quality": np.arange(100.0)})
    assert quality_thresholds(candidates, 0.07, per_class=True).to_dict() == {0: 93.0}


@pytest.mark.parametrize(
    ("chosen", "labels", "kept"),
    [
        ("occurring", ["hen", "tench"], ["a0", "a1", "b0", "c1", "d1"]),
        ("all", ["hen", "tench", "žába & co"], ["a0", "a1", "b0", "c1", "d1"]),
        (("hen", "n3"), ["hen", "žába & co"], ["a1", "c1", "d1"]),
        ("file", ["hen"], ["a1", "c1", "d1"]),
    ],
    ids=["occurring", "all", "named", "file"],
)
def test_the_class_list_says_what_is_named_and_what_goes_in(tmp_path, chosen, labels, kept):
    if chosen == "file":
        chosen = tmp_path / "classes.txt"
        chosen.write_text("hen\n\n", encoding="utf-8")
    rows, summary = exported(tmp_path, class_list=chosen)
    assert rows == kept
    assert summary.left_out.get("not in the class list", 0) == 5 + 1 - len(kept) - 1
    export(tmp_path / "run", "cvat", tmp_path / "cvat", class_list=chosen)
    named = [label["name"] for label in json.loads((tmp_path / "cvat/labels.json").read_text())]
    assert sorted(named) == sorted(labels)


def test_numbers_follow_the_class_list(tmp_path):
    run = write_run(tmp_path / "run", PREDICTIONS)
    export(run, "yolo", tmp_path / "own", class_list=("hen", "tench"))
    assert (tmp_path / "own/labels/train/b.txt").read_text().startswith("1 ")
    assert yaml.safe_load((tmp_path / "own/data.yaml").read_text())["names"] == {
        0: "hen",
        1: "tench",
    }
    summary = export(
        run, "segmentation", tmp_path / "gt", class_list=("hen", "tench"), boundary_ignore=0
    )
    assert set(np.array(Image.open(tmp_path / "gt/labels/c.png")).flat) == {0, 1}
    assert not [note for note in summary.notes if "class_list" in note]
    (note,) = export(run, "segmentation", tmp_path / "x").notes[-1:]
    assert "in the order of the 2 that occur" in note


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("tench", 0), "'tench' is repeated"),
        (("cow",), "there is no class 'cow'"),
        (Path("nowhere.txt"), "cannot read the class list nowhere.txt"),
    ],
    ids=["twice", "unknown", "no file"],
)
def test_a_class_list_that_is_none_is_refused(tmp_path, chosen, message):
    run = write_run(tmp_path / "run", PREDICTIONS)
    with pytest.raises(ConfigError, match=message):
        export(run, "csv", tmp_path / "out", class_list=chosen)
