"""Pascal VOC: boxes from XML, masks from label images (Everingham et al. 2010).

The layout, which exports and annotation tools follow too::

    VOC2012/ImageSets/Main/<split>.txt          one image id per line
            JPEGImages/<id>.jpg
            Annotations/<id>.xml
            SegmentationObject/<id>.png         for some of the images, or none
            SegmentationClass/<id>.png

Boxes are 1-based with inclusive corners, and may be fractional: ``xmin = 1`` is the first column
and ``xmax = width`` the last. A box outside of that is refused, since it comes from a tool with
another convention. ``<part>`` boxes are not objects. ``difficult`` objects are kept, to be ignored.

In ``SegmentationObject`` the pixel value i stands for the i-th object of the XML file, 0 for
background, and 255 for pixels that are not to be scored (the rim around objects); they become the
annotation's ignore mask. An object without pixels has no mask. Without that file,
``SegmentationClass`` gives the mask of an object that is the only one of its class, for VOC's own
20 classes, whose values are their alphabetical order from 1; where a ``classes.csv`` says that the
values mean other classes, as exports of runs have it, it is not read.

An image's id is its name in the list; but exports of runs write other names for ids that cannot be
file names. What their ``names.csv`` (columns ``image_id,name``, in the VOC folder or two above)
lists is undone, or ``%2F`` and the like where there is none, so that corrected annotations find the
run's predictions.

An image's label is the class that it shows, if that is one only: several classes of objects that
are to be scored make it None. Classes that the classifier does not know have the label -1 and
count for nothing here. Classes are found by name; it is an error if the classifier knows none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box, box_iou
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.parsing import (
    checked_box,
    inside,
    label_image,
    read_rows,
    read_text,
    read_xml,
    shorten,
    unique_ids,
    xml_corners,
    xml_size,
)
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import AnnotationError, DataError
from wsl.masks import encode_rle, mask_to_box

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_IGNORED = 255
_SUFFIXES = (".jpg", ".jpeg", ".JPEG", ".JPG", ".png")


class VocOptions(ReaderOptions):
    """Pascal VOC."""

    summary: ClassVar[str] = "Pascal VOC: XML files of boxes and label images of masks"
    markers: ClassVar[tuple[str, ...]] = ("ImageSets/Main", "VOCdevkit/*/ImageSets/Main")

    format: Literal["voc"] = "voc"
    """Pascal VOC: boxes in XML files, masks in label images."""

    split: str = "val"
    """A list in ``ImageSets/Main``, or elsewhere in ``ImageSets`` such as ``Segmentation/val``."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the split; see `VocDataset`."""
        return VocDataset(self.folder, categories, split=self.split)


class VocDataset(Dataset):
    """One split of a dataset in Pascal VOC's layout.

    Parameters
    ----------
    root : Path
        The folder with ``Annotations`` (``VOCdevkit/VOC2012``), or one that holds a single such
        folder, also inside ``VOCdevkit``.
    categories : Categories
    split : str
        A list in ``ImageSets/Main``, such as ``val``, or elsewhere in ``ImageSets``, such as
        ``Segmentation/val``.

    Raises
    ------
    DataError
        If the list cannot be read or names an image twice, or the classifier knows none of the
        classes.
    """

    def __init__(self, root: Path, categories: Categories, *, split: str) -> None:
        self.root = _voc_folder(root)
        self.categories = categories
        self.name = f"{self.root.name} {split}"
        sets = self.root / "ImageSets"
        listed = sets / f"{split}.txt" if "/" in split else sets / "Main" / f"{split}.txt"
        if not listed.is_file():
            found = sorted(path.stem for path in listed.parent.glob("*.txt"))
            shown = ", ".join(found[:12]) or "no list"
            raise DataError(f"there is no list of images {listed}; beside it: {shown}")
        rows = read_rows(listed, 1, separator=" ", layout="image id")
        self._names = unique_ids(inside((row[0] for row in rows), listed), listed)
        self.image_ids = unique_ids(_original_ids(self._names, self.root), listed)
        self._check_classes()

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation; see `Dataset.sample`."""
        image_id, name = self.image_ids[index], self._names[index]
        annotation, classes = self._boxes(name)
        label = annotation.only_label
        if annotated:
            annotation = self._with_masks(name, annotation, classes)
        return Sample(image_id, self._path(name), label, annotation if annotated else None)

    def _path(self, name: str) -> Path:
        candidates = [self.root / "JPEGImages" / f"{name}{suffix}" for suffix in _SUFFIXES]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def _boxes(self, image: str) -> tuple[Annotation, list[str]]:
        """Annotation without masks, and the names of the objects' classes."""
        path = self.root / "Annotations" / f"{image}.xml"
        xml = _annotation_xml(path)
        stated = Path(xml.findtext("filename") or image)
        if Path(image).name not in (stated.name, stated.stem):
            raise AnnotationError(
                f"{path} must be of the image {image!r}, but its filename is {shorten(stated.name)}"
            )
        size = xml_size(xml, path, max_pixels=self.max_pixels)
        instances, names = [], []
        for number, item in enumerate(xml.findall("object"), 1):
            where = f"{path}: object {number}"
            name = (item.findtext("name") or "").strip()
            if not name:
                raise AnnotationError(f"{where} must have a name")
            found = self.categories.find(name)
            box = _box(item, size, where)
            ignore = _flag(item, "difficult", where)
            instances.append(Instance(-1 if found is None else found, box, ignore=ignore))
            names.append(name)
        return Annotation(tuple(instances), size), names

    def _with_masks(self, image: str, annotation: Annotation, names: list[str]) -> Annotation:
        objects = self.root / "SegmentationObject" / f"{image}.png"
        classes = self.root / "SegmentationClass" / f"{image}.png"
        if objects.is_file():
            values = label_image(objects, size=annotation.size, max_pixels=self.max_pixels)
            _check_values(values, len(names), objects)
            owners = {position: position + 1 for position in range(len(names))}
        elif classes.is_file() and not (self.root / "classes.csv").exists():
            values = label_image(classes, size=annotation.size, max_pixels=self.max_pixels)
            owners = dict(_only_ones(names))
        else:
            return annotation
        instances = list(annotation.instances)
        for position, value in owners.items():
            mask = np.asarray(values == value, dtype=bool)
            extent = mask_to_box(mask)
            if extent is None:
                continue
            if not box_iou([extent], [instances[position].box]).any():
                raise AnnotationError(
                    f"{objects if objects.is_file() else classes}: the pixels of object "
                    f"{position + 1} must lie in its box {instances[position].box}, "
                    f"but lie in {extent}: is the order that of the XML file?"
                )
            instances[position] = replace(instances[position], mask=encode_rle(mask))
        ignored = np.asarray(values == _IGNORED, dtype=bool)
        ignore_mask = encode_rle(ignored) if ignored.any() else None
        size = (values.shape[0], values.shape[1])
        return Annotation(tuple(instances), size, ignore_mask)

    def _check_classes(self) -> None:
        """Refuse a dataset none of whose classes is known; stops at the first that is."""
        names: dict[str, None] = {}
        for image in self._names:
            path = self.root / "Annotations" / f"{image}.xml"
            try:
                found = [
                    item.findtext("name") or "" for item in _annotation_xml(path).findall("object")
                ]
            except AnnotationError:
                # Told when the image is asked for.
                continue
            if any(self.categories.find(name.strip()) is not None for name in found):
                return
            names.update(dict.fromkeys(name.strip() for name in found))
        if names:
            self.categories.match(list(names), source=str(self.root))


