"""CVAT: "CVAT for images 1.1", the XML file that CVAT uploads as annotations of a task.

`read_cvat` reads the same format as CVAT exports it, corrected.

::

    OUT/annotations.xml
    OUT/labels.json          to paste into the raw view of the task's labels, before the upload
    OUT/images/…             if `images` is link or copy

CVAT finds an image by ``name``, its path relative to the dataset's root (or to ``images/`` if the
export has images). Shapes, each with ``label``, ``source="auto"``, ``occluded="0"`` and
``z_order``:

- ``<box xtl ytl xbr ybr>``: pixel corners, the image's first at 0, its last at width and height;
- ``<polygon points="x,y;…">``: one per part of the mask, along pixel
  borders (see `wsl.export.contours`); a mask with holes is written as ``<mask>``;
- ``<mask rle left top width height>``: run lengths row by row within the rectangle, of background
  and mask in turn, background first.

Shapes of one object share a ``group_id``.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from defusedxml.ElementTree import ParseError, fromstring

from wsl.boxes import Box
from wsl.data.images import DEFAULT_MAX_PIXELS
from wsl.data.parsing import checked_size, whole_number
from wsl.errors import AnnotationError, DataError
from wsl.export.annotated import AnnotatedImage, ShapeGroups, drawn_box, polygon_mask, turned_box
from wsl.export.base import (
    Context,
    ImageFormat,
    Shapes,
    image_size,
    number_text,
    required_box,
)
from wsl.export.contours import boundary_rings
from wsl.export.instances import InstanceFormat
from wsl.export.staging import Chunk, Staging
from wsl.export.xml import xml_text
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import Mask, mask_to_box
from wsl.storage import open_file, read_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class CvatFormat(ImageFormat, InstanceFormat):
    """CVAT for images 1.1."""

    label = "CVAT"
    summary = "annotations to be uploaded to a CVAT task and corrected"

    format: Literal["cvat"] = "cvat"

    shapes: Shapes = ("mask",)
    """Forms of an object: any of ``mask``, ``polygon`` (a mask with holes stays a mask),
    ``box``."""

    empty_images: bool = True
    """Whether to write images without a localization, so that a person can annotate them."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Add an image's element; see `ExportFormat.write_image`."""
        name, _ = context.placed_or_original(image, chunk)
        number = chunk.number("cvat images") - 1
        height, width = image_size(image)
        lines = [
            f'  <image id="{number}" name="{xml_text(name)}" width="{width}" height="{height}">'
        ]
        for group, found in enumerate(image.localizations, 1):
            label = xml_text(context.classes.name(found.label))
            lines += [
                f'    <{tag} label="{label}" source="auto" occluded="0" {attributes}>\n    </{tag}>'
                for tag, attributes in self._shapes(found, group, chunk)
            ]
        lines.append("  </image>")
        chunk.line("images", "\n".join(lines))
        return len(image.localizations)

    def _shapes(self, found: Localization, group: int, chunk: Chunk) -> Iterator[tuple[str, str]]:
        """Tag and attributes of each shape of an object."""
        order = f'z_order="{group - 1}" group_id="{group}"'
        if "box" in self.shapes:
            yield "box", f"{_box(required_box(found))} {order}"
        if not found.run_lengths.area or self.shapes == ("box",):
            return
        mask = found.mask
        rings = boundary_rings(mask) if "polygon" in self.shapes else None
        if rings is not None and not rings.holes:
            for ring in rings.outer:
                points = ";".join(f"{x},{y}" for x, y in ring.tolist())
                yield "polygon", f'points="{points}" {order}'
        if "mask" in self.shapes or (rings is not None and rings.holes):
            chunk.counts["holes"] += int("mask" not in self.shapes)
            yield "mask", f"{_mask(mask)} {order}"

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the annotations and the labels."""
        labels = [
            f"        <label><name>{xml_text(name)}</name><attributes></attributes></label>"
            for name in context.classes.names
        ]
        head = [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<annotations>",
            "  <version>1.1</version>",
            "  <meta>",
            "    <task>",
            f"      <name>{xml_text(context.run.dataset_name)}</name>",
            f"      <size>{counts['cvat images']}</size>",
            "      <mode>annotation</mode>",
            "      <overlap>0</overlap>",
            "      <flipped>False</flipped>",
            "      <labels>",
            *labels,
            "      </labels>",
            "    </task>",
            "  </meta>",
        ]
        with staging.whole_file("annotations.xml") as file:
            file.writelines(f"{line}\n".encode() for line in head)
            file.writelines(line + b"\n" for line in staging.lines("images"))
            file.write(b"</annotations>\n")
        with staging.whole_file("labels.json") as file:
            content = [{"name": name, "attributes": []} for name in context.classes.names]
            file.write((json.dumps(content, indent=2) + "\n").encode("ascii"))
        return ["annotations.xml", "labels.json"]


def _box(box: Box) -> str:
    corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
    return " ".join(f'{name}="{number_text(value)}"' for name, value in corners)


def _mask(mask: Mask) -> str:
    runs, (left, top, right, bottom) = cropped_runs(mask)
    return (
        f'rle="{", ".join(map(str, runs))}" left="{left}" top="{top}" '
        f'width="{right - left}" height="{bottom - top}"'
    )


def cropped_runs(mask: Mask) -> tuple[list[int], tuple[int, int, int, int]]:
    """Run lengths of a mask within its own rectangle, and the half-open rectangle.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    box = mask_to_box(mask)
    if box is None:
        raise ValueError("an empty mask has no rectangle")
    left, top, right, bottom = (int(value) for value in box)
    return run_lengths(mask[top:bottom, left:right]), (left, top, right, bottom)


