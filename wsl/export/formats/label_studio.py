"""Label Studio: tasks with predictions to correct there, and the reader of corrected tasks.

::

    OUT/tasks-00000.json     a list of tasks, at most `tasks_per_file`
    OUT/config.xml           the project's labeling interface
    OUT/images/…             if `images` is link or copy

A task has ``data.image``, the address made of `image_url`, and one prediction, whose ``result`` has
a region for each object and shape, with ``score``:

- ``rectanglelabels``: x, y, width and height in percent of the image's width and height;
- ``polygonlabels``: ``points`` in percent, one region per part of the mask, along pixel borders
  (see `wsl.export.contours`); a mask with holes is written as a brush instead;
- ``brushlabels``: ``rle``, the bytes of a run-length code of the image's pixels, row by row, red,
  green, blue and alpha of each, 255 in the mask and 0 outside.

The code is a stream of bits, the highest of each byte first: 32 bits, the number of values; 5 bits,
bits per value less one; four times 4 bits, the lengths that run lengths can have, less one (here 3,
4, 8, 16); then, until all values are there, one run: the bit 1, two bits that choose one of the
lengths, so many bits for the run's length less one, and the value. (The bit 0 would begin a list of
single values, which is not needed here but read.)

`read_label_studio` reads the corrected tasks, exported from Label Studio as JSON. Regions of one
object share the first part of their ids, ``wsl-1-``; a region drawn there is an object of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.boxes import Box
from wsl.data.images import DEFAULT_MAX_PIXELS
from wsl.data.parsing import checked_size
from wsl.errors import AnnotationError, DataError
from wsl.export.annotated import AnnotatedImage, ShapeGroups, drawn_box, polygon_mask, turned_box
from wsl.export.base import Context, ImageFormat, Shape, Shapes, json_line, required_box
from wsl.export.contours import boundary_rings
from wsl.export.formats.cvat import run_lengths
from wsl.export.instances import InstanceFormat
from wsl.export.staging import Chunk, Staging
from wsl.export.xml import xml_text
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import Mask
from wsl.storage import read_json

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
    """Whether to write images without a localization, so that a person can annotate them."""

    image_url: Annotated[str, Field(pattern=r"\{path\}")] = "/data/local-files/?d={path}"
    """Address at which Label Studio finds an image; ``{path}`` stands for its path below the
    dataset's root (or in the export, if it has images), percent-encoded."""

    tasks_per_file: Annotated[int, Field(ge=1)] = 5000
    """Most tasks in a file: Label Studio refuses uploads that are too large."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Add an image's task; see `ExportFormat.write_image`."""
        path, placed = context.placed_or_original(image, chunk)
        path = f"images/{path}" if placed else path
        task: dict[str, Any] = {
            "data": {
                "image": self.image_url.replace("{path}", quote(path)),
                "image_id": image.image_id,
            }
        }
        if image.localizations:
            task["predictions"] = [
                {
                    "model_version": "wsl",
                    "score": max(found.score for found in image.localizations),
                    "result": list(
                        self.regions(image.localizations, context.classes.name, chunk.counts)
                    ),
                }
            ]
        chunk.line("tasks", json_line(task))
        return len(image.localizations)

    def regions(
        self,
        localizations: Iterable[Localization],
        name_of: Callable[[int], str],
        counts: Counter[str],
    ) -> Iterator[dict[str, Any]]:
        """Regions of an image's objects; ``counts["holes"]`` grows by masks that polygons miss.

        Parameters
        ----------
        localizations : iterable of Localization
        name_of : callable
            From a class to its label in the interface.
        counts : Counter
        """
        for number, found in enumerate(localizations, 1):
            for part, (shape, value) in enumerate(self._values(found, counts), 1):
                control, name = _CONTROLS[shape]
                yield {
                    "id": f"wsl-{number}-{part}",
                    "type": control.lower(),
                    "from_name": name,
                    "to_name": "image",
                    "original_width": found.size[1],
                    "original_height": found.size[0],
                    "image_rotation": 0,
                    "score": found.score,
                    "value": {**value, control.lower(): [name_of(found.label)]},
                }

    def _values(
        self, found: Localization, counts: Counter[str]
    ) -> Iterator[tuple[Shape, dict[str, Any]]]:
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
            counts["holes"] += int("mask" not in self.shapes)
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


