from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from drawn_runs import EVIL_CLASS, make_run

from wsl.data.categories import Categories
from wsl.errors import ScoreError
from wsl.report.runs import ReportRun, quality_by_image, tabulate


def changed(run: ReportRun, change: Callable[[pd.DataFrame], Any]) -> ReportRun:
    """Return the run with another table of its images."""
    frame = run.scores.per_image.copy()
    frame = change(frame)
    return replace(run, scores=replace(run.scores, per_image=frame))


def set_value(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, column] = value
        return frame

    return change


def test_tabulate_lays_out_what_is_known_of_each_image() -> None:
    (table,) = tabulate([make_run(count=6)])
    row = table.row("drawn_0001")
    scored = table.run.scores.per_image.iloc[1]
    assert table.boxes_of == "ground-truth class"
    assert row["iou"] == scored["gt_iou"]
    assert row["right"] == (scored["gt_iou"] >= 0.5)
    assert row["category"] == EVIL_CLASS
    assert row["quality"] == pytest.approx(0.15)
    assert table.row("drawn_0004")["kind"].startswith("wrong_class")
    assert table.row("drawn_0000")["category"] == "shape 0"  # the first of its synonyms


def test_without_rows_of_the_ground_truth_class_the_top1_prediction_is_scored() -> None:
    run = changed(make_run(count=6), lambda frame: frame.assign(gt_iou=float("nan")))
    (table,) = tabulate([run])
    assert table.boxes_of == "top-1 prediction"
    assert (table.images["iou"] == run.scores.per_image["predicted_iou"].to_numpy()).all()


def test_runs_in_another_order_are_lined_up() -> None:
    first, second = make_run(count=8), make_run(count=8, seed=1, name="other")
    second = changed(second, lambda frame: frame.iloc[::-1])
    tables = tabulate([first, second])
    assert (tables[0].images.index == tables[1].images.index).all()


def test_runs_of_one_name_are_numbered() -> None:
    assert [table.name for table in tabulate([make_run()] * 3)] == [
        "plain",
        "plain (2)",
        "plain (3)",
    ]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (lambda: [], "a report needs at least one run"),
        (
            lambda: [make_run(count=10), make_run(count=12, name="longer")],
            "'plain' and 'longer' must be over the same images, but 2 are only in 'longer', "
            "such as 'drawn_0010'",
        ),
        (
            lambda: [make_run(), changed(make_run(name="b"), set_value("label", 4))],
            "same annotations, but the label of image 'drawn_0000' differ",
        ),
        (
            lambda: [make_run(), changed(make_run(name="b"), set_value("whole_iou", 0.01))],
            "same annotations, but the annotated boxes of image 'drawn_0000' differ",
        ),
        (
            lambda: [changed(make_run(), set_value("gt_iou", 1.5))],
            r"the IoU of run 'plain' must be in \[0, 1\], but is 1.5 for image 'drawn_0000'",
        ),
        (
            lambda: [changed(make_run(), set_value("gt_iou", float("nan")))],
            "must be in .* but is nan for image 'drawn_0000'",
        ),
        (
            lambda: [changed(make_run(), lambda frame: frame.drop(columns="whole_iou"))],
            "must have a column 'whole_iou' per image",
        ),
        (
            lambda: [changed(make_run(), lambda frame: frame.iloc[:0])],
            "run 'plain' has no scored image",
        ),
        (
            lambda: [changed(make_run(), lambda frame: pd.concat([frame, frame.iloc[:1]]))],
            "hold image 'drawn_0000' twice",
        ),
        (
            lambda: [replace(make_run(), quality={"drawn_0000": 2.0})],
            r"the quality of run 'plain' must be in \[0, 1\], but is 2.0 for image 'drawn_0000'",
        ),
        (
            lambda: [replace(make_run(), quality={"other": 0.5})],
            "run 'plain' has no quality for image 'drawn_0000'",
        ),
        (
            lambda: [replace(make_run(count=12), diagnosis=make_run(count=10).diagnosis)],
            "run 'plain' has no error kind for image 'drawn_0010'",
        ),
        (
            lambda: [replace(make_run(), categories=Categories.numbered(2))],
            "label 2 in run 'plain' must be below 2",
        ),
    ],
    ids=[
        *("none", "other images", "other labels", "other boxes", "iou above 1", "iou nan"),
        *("column", "empty", "twice", "quality above 1", "quality of others", "errors of others"),
        "categories",
    ],
)
def test_tabulate_refuses(runs: Callable[[], list[ReportRun]], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        tabulate(runs())


def test_errors_of_two_metrics_are_not_compared() -> None:
    first, second = make_run(), make_run(name="b")
    second = replace(second, diagnosis=replace(second.diagnosis, metric="gt_known"))
    with pytest.raises(ScoreError, match="must be of the same metric, but are of top1 and gt_kn"):
        tabulate([first, second])


def test_quality_is_of_the_ground_truth_class_else_of_the_top1_prediction() -> None:
    rows = pd.DataFrame(
        {
            "image_id": ["a", "a", "b", "b"],
            "rank": [1, 2, 1, 2],
            "is_ground_truth": [False, True, True, False],
            "quality": [0.1, 0.2, 0.3, 0.4],
        }
    )
    assert quality_by_image(rows) == {"a": 0.2, "b": 0.3}
    assert quality_by_image(rows.assign(is_ground_truth=False)) == {"a": 0.1, "b": 0.3}
    assert quality_by_image(rows.assign(quality=None)) is None
