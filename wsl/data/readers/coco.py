"""COCO's instances: boxes and masks from one JSON file (Lin et al. 2014).

The file is an object with the lists ``images`` (id, file_name, width, height), ``categories`` (id,
name) and ``annotations`` (id, image_id, category_id, bbox, segmentation, iscrowd). The images lie
under one folder, where their ``file_name`` says.

A ``bbox`` is ``[x, y, width, height]``, 0-based and usually fractional, so ``x + width`` is the
half-open end already. A ``segmentation`` is a list of polygons ``[x0, y0, x1, y1, …]`` that belong
together, or run lengths (compressed text or a list of numbers); an empty list or none at all is an
object without a mask. pycocotools rasterizes polygons, so that masks are those of COCO's own
scoring. Crowds (``iscrowd``: 1) are kept, to be ignored.

An image's id is its ``file_name`` without the extension, or with it where two images would share
an id, as in `wsl.data.readers.files`; or what the images' key ``image_id`` says, where all have
one: an export of a run writes it, so that corrected annotations find the run's predictions. Its
label is the class that it shows, if that is one only; see `wsl.data.readers.voc`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from pycocotools import mask as coco_mask

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.parsing import (
    checked_box,
    checked_size,
    inside,
    shorten,
    unique_ids,
)
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import AnnotationError, DataError
from wsl.storage import read_json

# COCO's own boxes reach over the border by rounding.
_OVERHANG = 1.0
# pycocotools takes 80 bytes for each pixel of an outline; those of COCO have some ten thousand.
_LONGEST_OUTLINE = 2_000_000
# A run length of an image has at most 32 bits, five in a character.
_MOST_CHARACTERS = 7
_LARGEST = 1e12

_Record = Mapping[str, Any]


class CocoOptions(ReaderOptions):
    """COCO instances."""

    summary: ClassVar[str] = "COCO instances: one JSON file of boxes and masks"
    markers: ClassVar[tuple[str, ...]] = ("annotations/instances_*.json",)

    format: Literal["coco"] = "coco"
    """COCO instances: boxes and masks in one JSON file."""

    split: str | None = None
    """End of the name ``ROOT/annotations/instances_<split>.json``; null is that of the only such
    file, or ``val2017``."""

    annotations: Path | None = None
    """The JSON file, instead of that of `split`; file names then start from `root`."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the JSON file; see `CocoDataset`."""
        if self.annotations is not None:
            return CocoDataset(self.folder, categories, annotations=self.annotations.absolute())
        split = self.split or _only_split(self.folder) or "val2017"
        return CocoDataset(self.folder, categories, split=split)


def _only_split(root: Path) -> str | None:
    files = list((root / "annotations").glob("instances_*.json"))
    return files[0].stem.removeprefix("instances_") if len(files) == 1 else None


