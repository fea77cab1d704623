from __future__ import annotations

import csv

import pandas as pd
import pyarrow.parquet as pq
from export_cases import LEFT, export, found, image, write_run

from wsl.export.formats import tables as tables_module


def exported(tmp_path, predictions, format_, **options) -> pd.DataFrame:
    run = write_run(tmp_path / "run", predictions)
    export(run, format_, tmp_path / format_, **options)
    if format_ == "csv":
        frame = pd.read_csv(tmp_path / "csv/boxes.csv", dtype=str)
        texts = ["image_id", "category", "category_id", "is_ground_truth"]
        # Python's own reading of numbers: pandas' is not exact in the last bit.
        return frame.assign(**{name: frame[name].map(float) for name in frame.columns.drop(texts)})
    return pd.read_parquet(tmp_path / "parquet/boxes.parquet")


def test_fractional_boxes_keep_every_digit(tmp_path):
    box = (0.1, 1 / 3, 5.3, 3.9)
    predictions = [image("a", found(LEFT, box=box))]
    for format_ in ("csv", "parquet"):
        frame = exported(tmp_path / format_, predictions, format_)
        assert tuple(frame.loc[0, ["x0", "y0", "x1", "y1"]]) == box


def test_ids_with_quotes_and_line_breaks(tmp_path):
    ids = ['say "hi", twice', "two\nlines", "=1+1", "@me", "-x", "\tx", "'quoted", "a=b"]
    predictions = [image(image_id, found(LEFT)) for image_id in ids]
    run = write_run(tmp_path / "run", predictions)
    export(run, "csv", tmp_path / "out")
    with (tmp_path / "out/boxes.csv").open(encoding="utf-8", newline="") as file:
        written = [row["image_id"] for row in csv.DictReader(file)]
    assert [text.removeprefix("'") for text in written] == ids
    assert not [text for text in written if text[0] in "=@-\t"]


def test_parquet_is_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_module, "ROW_GROUP", 3)
    predictions = [image(f"i{index}", found(LEFT)) for index in range(8)]
    frame = exported(tmp_path, predictions, "parquet")
    assert list(frame["image_id"]) == [f"i{index}" for index in range(8)]
    with pq.ParquetFile(tmp_path / "parquet/boxes.parquet") as file:
        assert file.num_row_groups == 3
        assert file.schema_arrow.equals(tables_module.SCHEMA)


def test_a_box_without_a_mask_is_a_row(tmp_path):
    from export_cases import EMPTY

    frame = exported(tmp_path, [image("a", found(EMPTY, box=(1, 0, 3, 2)))], "csv")
    assert frame.loc[0, ["x0", "y0", "x1", "y1", "mask_area"]].tolist() == [1, 0, 3, 2, 0]
