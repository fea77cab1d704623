"""Saliency maps, of runs that stored them.

::

    OUT/maps/NAME.LABEL.png    16-bit grayscale: the map divided by `top`, times 65535, rounded
    OUT/maps/NAME.LABEL.npy    or float32 as it is
    OUT/maps.csv               file, image_id, label, category, top

A map has the image's size: a map that the run stored smaller is enlarged (bilinear). Runs store
maps divided by their maximum, so values of two maps do not compare. LABEL is the classifier's index
of the class, from 0.
"""

from __future__ import annotations

import io
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.errors import RunError
from wsl.export.base import Context, ExportFormat, Needs, csv_line
from wsl.export.png import png_bytes
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction

_TOP = 65535


class SaliencyMapsFormat(ExportFormat):
    """Saliency maps as images or arrays."""

    label = "saliency maps"
    summary = "the saliency maps of a run that stored them, as 16-bit PNG or NumPy arrays"

    format: Literal["maps"] = "maps"

    map_format: Literal["png", "npy"] = "png"
    """16-bit PNG scaled to the map's maximum, which ``maps.csv`` holds, or arrays of float32 as
    they are."""

    @property
    def needs(self) -> Needs:
        """Return class: every class has a map, whether an object was found or not."""
        return "class"

    def check(self, context: Context) -> None:
        """Refuse a run without maps."""
        folder = context.run.path
        if not any((folder / "maps").glob("part-*.npz")):
            raise RunError(f"{folder} has no maps: the run must store them (run.maps)")

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's maps; see `ExportFormat.write_image`."""
        written = 0
        for found in image.localizations:
            saliency = chunk.maps.get(image.image_id, found.label, found.size)
            if saliency is None:
                chunk.counts["left out: no map stored"] += 1
                continue
            ending = self.map_format
            path = f"maps/{context.stem(image.image_id)}.{found.label}.{ending}"
            top = float(saliency.max())
            chunk.file(path, _png(saliency, top) if ending == "png" else _npy(saliency))
            name = context.classes.name(found.label)
            chunk.line("index", csv_line((path, image.image_id, found.label, name, top)))
            written += 1
        return written

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the list of maps."""
        head = [csv_line(("file", "image_id", "label", "category", "top"))]
        staging.text_file("maps.csv", "index", head=head)
        return ["maps.csv"]


def _png(saliency: NDArray[np.float32], top: float) -> bytes:
    scaled = saliency.astype(np.float64) * (_TOP / top if top > 0 else 0)
    picture = Image.fromarray(np.clip(scaled.round(), 0, _TOP).astype(np.uint16))
    return png_bytes(picture, "values")


def _npy(saliency: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, saliency, allow_pickle=False)
    return data.getvalue()
