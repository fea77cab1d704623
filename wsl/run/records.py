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

All columns from `label` on are null in the row of a failed image. A file is there whole or not at
all (`wsl.storage.write_whole`). Every page carries a checksum, which is verified on reading. The
file's own metadata has its counts (`PartCounts`), so that a run of thousands of chunks is summed up
without reading its rows.

Maps, where they are stored, are in one NumPy archive per chunk, one array per image and class
under the key ``IMAGE_ID|LABEL``: float16 of the working size, divided by the map's maximum.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsl.errors import RunError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import encode_rle
from wsl.storage import RemotePath, write_whole

__all__ = [
    "SCHEMA",
    "PartCounts",
    "check_maps",
    "check_part",
    "map_key",
    "prediction_rows",
    "read_counts",
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


@dataclass(frozen=True)
class PartCounts:
    """What a part file holds.

    Attributes
    ----------
    images, failed, localizations : int
        `failed` images are among the `images`.
    """

    images: int = 0
    failed: int = 0
    localizations: int = 0

    def __add__(self, other: PartCounts) -> PartCounts:
        return PartCounts(
            self.images + other.images,
            self.failed + other.failed,
            self.localizations + other.localizations,
        )

    @classmethod
    def of(cls, table: pa.Table) -> PartCounts:
        """Count the rows of a chunk: columns image_id, status and label."""
        return cls(
            images=pc.count_distinct(table["image_id"]).as_py(),
            failed=pc.sum(pc.equal(table["status"], "failed")).as_py() or 0,
            localizations=len(table) - table["label"].null_count,
        )


def write_maps(path: Path, maps: Mapping[str, NDArray[np.float16]]) -> None:
    """Write the maps of a chunk to `path`, whole or not at all."""

    def write(file: BinaryIO) -> None:
        arrays: dict[str, Any] = dict(maps)
        np.savez(file, **arrays)  # float16 is never pickled

    write_whole(path, write)


# What a damaged archive makes zipfile and NumPy raise.
_ARCHIVE_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)

# Of one map: float16 of 16,384 × 16,384 pixels, and NumPy's header.
_MAX_MAP_BYTES = 2 * 16_384**2 + 4096


def read_maps(path: Path) -> Iterator[tuple[str, int, NDArray[np.float16]]]:
    """Yield image id, label and map of all maps of a chunk, one at a time.

    Raises
    ------
    RunError
        If the file is damaged, or states a size that no map has.
    """
    with (
        _told(path, _ARCHIVE_ERRORS),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        _check_archive(archive.zip)
        for key in archive.files:
            image_id, _, label = key.rpartition("|")
            yield image_id, int(label), archive[key]


def check_maps(path: Path, counts: PartCounts, *, thorough: bool = False) -> None:
    """Check that the maps of a chunk are there, as many as its localizations.

    Parameters
    ----------
    path : Path
    counts : PartCounts
        Of the chunk's part file.
    thorough : bool
        Read them all, against their checksums; otherwise the archive's directory alone, which
        tells a file that is cut off.

    Raises
    ------
    RunError
        If they are not there, or damaged.
    """
    with _told(path, _ARCHIVE_ERRORS), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        _check_archive(archive)
        found = len(archive.infolist())
        if found != counts.localizations:
            raise ValueError(f"it holds {found} maps of {counts.localizations}")
        damaged = archive.testzip() if thorough else None
        if damaged is not None:
            raise ValueError(f"{damaged} does not fit its checksum")


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse what would grow on reading: maps are stored as they are, not compressed."""
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _MAX_MAP_BYTES:
            raise ValueError(
                f"{entry.filename} ({entry.file_size:,} bytes) is compressed or larger than any map"
            )


_COUNTS = b"wsl.counts"


def write_part(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of a chunk to `path`, whole or not at all."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    counts = json.dumps(asdict(PartCounts.of(table))).encode()

    def write(file: BinaryIO) -> None:
        pq.write_table(
            table.replace_schema_metadata({_COUNTS: counts}),
            file,
            compression="zstd",
            write_page_checksum=True,
        )

    write_whole(path, write)


def read_part(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of a chunk.

    Raises
    ------
    RunError
        If the file is damaged or of another schema.
    """
    with _parquet(path) as file:
        table = file.read(columns=list(columns) if columns is not None else None)
        return table.replace_schema_metadata(None)


def read_counts(path: Path) -> PartCounts:
    """Read what a part file holds, from its end.

    Raises
    ------
    RunError
        If the file is damaged or of another schema.
    """
    with _parquet(path) as file:
        stored = (file.schema_arrow.metadata or {}).get(_COUNTS)
        if stored is None:  # written by another tool
            return PartCounts.of(file.read(columns=["image_id", "status", "label"]))
        return PartCounts(**json.loads(stored))


def check_part(path: Path, *, images: int) -> PartCounts:
    """Read a part file whole, against its checksums.

    Parameters
    ----------
    path : Path
    images : int
        How many images the chunk has.

    Raises
    ------
    RunError
        If the file is damaged, of another schema, or of another number of images.
    """
    counts = PartCounts.of(read_part(path))
    if counts.images != images:
        raise RunError(f"{path} must hold {images} images, but holds {counts.images}")
    if counts != read_counts(path):
        raise RunError(f"{path} holds other counts than its rows have")
    return counts


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a part file; whatever is wrong with it becomes a RunError that names it."""
    errors = (pa.ArrowException, OSError, ValueError, TypeError)
    with (
        _told(path, errors),
        _source(path) as source,
        pq.ParquetFile(source, page_checksum_verification=True) as file,
    ):
        found = file.schema_arrow
        if not found.equals(SCHEMA):
            raise RunError(f"{path} holds other columns than predictions do: {found.names}")
        yield file


@contextmanager
def _source(path: Path) -> Iterator[Path | IO[bytes]]:
    if isinstance(path, RemotePath):
        with path.open("rb") as file:
            yield file
    else:
        yield path


@contextmanager
def _told(path: Path, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise RunError(f"{path} cannot be read and must be made again: {error}") from error
