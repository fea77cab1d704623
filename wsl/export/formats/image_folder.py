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
from typing import Any, Literal

from wsl.export.exporter import Context, Exporter, box_corner_size, image_size, json_line
from wsl.export.names import escaped
from wsl.export.options import ExportOptions, Split
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = ["ImageFolderExporter", "ImageFolderOptions"]


class ImageFolderOptions(ExportOptions):
    """Images by class with metadata."""

    label = "image folder"
    summary = "images by class with metadata, for Hugging Face datasets and torchvision"

    format: Literal["image_folder"] = "image_folder"

    images: Literal["link", "copy"] = "link"
    """Whether the images go in as symbolic links or as copies."""

    split: Split = "train"
    """Name of the part of the dataset, such as train or val."""

    def exporter(self, context: Context) -> ImageFolderExporter:
        """Build the exporter."""
        return ImageFolderExporter(self, context)


class ImageFolderExporter(Exporter[ImageFolderOptions]):
    """Images by class with metadata."""

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Write an image and its line; see `Exporter.image`."""
        height, width = image_size(image)
        folder = f"{self.options.split}/"
        placed = self.place(image, chunk, folder + self._class_folder(taken))
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
        classes = self.context.classes
        return escaped(classes.id(label) or classes.name(label))

    def _objects(self, taken: tuple[Localization, ...]) -> dict[str, list[Any]]:
        return {
            "bbox": [box_corner_size(found) for found in taken],
            "label": [found.label for found in taken],
            "category": [self.context.classes.name(found.label) for found in taken],
            "score": [found.score for found in taken],
            "quality": [found.quality for found in taken],
            "area": [found.run_lengths.area for found in taken],
            "mask": [found.run_lengths.counts for found in taken],
        }

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the metadata."""
        path = f"{self.options.split}/metadata.jsonl"
        return [path] if staging.text_file(path, "metadata") else []
