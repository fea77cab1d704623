"""COCO: one JSON file of instances, and one in the format of detection results.

::

    OUT/annotations/instances_<split>.json
    OUT/annotations/results_<split>.json
    OUT/images/…                            if `images` is link or copy

``instances`` is an object with the lists

- ``images``: ``id``, ``width``, ``height``, ``file_name`` (relative to the dataset's root, or to
  ``images/`` if the export has images), and ``image_id``, the id in the run;
- ``categories``: ``id`` from 1 (the classifier's index + 1), ``name``, ``supercategory``;
- ``annotations``: ``id``, ``image_id``, ``category_id``, ``bbox`` ``[x, y, width, height]`` with
  the corner of the first pixel at 0, ``area``, ``iscrowd`` (always 0), ``segmentation``, and
  beyond the format ``score`` and ``quality``.

``segmentation`` is ``{"size": [height, width], "counts": "…"}``, compressed run lengths, or
polygons along pixel borders (see `wsl.export.contours`), one for each part. Polygons cannot have
holes: a mask that has some keeps its run lengths. With `shape` box it is empty, and ``area`` is
the box's.

Image ids are the run's where all of those are whole numbers, as in datasets that come from COCO,
and else count from 1. The box is the run's, which surrounds the largest part of the mask only.

``results`` is a list of ``image_id``, ``category_id``, ``bbox``, ``score``, ``segmentation`` (run
lengths, always), for ``COCO.loadRes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from wsl.export.base import (
    Context,
    DatasetFormat,
    Shape,
    box_corner_size,
    image_size,
    json_line,
)
from wsl.export.contours import boundary_rings
from wsl.export.instances import InstanceFormat
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction


class CocoFormat(DatasetFormat, InstanceFormat):
    """COCO instances."""

    label = "COCO"
    summary = "instances and results for pycocotools, torchvision and detection libraries"

    format: Literal["coco"] = "coco"

    shape: Shape = "mask"
    """Form of an object: run lengths (``mask``), ``polygon`` (a mask with holes stays run lengths),
    or ``box`` alone."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Add an image's objects; see `ExportFormat.write_image`."""
        file_name, _ = context.placed_or_original(image, chunk)
        position = chunk.number("coco images")
        number = int(image.image_id) if context.scan.numeric_ids else position
        height, width = image_size(image)
        entry = {"id": number, "width": width, "height": height, "file_name": file_name}
        chunk.line("images", json_line({**entry, "image_id": image.image_id}))
        for found in image.localizations:
            annotation_id = chunk.number("coco annotations")
            annotation = {"id": annotation_id, **_annotation(found, number, self.shape)}
            chunk.line("annotations", json_line(annotation))
            chunk.line("results", json_line(_result(found, number)))
            chunk.counts["holes"] += int(
                self.shape == "polygon" and isinstance(annotation["segmentation"], dict)
            )
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write both files, an entry at a time."""
        split = self.split
        paths = [f"annotations/{kind}_{split}.json" for kind in ("instances", "results")]
        with staging.whole_file(paths[0]) as file:
            head = {"description": f"{context.run.dataset_name}, localized by wsl"}
            file.write(f'{{"info":{json_line(head)},"licenses":[],\n'.encode())
            file.write(f'"categories":{json_line(_categories(context))},\n'.encode())
            for kind, end in (("images", b",\n"), ("annotations", b"}\n")):
                file.write(f'"{kind}":'.encode())
                file.writelines(_array(staging.lines(kind)))
                file.write(end)
        with staging.whole_file(paths[1]) as file:
            file.writelines(_array(staging.lines("results")))
            file.write(b"\n")
        return paths


def _categories(context: Context) -> list[dict[str, Any]]:
    return [
        {"id": label + 1, "name": context.classes.name(label), "supercategory": ""}
        for label in context.classes.labels
    ]


def _array(lines: Iterator[bytes]) -> Iterator[bytes]:
    """JSON array of lines that are JSON each."""
    separator = b"[\n"
    for line in lines:
        yield separator + line
        separator = b",\n"
    yield b"[]" if separator == b"[\n" else b"\n]"


def _run_lengths(found: Localization) -> dict[str, Any]:
    return {"size": list(found.size), "counts": found.run_lengths.counts}


def _annotation(found: Localization, image_number: int, shape: Shape) -> dict[str, Any]:
    bbox = box_corner_size(found)
    area: float | int = found.run_lengths.area
    segmentation: Any = _run_lengths(found)
    if shape == "box":
        area, segmentation = bbox[2] * bbox[3], []
    elif shape == "polygon":
        rings = boundary_rings(found.mask)
        if not rings.holes:
            segmentation = [ring.ravel().tolist() for ring in rings.outer]
    return {
        "image_id": image_number,
        "category_id": found.label + 1,
        "bbox": bbox,
        "area": area,
        "iscrowd": 0,
        "segmentation": segmentation,
        "score": found.score,
        "quality": found.quality,
    }


def _result(found: Localization, image_number: int) -> dict[str, Any]:
    result = {
        "image_id": image_number,
        "category_id": found.label + 1,
        "bbox": box_corner_size(found),
        "score": found.score,
    }
    return result | ({"segmentation": _run_lengths(found)} if found.run_lengths.area else {})
