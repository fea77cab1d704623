"""The rows of a run: their schema, their writer and their only reader.

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
refined            bool      whether the mask was refined
=================  ========  ==============================================================

All columns from `label` on are null in the row of a failed image. The rows of an image are
adjacent. A file is written whole or not at all (`wsl.storage.whole_file`), and each of its pages
carries a checksum, which is verified on reading. The file's own metadata has its counts
(`PartCounts`), so that a run of thousands of chunks is summed up without reading its rows.

`read_predictions` gives a file's rows as `Prediction` objects, one image at a time, and
`read_table` gives columns of one or of many files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsl.errors import RunError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import RunLengths
from wsl.storage import RemotePath, open_file, whole_file

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

SCALARS = tuple(name for name in SCHEMA.names if name not in ("error", "category", "mask"))
"""The columns of fixed width, and the image's id and status: what scores are computed from."""

_BATCH = 1024  # rows decoded at a time
_COUNTS = b"wsl.counts"


def _rows(prediction: Prediction) -> list[dict[str, Any]]:
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
    mask = found.run_lengths
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
        "mask": mask.counts,
        "mask_area": mask.area,
        "quality": found.quality,
        "refined": found.refined,
    }


@dataclass(frozen=True)
class PartCounts:
    """What a part file holds."""

    images: int = 0
    failed: int = 0
    localizations: int = 0
    """`failed` images are among the `images`."""

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


def write_part(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write the rows of a chunk's images to `path`, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    rows = [row for prediction in predictions for row in _rows(prediction)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    counts = json.dumps(asdict(PartCounts.of(table))).encode()
    with whole_file(path) as file:
        pq.write_table(
            table.replace_schema_metadata({_COUNTS: counts}),
            file,
            compression="zstd",
            write_page_checksum=True,
        )


def read_table(paths: Iterable[Path], *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of part files, in their order, as one table.

    Parameters
    ----------
    paths : iterable of Path
    columns : sequence of str, optional
        All of `SCHEMA` by default.

    Raises
    ------
    RunError
        If a file is damaged or of another schema.
    """
    names = SCHEMA.names if columns is None else list(columns)
    empty = pa.schema([SCHEMA.field(name) for name in names]).empty_table()
    return pa.concat_tables([empty, *(_read(path, names) for path in paths)])


def _read(path: Path, columns: list[str]) -> pa.Table:
    with _parquet(path) as file:
        return file.read(columns=columns).replace_schema_metadata(None)


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Yield the images of a part file, in its order, with their localizations by rank.

    Masks stay run lengths until they are asked for, and rows are decoded some at a time, so that
    memory does not depend on how many images the file has.

    Raises
    ------
    RunError
        If the file is damaged or of another schema.
    """
    with _parquet(path) as file:
        batches = file.iter_batches(batch_size=_BATCH)
        rows = (row for batch in batches for row in batch.to_pylist())
        for image_id, group in groupby(rows, key=lambda row: row["image_id"]):
            yield _prediction(image_id, list(group))


def _prediction(image_id: str, rows: list[dict[str, Any]]) -> Prediction:
    first = rows[0]
    height, width = first["height"], first["width"]
    size = None if height is None or width is None else (height, width)
    if first["status"] != "ok":
        return Prediction.failed(image_id, first["error"] or "failed", size=size)
    if size is None:
        raise ValueError(f"image {image_id!r} must have a width and a height")
    found = [_localization(row, size) for row in rows if row["label"] is not None]
    return Prediction(image_id, size, tuple(sorted(found, key=lambda one: one.rank)))


def _localization(row: dict[str, Any], size: tuple[int, int]) -> Localization:
    mask = RunLengths(row["mask"] or "", size)
    box = (row["x0"], row["y0"], row["x1"], row["y1"])
    return Localization(
        label=row["label"],
        category=row["category"],
        rank=row["rank"],
        score=row["score"],
        box=mask.box if None in box else box,
        mask=mask,
        quality=row["quality"],
        refined=bool(row["refined"]),
        in_top_k=bool(row["in_top_k"]),
        is_ground_truth=bool(row["is_ground_truth"]),
    )


def read_counts(path: Path) -> PartCounts:
    """Read a part file's counts from its footer.

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
    """Read a whole part file and verify its checksums.

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
    counts = PartCounts.of(read_table([path]))
    if counts.images != images:
        raise RunError(f"{path} must hold {images} images, but holds {counts.images}")
    if counts != read_counts(path):
        raise RunError(f"{path} states counts that its rows do not have")
    return counts


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a part file; whatever is wrong with it becomes a RunError that names it."""
    errors = (pa.ArrowException, OSError, ValueError, TypeError)
    with (
        unreadable_errors(path, errors),
        _source(path) as source,
        pq.ParquetFile(source, page_checksum_verification=True) as file,
    ):
        found = file.schema_arrow
        if not found.equals(SCHEMA):
            raise RunError(f"{path} has columns other than those of predictions: {found.names}")
        yield file


@contextmanager
def _source(path: Path) -> Iterator[Path | IO[bytes]]:
    with open_file(path) as file:  # refuses pipes, which Arrow would wait for
        yield file if isinstance(path, RemotePath) else path


@contextmanager
def unreadable_errors(path: Path, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn `errors` of reading a chunk's file into a RunError that names the file."""
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split())  # in one line
        raise RunError(f"{path} cannot be read and must be made again: {reason}") from error
