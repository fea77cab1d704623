"""Predictions on disk: the rows of a part file.

One Parquet file per chunk of images; one row per image and class, or one row with
``status = "failed"`` for an image that could not be processed:

=================  ========  ==============================================================
column             type      meaning
=================  ========  ==============================================================
image_id           string    the dataset's id of the image
width, height      int32     size of the image in pixels; null if it could not be read
status             string    ``ok`` or ``failed``
error              string    why it failed; null where ``ok``
label              int32     class, an index into the classifier's categories
category           string    the class's name
rank               int32     the class's place in the classifier's order, from 1
score              double    the class's probability in [0, 1]
in_top_k           bool      the class is among the classifier's first k
is_ground_truth    bool      the class is the image's label
x0, y0, x1, y1     double    box, 0-based and half-open; null where nothing was found
mask               string    COCO compressed run lengths of the mask (size: height, width)
mask_area          int64     pixels of the mask
quality            double    in [0, 1]; null if not computed
refined            bool      whether GrabCut ran
=================  ========  ==============================================================

All columns from `label` on are null in the row of a failed image. A file is written under a
temporary name and renamed: it is there whole or not at all. Every page carries a checksum, which
is verified on reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wsl.errors import RunError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import encode_rle

__all__ = ["SCHEMA", "prediction_rows", "read_part", "write_part"]

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("category", pa.string()),
        pa.field("rank", pa.int32()),
        pa.field("score", pa.float64()),
        pa.field("in_top_k", pa.bool_()),
        pa.field("is_ground_truth", pa.bool_()),
        pa.field("x0", pa.float64()),
        pa.field("y0", pa.float64()),
        pa.field("x1", pa.float64()),
        pa.field("y1", pa.float64()),
        pa.field("mask", pa.string()),
        pa.field("mask_area", pa.int64()),
        pa.field("quality", pa.float64()),
        pa.field("refined", pa.bool_()),
    ]
)


def prediction_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Rows of one image, as dictionaries by column; missing keys are nulls."""
    height, width = prediction.size or (None, None)
    image = {
        "image_id": prediction.image_id,
        "width": width,
        "height": height,
        "status": prediction.status,
        "error": prediction.error,
    }
    if not prediction.localizations:
        return [image]
    return [image | _localization_row(found) for found in prediction.localizations]


def _localization_row(found: Localization) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box or (None, None, None, None)
    return {
        "label": found.label,
        "category": found.category,
        "rank": found.rank,
        "score": found.score,
        "in_top_k": found.in_top_k,
        "is_ground_truth": found.is_ground_truth,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "mask": encode_rle(found.mask),
        "mask_area": int(found.mask.sum()),
        "quality": found.quality,
        "refined": found.refined,
    }


def write_part(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of a chunk to `path`, whole or not at all."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_part(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of a chunk.

    Raises
    ------
    RunError
        If the file is damaged or of another schema.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.schema_arrow
            if not found.equals(SCHEMA):
                raise RunError(f"{path} holds other columns than predictions do: {found.names}")
            return file.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} cannot be read and must be made again: {error}") from error
