from __future__ import annotations

import math

import pandas as pd
import pytest
from export_cases import EMPTY, LEFT, RIGHT, found, image, write_run
from hypothesis import given
from hypothesis import strategies as st

from wsl.errors import ConfigError
from wsl.export.export import export_run
from wsl.export.options import ExportOptions
from wsl.export.selection import _Candidates, _thresholds

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
    summary = export_run(run, "csv", tmp_path / "out", ExportOptions(**options))
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
            {"top_fraction": 0.4, "keep_best_within": "all"},
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
        export_run(run, "csv", tmp_path / "out", ExportOptions(classes="ground_truth"))
    for options in (ExportOptions(min_quality=0.1), ExportOptions(top_fraction=0.5)):
        with pytest.raises(ConfigError, match="need qualities"):
            export_run(run, "csv", tmp_path / "out", options)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([-1.0, 0.0, 0.3, 0.5, 1.0])), min_size=1),
    st.floats(0.01, 1),
)
def test_at_least_the_share_is_kept_and_nothing_better_is_left(rows, share):
    candidates = _Candidates([label for label, _ in rows], [quality for _, quality in rows])
    thresholds = _thresholds(candidates, share, within_class=True)
    for label in {label for label, _ in rows}:
        group = [quality for other, quality in rows if other == label]
        kept = [quality for quality in group if quality >= thresholds[label]]
        assert len(kept) >= share * len(group) - 1e-6
        above = [quality for quality in kept if quality > thresholds[label]]
        assert len(above) < math.ceil(round(share * len(group), 9))


def test_a_share_is_not_rounded_up_by_binary_fractions():
    candidates = _Candidates([0] * 100, [float(number) for number in range(100)])
    assert _thresholds(candidates, 0.07, within_class=True) == {0: 93.0}
