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

Maps, where they are stored, are in one NumPy archive per chunk, one array per image and class
under the key ``IMAGE_ID|LABEL``: float16 of the working size, divided by the map's maximum.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsl.errors import RunError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import encode_rle

__all__ = [
    "SCHEMA",
    "map_key",
    "prediction_rows",
    "read_maps",
    "read_part",
    "stored_map",
    "write_maps",
    "write_part",
]

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


def map_key(image_id: str, label: int) -> str:
    """Name of a map in its archive."""
    return f"{image_id}|{label}"


def stored_map(saliency: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return a map as it is stored: its maximum 1, so that float16 has room for small values."""
    top = saliency.max(initial=0)
    return (saliency / top if top > 0 else saliency).astype(np.float16)


def write_maps(path: Path, maps: Mapping[str, NDArray[np.float16]]) -> None:
    """Write the maps of a chunk to `path`, whole or not at all."""

    def write(file: BinaryIO) -> None:
        np.savez(file, allow_pickle=False, **maps)

    _write_whole(path, write)


def read_maps(path: Path) -> Iterator[tuple[str, int, NDArray[np.float16]]]:
    """Yield image id, label and map of all maps of a chunk, one at a time.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                image_id, _, label = key.rpartition("|")
                yield image_id, int(label), archive[key]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read and must be made again: {error}") from error


def write_part(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of a chunk to `path`, whole or not at all."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)

    def write(file: BinaryIO) -> None:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)

    _write_whole(path, write)


def _write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
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
