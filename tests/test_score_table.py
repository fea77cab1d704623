"""Scores in the terminal and as JSON."""

import io
import json

from rich.console import Console

from wsl.score.estimates import mean_estimate, proportion_estimate
from wsl.score.result import SCHEMA, Baseline, Curve, Scores
from wsl.score.table import scores_table


def example():
    return Scores(
        protocol="ilsvrc",
        dataset="drawn [val]",
        estimates=(
            proportion_estimate(
                "localization_error_top1", [True] * 2 + [False], higher_is_better=False
            ),
            mean_estimate("mean_iou", [0.25, 0.5, 0.25]),
        ),
        baselines=(Baseline("whole image", "all of it", (mean_estimate("mean_iou", [0.5] * 3),)),),
        counts={"listed": 4, "scored": 3, "failed": 0, "classes": 0, "pairs": 1},
        omitted={"a_top5": "fewer classes", "b_top5": "fewer classes"},
        notes=("the threshold was chosen elsewhere",),
        excluded=(("[bold]x", "it has no label"),),
        curves={"mean_iou": Curve("alpha", (0.0, 0.1), (0.2, 1 / 3), 0.1)},
    )


def printed(scores, *, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(scores_table(scores))
    return stream.getvalue()


def test_table_shows_everything():
    text = printed(example())
    line = next(line for line in text.splitlines() if "localization error top1" in line)
    assert "66.67" in line
    assert "20.77 to 93.85" in line
    assert "↓" in line
    line = next(line for line in text.splitlines() if "mean iou" in line)
    assert "33.33" in line
    assert "50.00" in line
    assert "↑" in line
    assert "images: 4 listed, 3 scored, 0 failed, 1 pairs" in text
    assert "whole image: all of it" in text
    assert "without a_top5, b_top5: fewer classes" in text
    assert "the threshold was chosen elsewhere" in text
    assert "left out: 1, the first '[bold]x': it has no label" in text
    assert "drawn [val]" in text


def test_json_rounds_nothing():
    scores = example()
    read = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert read["schema"] == SCHEMA
    estimate = scores.estimate("localization_error_top1")
    assert read["estimates"]["localization_error_top1"] == estimate.to_json()
    assert read["estimates"]["localization_error_top1"]["value"] == 2 / 3
    assert read["baselines"][0]["estimates"]["mean_iou"]["value"] == 0.5
    assert read["counts"]["pairs"] == 1
    assert read["omitted"]["a_top5"] == "fewer classes"
    assert read["excluded"] == [{"image_id": "[bold]x", "reason": "it has no label"}]
    curve = {"x_name": "alpha", "x": [0.0, 0.1], "y": [0.2, 1 / 3], "chosen": 0.1}
    assert read["curves"] == {"mean_iou": curve}
    assert read["notes"] == ["the threshold was chosen elsewhere"]