def read_label_studio(path: Path) -> Iterator[AnnotatedImage]:
    """Read corrected tasks: Label Studio's own JSON export.

    Of a task's annotations the one that is marked as ground truth counts, else the last; tasks
    without an annotation, or with cancelled ones only, were not corrected and are left out.

    Raises
    ------
    DataError
        If it is no such file.
    AnnotationError
        If a region cannot be read.
    """
    try:
        tasks = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the tasks {path}: {error}") from error
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and isinstance(task.get("annotations"), list)
        and all(_is_annotation(one) for one in task["annotations"])
        for task in tasks
    ):
        raise DataError(
            f"{path} must be a list of tasks with data and annotations: export them from Label "
            "Studio as JSON, not as JSON-MIN"
        )
    for task in tasks:
        valid = [one for one in task["annotations"] if not one.get("was_cancelled")]
        if valid:
            chosen = next((one for one in reversed(valid) if one.get("ground_truth")), valid[-1])
            yield _annotated(task, chosen.get("result", ()), path)


def _is_annotation(one: Any) -> bool:
    regions = one.get("result", []) if isinstance(one, dict) else None
    return isinstance(regions, list) and all(isinstance(region, dict) for region in regions)


def _annotated(task: Mapping[str, Any], regions: Iterable[Any], path: Path) -> AnnotatedImage:
    name = task["data"].get("image_id") or path_in(str(task["data"].get("image", "")))
    where = f"{path}: image {name!r}"
    shapes, skipped, size = ShapeGroups(), 0, None
    for position, region in enumerate(regions):
        value, kind = region.get("value", {}), region.get("type")
        categories = value.get(kind) if isinstance(value, dict) else None
        if kind not in _READ or not categories:
            skipped += 1
            continue
        if region.get("image_rotation"):
            raise AnnotationError(f"{where}: the image must not be turned in Label Studio")
        try:
            size = checked_size(
                region["original_height"],
                region["original_width"],
                where,
                max_pixels=DEFAULT_MAX_PIXELS,
            )
            grouped = _GROUP.match(str(region.get("id")))
            key = grouped[0] if grouped else position
            if kind == "rectanglelabels":
                shapes.add_box(key, str(categories[0]), _read_rectangle(value, size, where))
            elif kind == "polygonlabels":
                points = np.array(value["points"], dtype=float) * (size[1] / 100, size[0] / 100)
                shapes.add_mask(key, str(categories[0]), polygon_mask(points.tolist(), size, where))
            else:
                shapes.add_mask(key, str(categories[0]), _read_brush(value["rle"], size))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AnnotationError(f"{where}: region {region.get('id')!r}: {error}") from error
    return AnnotatedImage(str(name), size, shapes.objects(), skipped)


_READ = ("rectanglelabels", "polygonlabels", "brushlabels")
_GROUP = re.compile(r"wsl-\d+-")


def path_in(address: str) -> str:
    """Find the path of an image in its address: of local files, that after ``?d=``."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/")


def _read_rectangle(value: Mapping[str, float], size: tuple[int, int], where: str) -> Box:
    height, width = size
    x, y = value["x"] * width / 100, value["y"] * height / 100
    box = (x, y, x + value["width"] * width / 100, y + value["height"] * height / 100)
    turned = turned_box(box, value.get("rotation") or 0, (x, y))
    # Percentages of pixel corners come back with an error in the last digits.
    x0, y0, x1, y1 = (float(side) for side in np.round(turned, 6))
    return drawn_box((x0, y0, x1, y1), size, where)


def _read_brush(code: Sequence[int], size: tuple[int, int]) -> Mask:
    """Mask of a brush: where its alpha is not 0.

    Raises
    ------
    ValueError
        If the code ends too early, or is of another size.
    """
    bits = np.unpackbits(np.asarray(code, dtype=np.uint8))
    at = 0

    def number(width: int) -> int:
        nonlocal at
        at += width
        if at > len(bits):
            raise ValueError("the brush's code ends too early")
        return int("".join(map(str, bits[at - width : at])), 2)

    count, width = number(32), number(5) + 1
    lengths = [number(4) + 1 for _ in range(4)]
    if count != 4 * size[0] * size[1] or width != 8:
        raise ValueError(f"the brush must have {4 * size[0] * size[1]} values, but has {count}")
    values = np.zeros(count, dtype=np.uint8)
    done = 0
    while done < count:
        is_run = number(1)
        length = number(lengths[number(2)]) + 1
        if is_run:
            values[done : done + length] = number(8)
        else:
            at += 8 * length
            packed = np.packbits(bits[at - 8 * length : at])
            if done + length > count or len(packed) != length:
                raise ValueError("the brush's code ends too early")
            values[done : done + length] = packed
        done += length
    return np.asarray(values.reshape(*size, 4)[:, :, 3] > 0)
