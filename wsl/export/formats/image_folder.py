"""A folder of images by class with ``metadata.jsonl``, as Hugging Face's ``imagefolder`` reads it.

::

    OUT/<split>/metadata.jsonl           one object per line and image
    OUT/<split>/CLASS/NAME.jpg           links or copies

CLASS is the id (the WNID, say) or else the name of the image's class, escaped as file names are:
the given label, or else the most probable of the classes that go in. So
``torchvision.datasets.ImageFolder(OUT/<split>)`` reads the folder too, with the classes for labels.

A line of ``metadata.jsonl`` holds ``file_name`` (below the split), ``image_id``, ``width``,
``height`` and ``objects``: lists of one length, ``bbox`` (``[x, y, width, height]``, the corner of
the first pixel at 0), ``label`` (the classifier's index from 0), ``category``, ``score``,
``quality``, ``area``, and ``mask`` (COCO compressed run lengths of the image's size, read by
``pycocotools.mask.decode``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from wsl.boxes import Box
from wsl.errors import ConfigError
from wsl.export.exporter import Context, Exporter, json_line, json_number, required_box
from wsl.export.names import escaped
from wsl.export.options import ImageMode
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = ["ImageFolderExporter"]


class ImageFolderExporter(Exporter):
    """Images by class with metadata."""

    options_used = frozenset({"images", "split"})
    default_images: ClassVar[ImageMode] = "link"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        if context.images.mode == "none":
            raise ConfigError("images must be link or copy: an image folder is made of images")

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Write an image and its line; see `Exporter.image`."""
        if image.size is None:
            raise ConfigError(f"image {image.image_id!r} must have a size")
        height, width = image.size
        folder = f"{self.context.options.split}/"
        stem = f"{folder}{self._class_folder(taken)}/{self.context.names.stem(image.image_id)}"
        placed = self.context.images.place(image.image_id, image.size, chunk, stem)
        line = {
            "file_name": str(placed).removeprefix(folder),
            "image_id": image.image_id,
            "width": width,
            "height": height,
            "objects": self._objects(taken),
        }
        chunk.line("metadata", json_line(line))
        return len(taken)

    def _class_folder(self, taken: tuple[Localization, ...]) -> str:
        label = next((found.label for found in taken if found.is_ground_truth), taken[0].label)
        ids = self.context.run.categories.ids
        return escaped(ids[label] if ids else self.context.class_names[label])

    def _objects(self, taken: tuple[Localization, ...]) -> dict[str, list[Any]]:
        return {
            "bbox": [_bbox(required_box(found)) for found in taken],
            "label": [found.label for found in taken],
            "category": [self.context.class_names[found.label] for found in taken],
            "score": [found.score for found in taken],
            "quality": [found.quality for found in taken],
            "area": [found.run_lengths.area for found in taken],
            "mask": [found.run_lengths.counts for found in taken],
        }

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the metadata."""
        path = f"{self.context.options.split}/metadata.jsonl"
        return [path] if staging.text_file(path, "metadata") else []


def _bbox(box: Box) -> list[float]:
    x0, y0, x1, y1 = box
    return [json_number(value) for value in (x0, y0, x1 - x0, y1 - y0)]