class CocoDataset(Dataset):
    """The images of one file of COCO instances.

    Parameters
    ----------
    root : Path
        The folder of images (``coco/val2017``); or, without `annotations`, the one that holds
        ``annotations/instances_<split>.json`` and the images, in a folder named after the split
        or else in ``images``, if there is one of these.
    categories : Categories
    annotations : Path or None
        The JSON file.
    split : str or None
        Such as ``val2017``; needed if `annotations` is None, else not used.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a list or a key that every image needs, names an image
        twice, annotates images that it does not list, or the classifier knows none of the classes.
    """

    def __init__(
        self,
        root: Path,
        categories: Categories,
        *,
        annotations: Path | None = None,
        split: str | None = None,
    ) -> None:
        if annotations is not None:
            split = annotations.stem
        elif split is None:
            raise DataError("a COCO dataset needs its annotations' JSON file, or a split")
        else:
            annotations = root / "annotations" / f"instances_{split}.json"
            root = next((root / name for name in (split, "images") if (root / name).is_dir()), root)
        self.root = root
        self.categories = categories
        self.name = f"coco {split}"
        self._file = annotations
        content = _read_json(annotations)
        self._images = _indexed(content, "images", "file_name", annotations)
        inside((image["file_name"] for image in self._images.values()), annotations)
        self._keys = tuple(self._images)
        self.image_ids = unique_ids(_image_ids(list(self._images.values())), annotations)
        classes = _indexed(content, "categories", "name", annotations)
        names = [known["name"] for known in classes.values()]
        labels = categories.match(names, source=str(annotations))
        self._labels = dict(zip(classes, labels, strict=True))
        self._objects = _by_image(content, self._images, annotations)

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation; see `Dataset.sample`."""
        image = self._images[self._keys[index]]
        where = f"{self._file}: image {shorten(image['file_name'])}"
        size = checked_size(
            image.get("height"), image.get("width"), where, max_pixels=self.max_pixels
        )
        instances = tuple(
            self._instance(item, size, where, with_mask=annotated)
            for item in self._objects.get(self._keys[index], [])
        )
        annotation = Annotation(instances, size)
        path = self.root / image["file_name"]
        known = annotation if annotated else None
        return Sample(self.image_ids[index], path, annotation.only_label, known)

    def _instance(
        self, item: _Record, size: tuple[int, int], where: str, *, with_mask: bool
    ) -> Instance:
        where = f"{where}, annotation {shorten(item.get('id'))}"
        category = item.get("category_id")
        if not isinstance(category, int | str) or category not in self._labels:
            raise AnnotationError(
                f"{where}: category_id must be one of the file's categories, "
                f"but is {shorten(category)}"
            )
        crowd = item.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise AnnotationError(f"{where}: iscrowd must be 0 or 1, but is {shorten(crowd)}")
        box = _box(item.get("bbox"), size, where)
        mask = _mask(item.get("segmentation"), size, where) if with_mask else None
        area = _area(item.get("area"), where)
        return Instance(self._labels[category], box, mask, ignore=bool(crowd), area=area)


def _area(found: Any, where: str) -> float | None:
    if found is None:
        return None
    if not _is_number(found) or found < 0:
        raise AnnotationError(f"{where}: area must be a number of pixels, but is {shorten(found)}")
    return float(found)


def _read_json(path: Path) -> _Record:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the annotations {path}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} must be an object with images, annotations and categories, but is a "
            f"{type(content).__name__}: are these results and not annotations?"
        )
    return content


def _records(content: _Record, name: str, path: Path) -> list[_Record]:
    records = content.get(name)
    if not isinstance(records, list) or not all(isinstance(item, dict) for item in records):
        raise DataError(f"{path} must have a list of objects {name!r}")
    return records


def _indexed(content: _Record, name: str, text: str, path: Path) -> dict[int | str, _Record]:
    """Index the records of a list by their id, in the list's order; all have the key `text`."""
    found: dict[int | str, _Record] = {}
    for position, item in enumerate(_records(content, name, path)):
        if not isinstance(item.get("id"), int | str):
            raise DataError(f"{path}: {name}[{position}] must have the key 'id'")
        if not (isinstance(item.get(text), str) and item[text]):
            raise DataError(f"{path}: {name}[{position}] must have a text as the key {text!r}")
        if item["id"] in found:
            raise DataError(f"{path}: {name} must have unique ids, not {shorten(item['id'])} twice")
        found[item["id"]] = item
    if not found:
        raise DataError(f"{path}: the list {name!r} must not be empty")
    return found


def _by_image(
    content: _Record, images: Mapping[int | str, _Record], path: Path
) -> dict[int | str, list[_Record]]:
    found: dict[int | str, list[_Record]] = {}
    for position, item in enumerate(_records(content, "annotations", path)):
        image = item.get("image_id")
        if not isinstance(image, int | str) or image not in images:
            raise DataError(
                f"{path}: annotations[{position}] is of the image {shorten(image)}, "
                "which is not in the list 'images'"
            )
        found.setdefault(image, []).append(item)
    return found


