"""What the readers share: files of bounded size, lists, names, numbers, boxes, XML, label images.

A mistake in a file that concerns the whole dataset is a `DataError`, one that concerns a single
image an `AnnotationError`; both name the file, and the line where there is one. No file is opened
that is not a regular one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException, ElementTree
from numpy.typing import NDArray

from wsl import storage
from wsl.boxes import Box
from wsl.data.images import image_size, load_values
from wsl.errors import AnnotationError, DataError, ImageError
from wsl.storage import read_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# A thousand objects take a third of this.
_MAX_XML_BYTES = 1_000_000


# ---- Text


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises
    ------
    DataError
        If it cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    try:
        return storage.read_text(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {reason}") from error


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
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        raise DataError(f"{path} must hold lines of {layout!r}, but is empty")
    allowed = (columns,) if isinstance(columns, int) else columns
    rows: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        most = max(allowed) - 1 if separator is None else -1
        row = [field.strip() for field in line.strip().split(separator, most)]
        same = len(row) in allowed and (not rows or len(row) == len(rows[0]))
        if not same or not row[0]:
            raise DataError(f"line {number} of {path} must be {layout!r}, but is {shorten(line)}")
        rows.append(row)
    return rows


def shorten(value: object, *, longest: int = 80) -> str:
    """Quote a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


# ---- Names and ids


def inside(names: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return names of files; raise a DataError if one is none, or leads out of its folder."""
    checked = tuple(names)
    for name in checked:
        if (
            name.startswith(("/", "\\"))
            or ".." in re.split(r"[/\\]", name)
            or "\0" in name
            or not PurePosixPath(name).name
        ):
            raise DataError(
                f"{source} must name files in the dataset's folder, but names {shorten(name)}"
            )
    return checked


def unique_ids(ids: Iterable[str], source: Path) -> tuple[str, ...]:
    """Return the ids of images in their order; raise a DataError for a repeated or invalid one."""
    seen: dict[str, None] = {}
    for image_id in ids:
        if image_id in seen:
            raise DataError(
                f"{source} must name each image once, but names {shorten(image_id)} twice"
            )
        try:
            image_id.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"{source}: an image's name must be Unicode, but is {shorten(image_id)}"
            ) from error
        seen[image_id] = None
    return tuple(seen)


# ---- Numbers, boxes, sizes


def whole_number(text: str) -> int | None:
    """Return the number of up to nine decimal digits that a text is; None if it is none."""
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= 9 else None


def parse_numbers(texts: Iterable[str], where: str) -> tuple[float, ...]:
    """Parse finite numbers; raise an AnnotationError that begins with `where`."""
    listed = [text.strip() for text in texts]
    try:
        numbers = tuple(map(float, listed))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        shown = shorten(", ".join(listed))
        raise AnnotationError(f"{where} must be {len(listed)} finite numbers, but is {shown}")
    return numbers


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


def checked_size(height: object, width: object, where: str, *, max_pixels: int) -> tuple[int, int]:
    """Return the (height, width) that an annotation states of an image.

    Raises
    ------
    AnnotationError
        If they are no positive integers, or the image would have more than `max_pixels`.
    """
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        raise AnnotationError(
            f"{where}: height and width must be positive integers, "
            f"but are {shorten(height)} and {shorten(width)}"
        )
    if height * width > max_pixels:
        raise AnnotationError(
            f"{where}: an image must have at most {max_pixels:,} pixels (data.max_pixels), "
            f"but its size is {shorten(width)} × {shorten(height)}"
        )
    return (height, width)


# ---- XML


def read_xml(path: Path) -> Element:
    """Read the XML of one image's objects: the element ``annotation``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    AnnotationError
        If it cannot be read, is too large, is not well-formed, has a document type or entities, or
        is another element.
    """
    try:
        tree = ElementTree.fromstring(read_file(path, max_bytes=_MAX_XML_BYTES), forbid_dtd=True)
    except FileNotFoundError:
        raise
    except DefusedXmlException as error:
        raise AnnotationError(
            f"{path} must have no document type, entities or references to other files"
        ) from error
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror}") from error
    except (ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path} is not well-formed XML: {error}") from error
    if tree.tag != "annotation":
        raise AnnotationError(f"{path} must be an <annotation>, but is a <{tree.tag[:40]}>")
    return tree


def xml_size(tree: Element, path: Path, *, max_pixels: int) -> tuple[int, int] | None:
    """(height, width) that an annotation states; None where one is absent or 0: unknown.

    Raises
    ------
    AnnotationError
        If they are no integers, or the image would have more than `max_pixels`.
    """
    texts = [(tree.findtext(f"size/{name}") or "0").strip() for name in ("height", "width")]
    height, width = (text if (n := whole_number(text)) is None else n for text in texts)
    if 0 in (height, width):
        return None
    return checked_size(height, width, str(path), max_pixels=max_pixels)


def xml_corners(node: Element, where: str) -> Box:
    """Numbers ``xmin``, ``ymin``, ``xmax`` and ``ymax`` of an object, as they are in the file."""
    names = ("xmin", "ymin", "xmax", "ymax")
    x0, y0, x1, y1 = parse_numbers((node.findtext(f"bndbox/{name}") or "" for name in names), where)
    return (x0, y0, x1, y1)


# ---- Images


def label_image(
    path: Path, *, size: tuple[int, int] | None = None, max_pixels: int
) -> NDArray[np.uint8]:
    """Read an image whose pixels are numbers, not colors: (H, W).

    Parameters
    ----------
    path : Path
        A PNG or BMP file, indexed or gray with at most 8 bits.
    size : (int, int) or None
        The (height, width) that it must have.
    max_pixels : int

    Raises
    ------
    AnnotationError
        If it cannot be read, is of another kind, or has another size or too many pixels.
    """
    try:
        return load_values(path, size=size, max_pixels=max_pixels)
    except ImageError as error:
        raise AnnotationError(f"the label image {error}") from error


def gray_image(path: Path, *, max_pixels: int) -> NDArray[np.uint8]:
    """Read a mask as 8-bit gray: (H, W). Raise an AnnotationError if it cannot be read."""
    try:
        return load_values(path, max_pixels=max_pixels, colors=True)
    except ImageError as error:
        raise AnnotationError(f"the mask {error}") from error


def stated_size(path: Path, *, max_pixels: int) -> tuple[int, int]:
    """(height, width) of an image, upright; only its header is read.

    Raises
    ------
    AnnotationError
        If the header cannot be read: the annotation cannot be laid onto the image then.
    """
    try:
        return image_size(path, max_pixels=max_pixels)
    except ImageError as error:
        raise AnnotationError(f"the annotation needs the image's size: {error}") from error
