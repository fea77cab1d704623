"""One PNG per mask.

::

    OUT/masks/NAME.LABEL.png     8-bit grayscale, 255 inside of the mask and 0 outside
    OUT/masks.csv                file, image_id, label, category, rank, score, quality and the box
                                 x0, y0, x1, y1: 0-based and half-open (x1 - x0 is the width)

LABEL is the classifier's index of the class, from 0.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from PIL import Image

from wsl.export.base import Context, ExportFormat, csv_line, required_box
from wsl.export.png import png_bytes
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction

__all__ = ["MasksFormat"]

_COLUMNS = (
    *("file", "image_id", "label", "category", "rank", "score", "quality"),
    *("x0", "y0", "x1", "y1"),
)


class MasksFormat(ExportFormat):
    """One PNG per mask."""

    label = "masks"
    summary = "one black and white PNG per mask, and a table of them"

    format: Literal["masks"] = "masks"

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's masks; see `ExportFormat.write_image`."""
        for found in image.localizations:
            path = f"masks/{context.stem(image.image_id)}.{found.label}.png"
            picture = Image.fromarray(found.mask.astype(np.uint8) * np.uint8(255))
            chunk.file(path, png_bytes(picture, "areas"))
            row = (path, image.image_id, found.label, context.classes.name(found.label))
            box = required_box(found)
            chunk.line("index", csv_line((*row, found.rank, found.score, found.quality, *box)))
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the list of masks."""
        staging.text_file("masks.csv", "index", head=[csv_line(_COLUMNS)])
        return ["masks.csv"]