def _image_ids(images: list[_Record]) -> list[str]:
    if all(isinstance(image.get("image_id"), str) for image in images):
        return [image["image_id"] for image in images]
    names = [image["file_name"] for image in images]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    times, files = Counter(stems), set(names)
    return [
        name if times[stem] > 1 or (stem != name and stem in files) else stem
        for stem, name in zip(stems, names, strict=True)
    ]


def _box(bbox: object, size: tuple[int, int], where: str) -> Box:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise AnnotationError(
            f"{where}: bbox must be [x, y, width, height], but is {shorten(bbox)}"
        )
    x, y, width, height = bbox
    if width < 0 or height < 0:
        raise AnnotationError(
            f"{where}: bbox must not have a negative side, but is {shorten(bbox)}"
        )
    return checked_box((x, y, x + width, y + height), size, where, overhang=_OVERHANG)


def _mask(segmentation: object, size: tuple[int, int], where: str) -> str | None:
    """Compressed run lengths of a segmentation; None if there is none."""
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        return from_polygons(segmentation, size, where)
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size, where)
    raise AnnotationError(
        f"{where}: segmentation must be a list of polygons or run lengths, "
        f"but is a {type(segmentation).__name__}"
    )


def from_polygons(polygons: Sequence[object], size: tuple[int, int], where: str) -> str:
    """Compressed run lengths of the union of polygons, ``[x0, y0, x1, y1, x2, y2, …]`` each.

    Raises
    ------
    AnnotationError
        If one is none, lies far outside of the image, or they are too long.
    """
    # pycocotools cuts polygons at the border, but needs memory for all that lies outside.
    far = 2 * max(size)
    for polygon in polygons:
        # Four numbers would be taken for a box by pycocotools.
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not all(map(_is_number, polygon))
        ):
            raise AnnotationError(
                f"{where}: a polygon must be [x0, y0, x1, y1, x2, y2, …] with three or more "
                f"points, but is {shorten(polygon)}"
            )
        if max(map(abs, polygon)) > far:
            raise AnnotationError(
                f"{where}: a polygon must lie in the image of {size[1]} × {size[0]} pixels, "
                f"but has the coordinate {max(polygon, key=abs):g}"
            )
    if sum(map(_outline, polygons)) > _LONGEST_OUTLINE:
        raise AnnotationError(
            f"{where}: the polygons' outlines must be at most {_LONGEST_OUTLINE:,} pixels long"
        )
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return str(merged["counts"].decode("ascii"))


def _outline(polygon: Any) -> float:
    """Pixels of a polygon's outline: of each edge, the longer of its extents along x and y."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() + len(points))


def _from_runs(runs: _Record, size: tuple[int, int], where: str) -> str:
    stated, counts = runs.get("size"), runs.get("counts")
    pixels = size[0] * size[1]
    if stated != list(size):
        raise AnnotationError(
            f"{where}: the run lengths' size [height, width] must be the image's {list(size)}, "
            f"but is {shorten(stated)}"
        )
    if isinstance(counts, str) and len(counts) <= _MOST_CHARACTERS * (pixels + 1):
        lengths = _unpacked(counts, where)
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        lengths = counts
    else:
        raise AnnotationError(f"{where}: counts must be text or a list of integers")
    # pycocotools trusts the lengths and would write past the end of the mask.
    if min(lengths, default=0) < 0 or sum(lengths) != pixels:
        raise AnnotationError(
            f"{where}: the run lengths must be positive and sum to the image's {pixels} pixels, "
            f"but sum to {shorten(sum(lengths))}"
        )
    packed = coco_mask.frPyObjects({"size": list(size), "counts": lengths}, *size)
    return str(packed["counts"].decode("ascii"))


def _unpacked(counts: str, where: str) -> list[int]:
    """Run lengths from COCO's text: groups of five bits from the lowest, one per character.

    A character is 48 plus five bits, plus 32 if more follow; the last one's highest bit is the
    sign. From the fourth number on, the text holds the difference to the number two before.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise AnnotationError(
                f"{where}: counts hold {shorten(character)}, which is no run length"
            )
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise AnnotationError(f"{where}: counts end in the middle of a run length")
    return lengths


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
