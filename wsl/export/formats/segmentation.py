"""Label images: one label per pixel, as networks that learn segmentation read them.

::

    OUT/labels/NAME.png        value per pixel, with VOC's palette
    OUT/images/NAME.jpg        if `images` is link or copy
    OUT/<split>.txt            NAME, one per line
    OUT/classes.csv            value, category, id

The value of a class is its position in ``classes.csv`` (1 for all of them, with `foreground_only`),
0 is background and 255 is uncertain: `wsl.export.pseudo_labels` has the rules. More than 254
classes do not fit into 8 bits: then the files are 16-bit grayscale and 65535 is uncertain, as the
summary says.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.export.base import (
    Context,
    DatasetFormat,
    Proportion,
    csv_line,
    image_size,
    numbering_notes,
)
from wsl.export.pseudo_labels import PseudoLabels, indexed_png, pseudo_labels
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction

IGNORE = 255
WIDE_IGNORE = 65535


class LabelImageFormat(DatasetFormat):
    """A format that has label images."""

    boundary_ignore: Proportion = 0.01
    """Width of the uncertain band, as a fraction of the image's diagonal: a pixel with another
    label within this distance makes a pixel uncertain. 0: no pixel."""

    boundary_ignore_pixels: Annotated[float, Field(ge=0)] | None = None
    """The same distance in pixels, instead of `boundary_ignore`."""

    overlap_smoothing: Proportion = 0.02
    """Standard deviation of the Gaussian that smooths saliency maps before they are compared where
    masks overlap, as a fraction of the image's diagonal."""

    foreground_only: bool = False
    """Whether all classes become the one class 1."""

    def is_wide(self, context: Context) -> bool:
        """Whether the classes do not fit into 8 bits."""
        return not self.foreground_only and len(context.classes) > IGNORE - 1

    def label_image(
        self, image: Prediction, chunk: Chunk, context: Context
    ) -> tuple[PseudoLabels, NDArray[np.uint16]]:
        """Labels of an image and their values, counted."""
        diagonal = math.hypot(*image_size(image))
        band = self.boundary_ignore_pixels
        labels = pseudo_labels(
            image,
            chunk.maps,
            band=self.boundary_ignore * diagonal if band is None else band,
            smoothing=self.overlap_smoothing * diagonal,
        )
        position, one = context.classes.position, self.foreground_only
        values = [1 if one else position(found.label) + 1 for found in image.localizations]
        chunk.counts["overlaps"] += int(labels.shared > 0)
        chunk.counts["overlaps by score"] += int(labels.by_score)
        certain = np.bincount(labels.owners[~labels.uncertain], minlength=len(values) + 1)
        chunk.counts["wholly uncertain"] += len(values) - int(np.count_nonzero(certain[1:]))
        ignore = WIDE_IGNORE if self.is_wide(context) else IGNORE
        return labels, labels.values(values, ignore=ignore)

    def write_classes(self, staging: Staging, path: str, context: Context) -> None:
        """Write what the values mean."""
        classes = context.classes
        rows: list[list[object]] = [["value", "category", "id"], [0, "background", None]]
        if self.foreground_only:
            rows.append([1, "foreground", None])
        else:
            rows += [
                [value, classes.name(label), classes.id(label)]
                for value, label in enumerate(classes.labels, 1)
            ]
        rows.append([WIDE_IGNORE if self.is_wide(context) else IGNORE, "uncertain", None])
        with staging.whole_file(path) as file:
            file.writelines(f"{csv_line(row)}\n".encode() for row in rows)

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Add remarks on overlapping masks, the uncertain band and the values."""
        notes = super().notes(counts, context)
        if counts["overlaps"]:
            by_score = counts["overlaps by score"]
            notes.append(
                f"masks overlap in {counts['overlaps']:,} images: the stronger saliency has the "
                f"pixel in {counts['overlaps'] - by_score:,} and, without maps, the more probable "
                f"class in {by_score:,}"
            )
        if counts["wholly uncertain"]:
            notes.append(f"{counts['wholly uncertain']:,} masks have no certain pixel left")
        if self.is_wide(context):
            notes.append(
                f"more than {IGNORE - 1} classes: class label images are 16-bit and the ignore "
                f"value is {WIDE_IGNORE}"
            )
        return notes if self.foreground_only else [*notes, *numbering_notes(self, context)]


class SegmentationFormat(LabelImageFormat):
    """Label images alone."""

    label = "label images"
    summary = "one label per pixel, for any network that learns segmentation"

    format: Literal["segmentation"] = "segmentation"

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's label image; see `ExportFormat.write_image`."""
        stem = context.stem(image.image_id)
        context.place(image, chunk, "images")
        _, values = self.label_image(image, chunk, context)
        chunk.file(f"labels/{stem}.png", indexed_png(values, wide=self.is_wide(context)))
        chunk.line("list", stem)
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the list of images and the list of classes."""
        listed = f"{self.split}.txt"
        staging.text_file(listed, "list")
        self.write_classes(staging, "classes.csv", context)
        return [listed, "classes.csv"] if counts["exported"] else ["classes.csv"]
