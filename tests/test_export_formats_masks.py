from __future__ import annotations

import csv

import numpy as np
from export_cases import expected_masks, export, hard_predictions, write_run
from PIL import Image


def test_masks_come_back(tmp_path):
    predictions = hard_predictions()
    run = write_run(tmp_path / "run", predictions)
    summary = export(run, "masks", tmp_path / "out", classes="all")
    expected, seen = expected_masks(predictions), set()
    with (tmp_path / "out/masks.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["image_id"], int(row["label"]))
            seen.add(key)
            picture = Image.open(tmp_path / "out" / row["file"])
            assert picture.mode == "L"
            assert np.array_equal(np.array(picture), expected[key].mask * 255)
            if expected[key].box is not None:
                assert tuple(float(row[name]) for name in ("x0", "y0", "x1", "y1")) == (
                    expected[key].box
                )
    assert seen == set(expected)
    assert summary.masks == len(expected) == len(list((tmp_path / "out/masks").iterdir()))
