"""YOLO, as Ultralytics reads it: a text file per image, boxes or polygons.

::

    OUT/data.yaml                      names by position; train and val: images/<split>
    OUT/images/<split>/NAME.jpg        links, copies, or none
    OUT/labels/<split>/NAME.txt

A line of a label file is an object: ``class x_center y_center width height`` for boxes, or
``class x1 y1 x2 y2 …`` for polygons, divided by the image's width and height, so in [0, 1]; class
is its position in the list of names, from 0. There is no score.

A polygon runs along pixel borders (see `wsl.export.contours`). YOLO has one polygon per object, so
the parts and holes of a mask are joined by lines there and back, which enclose nothing: filling
by the even-odd rule at pixel centers gives the mask back exactly. Ultralytics fills with
``cv2.fillPoly``, which takes vertices for pixel centers and colors the outline: it gets the mask,
up to one pixel more to the right and below, and the joining lines. Its boxes, the extremes of the
polygon, are exact.

Coordinates of polygons have six decimals, rounded up, so that a reader that multiplies and cuts off
decimals finds the same pixel corner, in single and in double precision.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import Literal

import numpy as np
import yaml

from wsl.export.base import Context, DatasetFormat, numbering_notes, required_box
from wsl.export.contours import boundary_rings, one_ring
from wsl.export.image_files import ImageMode
from wsl.export.instances import InstanceFormat
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction


class YoloFormat(DatasetFormat, InstanceFormat):
    """YOLO labels for detection or segmentation."""

    label = "YOLO"
    summary = "boxes or polygons for Ultralytics and its relatives"

    format: Literal["yolo"] = "yolo"

    shape: Literal["box", "polygon"] = "box"
    """Form of an object."""

    images: ImageMode = "link"
    """Whether to add the images, as symbolic links or copies; YOLO finds labels by its images."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's label file; see `ExportFormat.write_image`."""
        split = self.split
        context.place(image, chunk, f"images/{split}")
        line = _box_line if self.shape == "box" else _polygon_line
        position = context.classes.position
        text = "".join(f"{position(found.label)} {line(found)}\n" for found in image.localizations)
        stem = context.stem(image.image_id)
        chunk.file(f"labels/{split}/{stem}.txt", text.encode("ascii"))
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write ``data.yaml``."""
        folder = f"images/{self.split}"
        names = dict(enumerate(context.classes.names))
        # Without the key `path`, paths are relative to this file. Readers ask for train and val.
        content = {"train": folder, "val": folder, "names": names}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=False)
        with staging.whole_file("data.yaml") as file:
            file.write(text.encode("ascii"))
        return ["data.yaml"]

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Add a remark on the numbers of classes."""
        return [*super().notes(counts, context), *numbering_notes(self, context)]


def _box_line(found: Localization) -> str:
    x0, y0, x1, y1 = required_box(found)
    height, width = found.size
    values = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return " ".join(f"{value:.10g}" for value in values)


def _polygon_line(found: Localization) -> str:
    height, width = found.size
    points = one_ring(boundary_rings(found.mask))
    return " ".join(f"{_up(x, width)} {_up(y, height)}" for x, y in points.tolist())


@lru_cache(maxsize=1 << 14)
def _up(value: int, side: int) -> str:
    """Write a share of a side with six decimals, rounded up."""
    millionths = min(math.ceil(value * 1_000_000 / side), 1_000_000)
    share = millionths / 1_000_000
    # In binary the product of a share that is exact in decimals may lie a hair below the corner.
    if share * side < value or np.float32(share) * np.float32(side) < value:
        share = (millionths + 1) / 1_000_000
    return f"{share:.6g}"
