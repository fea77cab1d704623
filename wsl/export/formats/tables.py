"""Boxes as a table, CSV or Parquet.

::

    OUT/boxes.csv        UTF-8, one line per box under a line of names
    OUT/boxes.parquet    the same columns with their types

Columns: ``image_id, width, height, label, category, category_id, rank, score, quality,
is_ground_truth, x0, y0, x1, y1, mask_area``. ``label`` is the classifier's index from 0,
``category_id`` the dataset's own identifier (such as a WNID; empty if there is none). Boxes are
0-based and half-open: ``x1 - x0`` is the width, and the whole image is ``0, 0, width, height``.
In CSV files of all formats, a text that a spreadsheet could take for a formula has an apostrophe in
front (`wsl.storage.plain_cell`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from wsl.export.base import (
    Context,
    ExportFormat,
    Needs,
    csv_line,
    json_line,
    number_text,
    required_box,
)
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("category_id", pa.string()),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("quality", pa.float64()),
        pa.field("is_ground_truth", pa.bool_(), nullable=False),
        pa.field("x0", pa.float64(), nullable=False),
        pa.field("y0", pa.float64(), nullable=False),
        pa.field("x1", pa.float64(), nullable=False),
        pa.field("y1", pa.float64(), nullable=False),
        pa.field("mask_area", pa.int64(), nullable=False),
    ]
)
ROW_GROUP = 2_000


class _TableFormat(ExportFormat):
    """Base of both."""

    names_files = False

    @property
    def needs(self) -> Needs:
        """Return box: a table has no mask."""
        return "box"

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Add an image's rows; see `ExportFormat.write_image`."""
        for found in image.localizations:
            height, width = found.size
            row = [image.image_id, width, height, found.label]
            row += [context.classes.name(found.label), context.classes.id(found.label)]
            row += [found.rank, found.score, found.quality, found.is_ground_truth]
            chunk.line("boxes", json_line([*row, *required_box(found), found.run_lengths.area]))
        return len(image.localizations)


def _rows(staging: Staging) -> Iterator[dict[str, Any]]:
    for line in staging.lines("boxes"):
        yield dict(zip(SCHEMA.names, json.loads(line), strict=True))


class CsvFormat(_TableFormat):
    """Boxes as CSV."""

    label = "CSV"
    summary = "boxes, scores and qualities as text"

    format: Literal["csv"] = "csv"

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the file."""
        with staging.whole_file("boxes.csv") as file:
            file.write(f"{csv_line(SCHEMA.names)}\n".encode())
            for row in _rows(staging):
                values = (number_text(v) if isinstance(v, float) else v for v in row.values())
                file.write(f"{csv_line(values)}\n".encode())
        return ["boxes.csv"]


class ParquetFormat(_TableFormat):
    """Boxes as Parquet."""

    label = "Parquet"
    summary = "the same table for data frames, with its types"

    format: Literal["parquet"] = "parquet"

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the file, some thousand rows at a time."""
        rows = _rows(staging)
        with (
            staging.whole_file("boxes.parquet") as file,
            pq.ParquetWriter(file, SCHEMA, compression="zstd", write_page_checksum=True) as writer,
        ):
            while group := list(islice(rows, ROW_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
        return ["boxes.parquet"]