def run_lengths(mask: Mask) -> list[int]:
    """Lengths of the runs of background and mask in turn, row by row, background first.

    Examples
    --------
    >>> run_lengths(np.array([[True, False], [False, True]]))
    [0, 1, 2, 1]
    """
    flat = np.concatenate([[False], mask.ravel(), [~mask.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return list(np.diff(ends, prepend=0).tolist())


def read_cvat(path: Path) -> Iterator[AnnotatedImage]:
    """Read corrected annotations: CVAT's own export, the XML file or the archive that holds it.

    All its images count as corrected. Shapes with one ``group_id``, not 0, are one object.

    Raises
    ------
    DataError
        If it is no such file.
    AnnotationError
        If a shape cannot be read.
    """
    try:
        root = fromstring(_annotations(path), forbid_dtd=True)
    except _READ_ERRORS as error:
        raise DataError(f"cannot read the annotations {path}: {error}") from error
    if root.tag != "annotations" or root.find("track") is not None:
        raise DataError(f"{path} must be an export as CVAT for images 1.1")
    for element in root.findall("image"):
        name = str(element.get("name"))
        where = f"{path}: image {name!r}"
        try:
            height, width = (whole_number(element.attrib[name]) for name in ("height", "width"))
            size = checked_size(height, width, where, max_pixels=DEFAULT_MAX_PIXELS)
            shapes = ShapeGroups()
            skipped = sum(
                not _read_shape(shape, position, shapes, size, where)
                for position, shape in enumerate(element)
            )
        except (KeyError, ValueError, OverflowError) as error:
            raise AnnotationError(f"{where}: {error}") from error
        yield AnnotatedImage(name, size, shapes.objects(), skipped)


# A hundred thousand images take a third of this.
_MAX_BYTES = 2**30

# What a damaged file makes zipfile and the XML parser raise.
_READ_ERRORS = (
    *(OSError, KeyError, ValueError, LookupError, EOFError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, ParseError),
)


def _annotations(path: Path) -> bytes:
    """Read the XML, from the archive where it is one."""
    with open_file(path) as file:
        if not zipfile.is_zipfile(file):
            return read_file(path, max_bytes=_MAX_BYTES)
        with zipfile.ZipFile(file) as archive, archive.open("annotations.xml") as inner:
            content = inner.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"annotations.xml must have at most {_MAX_BYTES:,} bytes")
    return content


def _read_shape(
    shape: Element, position: int, shapes: ShapeGroups, size: tuple[int, int], where: str
) -> bool:
    """Add a shape; False if it is of another kind."""
    group = shape.get("group_id", "0")
    key, label = (position if group == "0" else f"group {group}"), str(shape.get("label"))
    if shape.tag == "box":
        x0, y0, x1, y1 = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        x0, y0, x1, y1 = turned_box((x0, y0, x1, y1), float(shape.get("rotation", 0)), middle)
        shapes.add_box(key, label, drawn_box((x0, y0, x1, y1), size, where))
    elif shape.tag == "polygon":
        pairs = (point.split(",") for point in shape.attrib["points"].split(";"))
        points = [[float(value) for value in pair] for pair in pairs]
        shapes.add_mask(key, label, polygon_mask(points, size, where))
    elif shape.tag == "mask":
        shapes.add_mask(key, label, _read_mask(shape, size))
    else:
        return False
    return True


def _read_mask(shape: Element, size: tuple[int, int]) -> Mask:
    counts = [int(count) for count in shape.attrib["rle"].split(",")]
    left, top, width, height = (int(shape.attrib[n]) for n in ("left", "top", "width", "height"))
    fits = 0 <= left <= left + width <= size[1] and 0 <= top <= top + height <= size[0]
    if min(counts) < 0 or sum(counts) != width * height or not fits:
        raise ValueError(f"a mask must fill its {width} × {height} pixels and lie in the image")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = inside
    return mask
