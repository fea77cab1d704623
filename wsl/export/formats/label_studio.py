"""Label Studio: tasks with predictions, to be imported and corrected.

::

    OUT/tasks-00000.json     a list of tasks, at most `tasks_per_file`
    OUT/config.xml           the project's labeling interface
    OUT/images/…             if `images` is link or copy

A task has ``data.image``, the address made of `image_url`, and one prediction, whose ``result`` has
a region for each object and shape, with ``score``:

- ``rectanglelabels``: x, y, width and height in per cent of the image's width and height;
- ``polygonlabels``: ``points`` in per cent, one region per part of the mask, along pixel borders
  (see `wsl.export.contours`); a mask with holes is written as a brush instead;
- ``brushlabels``: ``rle``, the bytes of a run-length code of the image's pixels, row by row, red,
  green, blue and alpha of each, 255 in the mask and 0 outside.

The code is a stream of bits, the highest of each byte first: 32 bits, the number of values; 5 bits,
bits per value less one; four times 4 bits, the lengths that run lengths can have, less one (here 3,
4, 8, 16); then, until all values are there, one run: the bit 1, two bits that choose one of the
lengths, so many bits for the run's length less one, and the value. (The bit 0 would begin a list of
single values, which is not needed.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.export.base import Context, ImageFormat, Needs, Shape, Shapes, json_line, required_box
from wsl.export.contours import boundary_rings
from wsl.export.formats.cvat import run_lengths
from wsl.export.image_files import url
from wsl.export.instances import InstanceFormat
from wsl.export.staging import Chunk, Staging
from wsl.export.xml import xml_text
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import Mask

__all__ = ["LabelStudioFormat", "brush_rle"]

_CONTROLS: dict[Shape, tuple[str, str]] = {
    "box": ("RectangleLabels", "box"),
    "polygon": ("PolygonLabels", "polygon"),
    "mask": ("BrushLabels", "mask"),
}
_LENGTH_BITS = np.array([3, 4, 8, 16])


class LabelStudioFormat(ImageFormat, InstanceFormat):
    """Label Studio tasks with predictions."""

    label = "Label Studio"
    summary = "tasks with predictions to be imported into Label Studio and corrected"

    format: Literal["label_studio"] = "label_studio"

    shapes: Shapes = ("box", "mask")
    """Forms of an object: any of ``mask`` (a brush), ``polygon`` (a mask with holes stays a brush),
    ``box``."""

    empty_images: bool = True
    """Whether images without a localization go in, so that a person can add what is missing."""

    image_url: Annotated[str, Field(pattern=r"\{path\}")] = "/data/local-files/?d={path}"
    """Address at which Label Studio finds an image; ``{path}`` stands for its path below the
    dataset's root (or in the export, where images go in), percent-encoded."""

    tasks_per_file: Annotated[int, Field(ge=1)] = 5000
    """Most tasks in a file: Label Studio refuses uploads that are too large."""

    @property
    def needs(self) -> Needs:
        """A box will do where boxes are written alone."""
        return "box" if self.shapes == ("box",) else "mask"

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Add an image's task; see `ExportFormat.write_image`."""
        path, placed = context.placed_or_original(image, chunk)
        path = f"images/{path}" if placed else path
        task: dict[str, Any] = {
            "data": {
                "image": url(self.image_url, path),
                "image_id": image.image_id,
            }
        }
        if image.localizations:
            task["predictions"] = [
                {
                    "model_version": "wsl",
                    "score": max(found.score for found in image.localizations),
                    "result": list(self._regions(image, chunk, context)),
                }
            ]
        chunk.line("tasks", json_line(task))
        return len(image.localizations)

    def _regions(
        self, image: Prediction, chunk: Chunk, context: Context
    ) -> Iterator[dict[str, Any]]:
        number = 0
        for found in image.localizations:
            for shape, value in self._values(found, chunk):
                control, name = _CONTROLS[shape]
                number += 1
                yield {
                    "id": f"wsl-{number}",
                    "type": control.lower(),
                    "from_name": name,
                    "to_name": "image",
                    "original_width": found.size[1],
                    "original_height": found.size[0],
                    "image_rotation": 0,
                    "score": found.score,
                    "value": {**value, control.lower(): [context.classes.name(found.label)]},
                }

    def _values(self, found: Localization, chunk: Chunk) -> Iterator[tuple[Shape, dict[str, Any]]]:
        """Shapes of an object, in Label Studio's terms."""
        if "box" in self.shapes:
            yield "box", _rectangle(found)
        if not found.run_lengths.area or self.shapes == ("box",):
            return
        mask = found.mask
        rings = boundary_rings(mask) if "polygon" in self.shapes else None
        if rings is not None and not rings.holes:
            scale = 100 / np.array([found.size[1], found.size[0]], dtype=np.float64)
            for ring in rings.outer:
                yield "polygon", {"points": (ring * scale).tolist(), "closed": True}
        if "mask" in self.shapes or (rings is not None and rings.holes):
            chunk.counts["holes"] += int("mask" not in self.shapes)
            yield "mask", {"format": "rle", "rle": brush_rle(mask)}

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the tasks, some thousand to a file, and the interface."""
        written: list[str] = []
        lines = staging.lines("tasks")
        for first in lines:
            path = f"tasks-{len(written):05d}.json"
            with staging.whole_file(path) as file:
                file.write(b"[\n" + first)
                others = islice(lines, self.tasks_per_file - 1)
                file.writelines(b",\n" + task for task in others)
                file.write(b"\n]\n")
            written.append(path)
        with staging.whole_file("config.xml") as file:
            file.write(self._interface(context).encode())
        return [*written, "config.xml"]

    def _interface(self, context: Context) -> str:
        # A mask with holes is a brush region even if polygons were asked for.
        brush: tuple[Shape, ...] = ("mask",) if "polygon" in self.shapes else ()
        shapes = dict.fromkeys((*self.shapes, *brush))
        labels = "".join(
            f'    <Label value="{xml_text(name)}"/>\n' for name in context.classes.names
        )
        controls = "".join(
            f'  <{control} name="{name}" toName="image">\n{labels}  </{control}>\n'
            for control, name in (_CONTROLS[shape] for shape in shapes)
        )
        return f'<View>\n  <Image name="image" value="$image"/>\n{controls}</View>\n'


def _rectangle(found: Localization) -> dict[str, float]:
    x0, y0, x1, y1 = required_box(found)
    height, width = found.size
    return {
        "x": 100 * x0 / width,
        "y": 100 * y0 / height,
        "width": 100 * (x1 - x0) / width,
        "height": 100 * (y1 - y0) / height,
        "rotation": 0,
    }


def brush_rle(mask: Mask) -> list[int]:
    """Label Studio's run-length code of a mask, as a list of bytes.

    Examples
    --------
    >>> brush_rle(np.array([[True]]))
    [0, 0, 0, 4, 57, 27, 252, 127, 224]
    """
    lengths = 4 * np.array(run_lengths(mask), dtype=np.int64)
    values = np.where(np.arange(len(lengths)) % 2 == 1, 255, 0)
    lengths, values = _split_long(lengths, values, 1 << 16)
    kinds = np.searchsorted(1 << _LENGTH_BITS, lengths)
    bits = _LENGTH_BITS[kinds]
    codes = (((4 | kinds) << bits) | (lengths - 1)) << 8 | values
    head = [(4 * mask.size, 32), (8 - 1, 5), *((int(size) - 1, 4) for size in _LENGTH_BITS)]
    stream = _bits(
        np.concatenate([[value for value, _ in head], codes]),
        np.concatenate([[width for _, width in head], 3 + bits + 8]),
    )
    return list(np.packbits(stream).tolist())


def _split_long(
    lengths: NDArray[np.int64], values: NDArray[np.int64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut runs that are too long into several, and leave out empty ones."""
    pieces = -(-lengths // longest)
    split = np.full(int(pieces.sum()), longest, dtype=np.int64)
    there = pieces > 0
    last = np.cumsum(pieces)[there] - 1
    split[last] = (lengths - (pieces - 1) * longest)[there]
    return split, np.repeat(values, pieces)


def _bits(codes: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Bits of numbers one after the other, the highest first, each as wide as it says."""
    widest = int(widths.max(initial=1))
    places = np.arange(widest - 1, -1, -1)
    table = (codes[:, None] >> places) & 1
    return np.asarray(table[places < widths[:, None]], dtype=np.uint8)
