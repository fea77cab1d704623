"""What the readers of lists and annotations share: lines, boxes, label images, classes.

A mistake in a file that concerns the whole dataset is a `DataError`, one that concerns a single
image an `AnnotationError`; both name the file, and the line where there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.images import image_size
from wsl.data.sample import Annotation
from wsl.errors import AnnotationError, DataError, ImageError

__all__ = [
    "checked_box",
    "gray_image",
    "inside",
    "label_image",
    "match_classes",
    "no_class_known",
    "only_label",
    "read_rows",
    "stated_size",
    "unique_ids",
]

# What a damaged or oversized file makes Pillow raise.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_rows(
    path: Path, columns: int | tuple[int, ...], *, separator: str | None, layout: str
) -> list[list[str]]:
    """Read a list with one entry per line.

    Parameters
    ----------
    path : Path
    columns : int or tuple of int
        How many fields a line has. With several numbers, all lines have the same one of them.
    separator : str or None
        Between the fields; None is white space, of which the last field may contain some.
    layout : str
        What a line holds, for messages, such as ``"image_id,label"``.

    Returns
    -------
    list of list of str
        Without the blank lines at the end.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or a line has another number of fields.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not lines:
        raise DataError(f"{path} must hold lines of {layout!r}, but is empty")
    allowed = (columns,) if isinstance(columns, int) else columns
    rows: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        most = max(allowed) - 1 if separator is None else -1
        row = [field.strip() for field in line.strip().split(separator, most)]
        same = len(row) in allowed and (not rows or len(row) == len(rows[0]))
        if not same or not row[0]:
            raise DataError(f"line {number} of {path} must be {layout!r}, but is {line.strip()!r}")
        rows.append(row)
    return rows


def inside(names: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return names of files; raise a DataError if one leads out of the folder it is relative to."""
    checked = tuple(names)
    for name in checked:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or "\0" in name:
            raise DataError(f"{source} must name files in the dataset's folder, but names {name!r}")
    return checked


def unique_ids(ids: Iterable[str], path: Path) -> tuple[str, ...]:
    """Return the ids of images in their order; raise a DataError if one stands there twice."""
    seen: dict[str, None] = {}
    for image_id in ids:
        if image_id in seen:
            raise DataError(
                f"{path} must name each image once, but {image_id!r} stands there twice"
            )
        seen[image_id] = None
    return tuple(seen)


def checked_box(
    box: Box, size: tuple[int, int] | None, where: str, *, overhang: float = 0.0
) -> Box:
    """Return a half-open box, or say why it cannot be one.

    Parameters
    ----------
    box : Box
    size : (int, int) or None
        The image's (height, width); None if unknown.
    where : str
        File and object, for the message.
    overhang : float
        Pixels by which the dataset's boxes are known to reach over the border. They stay so.

    Raises
    ------
    AnnotationError
        If a coordinate is not finite, the box is reversed, or reaches over the image's border.
    """
    x0, y0, x1, y1 = box
    shown = ", ".join(f"{value:g}" for value in box)
    if not all(map(math.isfinite, box)):
        raise AnnotationError(f"{where}: a box must be finite, but is ({shown})")
    if x1 < x0 or y1 < y0:
        raise AnnotationError(f"{where}: a box's end must not lie before its start: ({shown})")
    if size is not None:
        height, width = size
        if min(x0, y0) < -overhang or x1 > width + overhang or y1 > height + overhang:
            raise AnnotationError(
                f"{where}: the box ({shown}) (0-based, end excluded) reaches over the border of "
                f"the image of {width} × {height} pixels"
            )
    return box


def label_image(path: Path) -> NDArray[np.uint8]:
    """Read an image whose pixels are numbers, not colors: (H, W).

    Raises
    ------
    AnnotationError
        If it cannot be read, or is neither indexed nor gray with 8 bits.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L", "1"):
                raise AnnotationError(
                    f"{path} must be an indexed or 8-bit gray image, but its mode is {picture.mode}"
                )
            return np.asarray(picture, dtype=np.uint8)
    except _PILLOW_ERRORS as error:
        raise AnnotationError(f"cannot read the label image {path}: {error}") from error


def gray_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray: (H, W). Raise an AnnotationError if it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"), dtype=np.uint8)
    except _PILLOW_ERRORS as error:
        raise AnnotationError(f"cannot read the mask {path}: {error}") from error


def stated_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, upright; only its header is read.

    Raises
    ------
    AnnotationError
        If the header cannot be read: the annotation cannot be laid onto the image then.
    """
    try:
        return image_size(path)
    except ImageError as error:
        raise AnnotationError(f"the annotation needs the image's size: {error}") from error


def match_classes(names: Sequence[str], categories: Categories, *, source: str) -> tuple[int, ...]:
    """Index into the classifier's categories of each of a dataset's classes; -1 for unknown ones.

    Raises
    ------
    DataError
        If the classifier knows none of them.
    """
    labels = tuple(_or_unknown(categories.find(name)) for name in names)
    if not any(label >= 0 for label in labels):
        raise no_class_known(names, categories, source=source)
    return labels


def no_class_known(names: Sequence[str], categories: Categories, *, source: str) -> DataError:
    """Error for a dataset none of whose classes the classifier knows."""
    return DataError(
        f"the classifier knows none of the {len(names)} classes of {source} "
        f"({_few(names)}); its own {len(categories)} are {_few(categories.names)}"
    )


def only_label(annotation: Annotation) -> int | None:
    """Return the class that the image shows if it shows exactly one that the classifier knows."""
    labels = annotation.labels
    return labels[0] if len(labels) == 1 else None


def _or_unknown(index: int | None) -> int:
    return -1 if index is None else index


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