def _voc_folder(root: Path) -> Path:
    if (root / "Annotations").is_dir():
        return root
    inner = sorted(
        path.parent
        for pattern in ("*/Annotations", "VOCdevkit/*/Annotations")
        for path in root.glob(pattern)
        if path.is_dir()
    )
    if len(inner) != 1:
        shown = ", ".join(path.name for path in inner) or "none"
        raise DataError(
            f"{root} must have a folder Annotations, or one folder that has it, but has {shown}"
        )
    return inner[0]


def _original_ids(names: Sequence[str], root: Path) -> list[str]:
    """Ids of images by their names in an export."""
    listed = (root / "names.csv", root.parent.parent / "names.csv")
    path = next((path for path in listed if path.is_file()), None)
    if path is None:
        return [unquote(name) for name in names]
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if rows[:1] != [["image_id", "name"]] or any(len(row) != 2 for row in rows):
        raise DataError(
            f"{path} must have the columns image_id,name, but starts with {shorten(rows[:1])}"
        )
    # An apostrophe keeps spreadsheets from taking an id for a formula.
    original = {name: image_id.removeprefix("'") for image_id, name in rows[1:]}
    return [original.get(name, name) for name in names]


def _annotation_xml(path: Path) -> Element:
    try:
        return read_xml(path)
    except FileNotFoundError as error:
        raise AnnotationError(f"there is no annotation {path}") from error


def _box(item: Element, size: tuple[int, int] | None, where: str) -> Box:
    x_min, y_min, x_max, y_max = xml_corners(item, where)
    if min(x_min, y_min) < 1:
        raise AnnotationError(
            f"{where}: VOC's boxes are 1-based, but xmin and ymin are {x_min:g} and {y_min:g}"
        )
    if x_max < x_min or y_max < y_min:
        raise AnnotationError(
            f"{where}: xmax and ymax ({x_max:g}, {y_max:g}) must not lie before xmin and ymin "
            f"({x_min:g}, {y_min:g})"
        )
    return checked_box((x_min - 1, y_min - 1, x_max, y_max), size, where)


def _flag(item: Element, name: str, where: str) -> bool:
    text = (item.findtext(name) or "0").strip()
    if text not in ("0", "1"):
        raise AnnotationError(f"{where}: {name} must be 0 or 1, found {shorten(text)}")
    return text == "1"


def _check_values(values: NDArray[np.uint8], count: int, path: Path) -> None:
    most = int(np.max(values, where=values != _IGNORED, initial=0))
    if most > count:
        raise AnnotationError(f"{path} has an object {most}, but the XML file has {count} objects")


def _only_ones(names: list[str]) -> Iterator[tuple[int, int]]:
    """Position and pixel value of each object that is the only one of its (VOC) class."""
    for position, name in enumerate(names):
        if name in VOC_CLASSES and names.count(name) == 1:
            yield position, VOC_CLASSES.index(name) + 1
