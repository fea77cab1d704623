"""A folder of images by class with ``metadata.jsonl``, as Hugging Face's ``imagefolder`` reads it.

::

    OUT/<split>/metadata.jsonl           one object per line and image
    OUT/<split>/CLASS/NAME.jpg           links or copies

CLASS is the id (such as the WNID) or else the name of the image's class, escaped as file names are:
the given label, or else the most probable of the exported classes. So
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

from wsl.export.base import Context, ExportFormat, Split, box_corner_size, image_size, json_line
from wsl.export.names import escaped
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction


class ImageFolderFormat(ExportFormat):
    """Images by class with metadata."""

    label = "image folder"
    summary = "images by class with metadata, for Hugging Face datasets and torchvision"

    format: Literal["image_folder"] = "image_folder"

    images: Literal["link", "copy"] = "link"
    """Whether to add the images as symbolic links or as copies."""

    split: Split = "train"
    """Name of the split, such as train or val."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image and its line; see `ExportFormat.write_image`."""
        height, width = image_size(image)
        folder = f"{self.split}/"
        placed = context.place(image, chunk, folder + _class_folder(image, context))
        line = {
            "file_name": str(placed).removeprefix(folder),
            "image_id": image.image_id,
            "width": width,
            "height": height,
            "objects": _objects(image, context),
        }
        chunk.line("metadata", json_line(line))
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the metadata."""
        path = f"{self.split}/metadata.jsonl"
        return [path] if staging.text_file(path, "metadata") else []


def _class_folder(image: Prediction, context: Context) -> str:
    taken = image.localizations
    label = next((found.label for found in taken if found.is_ground_truth), taken[0].label)
    return escaped(context.classes.id(label) or context.classes.name(label))


def _objects(image: Prediction, context: Context) -> dict[str, list[Any]]:
    taken = image.localizations
    return {
        "bbox": [box_corner_size(found) for found in taken],
        "label": [found.label for found in taken],
        "category": [context.classes.name(found.label) for found in taken],
        "score": [found.score for found in taken],
        "quality": [found.quality for found in taken],
        "area": [found.run_lengths.area for found in taken],
        "mask": [found.run_lengths.counts for found in taken],
    }
