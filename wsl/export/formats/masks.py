"""One PNG per mask.

::

    OUT/masks/NAME.LABEL.png     8-bit grayscale, 255 inside of the mask and 0 outside, or
                                 probabilities times 255 with `boundary_error`
    OUT/masks.csv                file, image_id, label, category, rank, score, quality and the box
                                 x0, y0, x1, y1: 0-based and half-open (x1 - x0 is the width)

LABEL is the classifier's index of the class, from 0.

With `boundary_error` a value is the probability that the pixel is inside, if the mask's boundary is
off along its normal by an error of a normal distribution: Φ(d / σ) for a pixel whose center is d
inside of the boundary (outside: -d). Values of 128 and more are the mask.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from scipy.special import ndtr

from wsl.export.base import Context, ExportFormat, csv_line, required_box
from wsl.export.png import Pixels, png_bytes
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction
from wsl.masks import Mask

_COLUMNS = (
    *("file", "image_id", "label", "category", "rank", "score", "quality"),
    *("x0", "y0", "x1", "y1"),
)


class MasksFormat(ExportFormat):
    """One PNG per mask."""

    label = "masks"
    summary = "one black and white PNG per mask (or of probabilities), and a table of them"

    format: Literal["masks"] = "masks"

    boundary_error: Annotated[float, Field(gt=0, le=1)] | None = None
    """Standard deviation of the boundary's error, as a fraction of the image's diagonal, for masks
    of probabilities; null for black and white."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's masks; see `ExportFormat.write_image`."""
        for found in image.localizations:
            path = f"masks/{context.stem(image.image_id)}.{found.label}.png"
            values = found.mask.astype(np.uint8) * np.uint8(255)
            if self.boundary_error is not None:
                values = soft_mask(found.mask, self.boundary_error * math.hypot(*found.size))
            pixels: Pixels = "areas" if self.boundary_error is None else "values"
            chunk.file(path, png_bytes(Image.fromarray(values), pixels))
            row = (path, image.image_id, found.label, context.classes.name(found.label))
            box = required_box(found)
            chunk.line("index", csv_line((*row, found.rank, found.score, found.quality, *box)))
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the list of masks."""
        staging.text_file("masks.csv", "index", head=[csv_line(_COLUMNS)])
        return ["masks.csv"]


def soft_mask(mask: Mask, sigma: float) -> NDArray[np.uint8]:
    """Probability of each pixel to be inside of a mask whose boundary is uncertain, times 255.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
    sigma : float
        Standard deviation of the boundary's error, in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        At least 128 inside of the mask and at most 127 outside.

    Examples
    --------
    >>> soft_mask(np.array([[False, False, True, True]]), 1).tolist()
    [[17, 79, 176, 238]]
    """

    def depth(inside: Mask) -> NDArray[np.float32]:
        """Distance of pixels from the boundary, which runs between pixels."""
        if inside.all():
            return np.full(mask.shape, np.inf, dtype=np.float32)
        distance = cv2.distanceTransform(
            inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        return np.asarray(distance, dtype=np.float32) - np.float32(0.5)

    signed = np.where(mask, depth(mask), -depth(~mask))
    values = np.rint(255 * ndtr(signed / sigma))
    values = np.where(mask, np.maximum(values, 128), np.minimum(values, 127))
    return np.asarray(values, dtype=np.uint8)
