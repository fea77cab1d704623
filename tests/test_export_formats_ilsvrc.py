from __future__ import annotations

import numpy as np
import pytest
from export_cases import CATEGORIES, LEFT, RIGHT, export, found, image, write_run

from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.export.formats.ilsvrc import read_ilsvrc_ids
from wsl.localize.prediction import Prediction

EMPTY = np.zeros((4, 6), dtype=bool)


@pytest.fixture
def ids_file(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("n1 449\n2 n2 hen\nn3,1000\n", encoding="utf-8")
    return path


def lines(tmp_path, predictions, ids_file, **options):
    run = write_run(tmp_path / "run", predictions)
    summary = export(run, "ilsvrc", tmp_path / "out", ilsvrc_map=ids_file, **options)
    return (tmp_path / "out/submission.txt").read_text("ascii").split("\n"), summary


def test_a_line_per_image_in_order_with_inclusive_boxes(tmp_path, ids_file):
    predictions = [
        image("b", found(LEFT, 2, rank=1), found(RIGHT, 0, rank=2)),
        Prediction.failed("failed", "gone"),
        image("a", found(EMPTY, 1)),
        image("c", found(LEFT, 1, box=(0.5, 0, 6, 4))),
    ]
    written, summary = lines(tmp_path, predictions, ids_file)
    assert written == [
        "1000 0 0 3 3 449 2 0 5 3",
        "0 -1 -1 -1 -1",
        "2 -1 -1 -1 -1",
        "2 0.5 0 5 3",
        "",
    ]
    assert summary.notes == ("1 images have no prediction: their line is 0 -1 -1 -1 -1",)
    assert (summary.masks, summary.images_exported) == (4, 4)


def test_at_most_five_groups_and_no_given_class(tmp_path, ids_file):
    names = tuple(f"class {index}" for index in range(8))
    ids_file.write_text("".join(f"w{index} {index + 11}\n" for index in range(8)))
    categories = Categories(names, tuple(f"w{index}" for index in range(8)))
    from dataclasses import replace

    rows = [
        replace(found(LEFT, 0, rank=rank, in_top_k=rank <= 6, truth=rank == 8), label=8 - rank)
        for rank in (8, 6, 5, 4, 3, 2, 1)
    ]
    run = write_run(tmp_path / "run", [image("a", *rows)], categories=categories)
    summary = export(run, "ilsvrc", tmp_path / "out", ilsvrc_map=ids_file)
    written = (tmp_path / "out/submission.txt").read_text()
    assert written.split()[::5] == ["18", "17", "16", "15", "14"]
    assert summary.left_out == {
        "more than five predictions": 1,
        "not among the classifier's top predictions": 1,
    }


def test_the_layout_scores_as_the_run_does(tmp_path, ids_file):
    # A reader as the development kit's: numbers, padded with zeros, groups of five.
    predictions = [image("a", found(LEFT, 0), found(RIGHT, 1, rank=2)), image("b", found(RIGHT, 2))]
    written, _ = lines(tmp_path, predictions, ids_file)
    rows = [list(map(float, line.split())) for line in written if line]
    table = np.zeros((2, 10))
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    assert table[:, 0::5].tolist() == [[449, 2], [1000, 0]]
    assert table[:, 3::5].tolist() == [[3, 5], [5, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n1 449\nn2 2\n", "lacks 1, such as n3"),
        ("n1 449\nn2 449\n", "line 2: n2 or 449 is repeated"),
        ("n1 0\n", "line 1: expected a WNID and an id in 1 to 1000, found 'n1 0'"),
        ("n1\n", "line 1: expected a WNID and an id"),
        ("1 2\n", "line 1: expected a WNID and an id"),
        ("n1 1001\n", "line 1: expected a WNID and an id"),
    ],
)
def test_bad_ids_are_refused(ids_file, text, message):
    ids_file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_ilsvrc_ids(ids_file, CATEGORIES)


def test_no_ids_file_and_no_wnids(tmp_path, ids_file):
    with pytest.raises(ConfigError, match="cannot read the ILSVRC ids"):
        read_ilsvrc_ids(tmp_path / "none.txt", CATEGORIES)
    with pytest.raises(ConfigError, match="needs categories with WNIDs"):
        read_ilsvrc_ids(ids_file, Categories(("a",)))


def test_what_is_no_submission_is_refused(tmp_path, ids_file):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))], expected=2)
    with pytest.raises(ConfigError, match="must have all 2 images, but the run has 1"):
        export(run, "ilsvrc", tmp_path / "out", ilsvrc_map=ids_file, allow_partial=True)
