"""Boxes as a table, CSV or Parquet.

::

    OUT/boxes.csv        UTF-8, one line per box under a line of names
    OUT/boxes.parquet    the same columns with their types

Columns: ``image_id, width, height, label, category, category_id, rank, score, quality,
is_ground_truth, x0, y0, x1, y1, mask_area``. ``label`` is the classifier's index from 0,
``category_id`` the dataset's own identifier (a WNID, say; empty if there is none). Boxes are
0-based and half-open: ``x1 - x0`` is the width, and the whole image is ``0, 0, width, height``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from wsl.export.exporter import (
    Context,
    Exporter,
    OptionsT,
    csv_line,
    json_line,
    number_text,
    required_box,
)
from wsl.export.options import ExportOptions, Needs
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = ["CsvExporter", "CsvOptions", "ParquetExporter", "ParquetOptions"]

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


class _TableOptions(ExportOptions):
    """Base of both."""

    @property
    def needs(self) -> Needs:
        """A table has no mask."""
        return "box"


class CsvOptions(_TableOptions):
    """Boxes as CSV."""

    label = "CSV"
    summary = "boxes, scores and qualities as text"

    format: Literal["csv"] = "csv"

    def exporter(self, context: Context) -> CsvExporter:
        """Build the exporter."""
        return CsvExporter(self, context)


class ParquetOptions(_TableOptions):
    """Boxes as Parquet."""

    label = "Parquet"
    summary = "the same table for data frames, with its types"

    format: Literal["parquet"] = "parquet"

    def exporter(self, context: Context) -> ParquetExporter:
        """Build the exporter."""
        return ParquetExporter(self, context)


class _TableExporter(Exporter[OptionsT]):
    """Base of both."""

    names_files = False

    def rows(self, image: Prediction, taken: tuple[Localization, ...]) -> Iterator[dict[str, Any]]:
        """Rows of one image."""
        classes = self.context.classes
        for found in taken:
            x0, y0, x1, y1 = required_box(found)
            yield {
                "image_id": image.image_id,
                "width": found.size[1],
                "height": found.size[0],
                "label": found.label,
                "category": classes.name(found.label),
                "category_id": classes.id(found.label),
                "rank": found.rank,
                "score": found.score,
                "quality": found.quality,
                "is_ground_truth": found.is_ground_truth,
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "mask_area": found.run_lengths.area,
            }


class CsvExporter(_TableExporter[CsvOptions]):
    """Boxes as CSV."""

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Add an image's lines; see `Exporter.image`."""
        for row in self.rows(image, taken):
            values = (number_text(v) if isinstance(v, float) else v for v in row.values())
            chunk.line("boxes", csv_line(values))
        return len(taken)

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the file."""
        staging.text_file("boxes.csv", "boxes", head=[csv_line(SCHEMA.names)])
        return ["boxes.csv"]


class ParquetExporter(_TableExporter[ParquetOptions]):
    """Boxes as Parquet."""

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Add an image's rows; see `Exporter.image`."""
        for row in self.rows(image, taken):
            chunk.line("boxes", json_line(row))
        return len(taken)

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the file, some thousand rows at a time."""
        lines = staging.lines("boxes")
        with (
            staging.whole_file("boxes.parquet") as file,
            pq.ParquetWriter(file, SCHEMA, compression="zstd", write_page_checksum=True) as writer,
        ):
            while rows := [json.loads(line) for line in islice(lines, ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        return ["boxes.parquet"]
