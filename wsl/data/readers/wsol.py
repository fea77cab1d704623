"""The lists of wsolevaluation (Choe et al. 2020): ILSVRC, CUB and Open Images 30k.

The layout, per dataset and split::

    METADATA/<split>/image_ids.txt      path/of/image.jpg                     gives the order
                     class_labels.txt   path/of/image.jpg,<class>             0-based
                     image_sizes.txt    path/of/image.jpg,<width>,<height>    not for Open Images
                     localization.txt   path/of/image.jpg,<x0>,<y0>,<x1>,<y1>           or
                                        path/of/image.jpg,<mask.png>,<ignore mask.png>
    ROOT/path/of/image.jpg, ROOT/<mask.png>

Boxes are 0-based with **inclusive** corners, as the reference program reads them, one line per
instance. (Its boxes of CUB are the x + width of CUB's own files taken for a last column, and so
one pixel larger than what `wsl.data.readers.cub` reads. Kept: published figures rest on it.)

Masks are one line per instance; the line of an image's first mask names the image's ignore mask,
the others leave that field empty. A mask is where a pixel is above 0; pixels of an instance are
never ignored. A mask of another size than the image is brought to the image's size by nearest
neighbor, and also kept as it is. An empty mask is no instance. Splits for training have no
``localization.txt``: their images have no annotation.

Images keep the path of the lists as their id. Class numbers are indices into the classifier's
categories, in the order of the sorted class names (for ILSVRC: of the WNIDs); the lists hold no
names, so all that can be checked is that there are as many categories as classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np

from wsl.boxes import from_inclusive
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.parsing import (
    checked_box,
    checked_size,
    gray_image,
    inside,
    read_rows,
    shorten,
    stated_size,
    unique_ids,
    whole_number,
)
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import AnnotationError, DataError
from wsl.masks import Mask, RunLengths, encode_rle, mask_to_box

# Classes of the published lists, by the name of their folder.
_PUBLISHED_CLASSES = {"ILSVRC": 1000, "CUB": 200, "OpenImages": 100}
# Each becomes a category, also those that occur nowhere.
_MOST_CLASSES = 1_000_000
# The boxes of CUB end at x + width, which is one column past the last one that they mean.
_OVERHANG = 1.0


@dataclass(frozen=True)
class _MaskFiles:
    masks: tuple[str, ...]
    ignore: str


class WsolOptions(ReaderOptions):
    """Lists of wsolevaluation."""

    summary: ClassVar[str] = "wsolevaluation's lists of ILSVRC, CUB or Open Images"

    format: Literal["wsol"] = "wsol"
    """The lists of wsolevaluation, of ILSVRC, CUB or Open Images."""

    annotations: Path
    """The dataset's folder of lists, such as ``metadata/CUB``."""

    split: str = "val"
    """A folder in `annotations`."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the split; see `WsolDataset`."""
        lists = self.annotations.absolute()
        return WsolDataset(self.folder, categories, metadata=lists, split=self.split)


class WsolDataset(Dataset):
    """One split of a dataset in wsolevaluation's layout.

    Parameters
    ----------
    root : Path
        The folder that the lists' paths start from, of images and masks alike
        (``dataset/OpenImages``).
    categories : Categories
    metadata : Path
        The dataset's folder of lists (``metadata/OpenImages``).
    split : str
        ``train``, ``val`` or ``test``: a folder in `metadata`.

    Raises
    ------
    DataError
        If a list cannot be read, contradicts another, or has other classes than the classifier.
    """

    def __init__(self, root: Path, categories: Categories, *, metadata: Path, split: str) -> None:
        self.root = root
        self.categories = categories
        self.name = f"{metadata.name} {split}"
        folder = metadata / split
        if not folder.is_dir():
            found = sorted(path.name for path in metadata.glob("*/") if path.is_dir())
            raise DataError(f"there is no list of the split {split!r} in {metadata}: found {found}")
        listed = folder / "image_ids.txt"
        rows = read_rows(listed, 1, separator=",", layout="image_id")
        self.image_ids = unique_ids(inside((row[0] for row in rows), listed), listed)
        known = frozenset(self.image_ids)
        self._labels = _read_labels(folder / "class_labels.txt", known)
        _check_class_count(self._labels, categories, metadata)
        self._sizes = _read_sizes(folder / "image_sizes.txt", known)
        self._boxes, self._mask_files = _read_localization(folder / "localization.txt", known)
        self._localized = (folder / "localization.txt").is_file()

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation; see `Dataset.sample`."""
        image_id = self.image_ids[index]
        if image_id not in self._labels:
            raise AnnotationError(f"class_labels.txt of {self.name} has no line for {image_id!r}")
        label = self._labels[image_id]
        annotation = None
        if annotated and self._localized:
            annotation = self._annotation(image_id, label)
        return Sample(image_id, self.root / image_id, label, annotation)

    def _annotation(self, image_id: str, label: int) -> Annotation:
        if image_id in self._mask_files:
            return self._mask_annotation(image_id, label)
        if image_id not in self._boxes:
            raise AnnotationError(f"localization.txt of {self.name} has no line for {image_id!r}")
        size = self._size(image_id)
        where = f"localization.txt of {self.name}: {image_id!r}"
        boxes = [
            checked_box(from_inclusive(box), size, where, overhang=_OVERHANG)
            for box in self._boxes[image_id]
        ]
        return Annotation(tuple(Instance(label, box) for box in boxes), size)

    def _size(self, image_id: str) -> tuple[int, int] | None:
        where = f"image_sizes.txt of {self.name}: {image_id!r}"
        size = self._sizes.get(image_id)
        return size and checked_size(*size, where, max_pixels=self.max_pixels)

    def _mask(self, name: str, size: tuple[int, int]) -> tuple[RunLengths | None, Mask]:
        """Read a mask as it is stored, where that is in another size, and in the image's size."""
        gray = gray_image(self.root / name, max_pixels=self.max_pixels)
        mask = np.asarray(gray > 0, dtype=bool)
        if gray.shape == size:
            return None, mask
        resized = np.asarray(cv2.resize(gray, size[::-1], interpolation=cv2.INTER_NEAREST))
        return RunLengths.of(mask), np.asarray(resized > 0, dtype=bool)

    def _mask_annotation(self, image_id: str, label: int) -> Annotation:
        files = self._mask_files[image_id]
        size = self._size(image_id) or stated_size(self.root / image_id, max_pixels=self.max_pixels)
        foreground = np.zeros(size, dtype=bool)
        instances = []
        for name in files.masks:
            stored, mask = self._mask(name, size)
            foreground |= mask
            box = mask_to_box(mask)
            if box is not None:
                instances.append(Instance(label, box, encode_rle(mask), stored_mask=stored))
        if not files.ignore:
            return Annotation(tuple(instances), size)
        stored, ignored = self._mask(files.ignore, size)
        return Annotation(
            tuple(instances), size, encode_rle(ignored & ~foreground), stored_ignore_mask=stored
        )


def _read_labels(path: Path, known: frozenset[str]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for number, (image_id, text) in enumerate(
        read_rows(path, 2, separator=",", layout="image_id,class"), 1
    ):
        _check_known(image_id, known, path, number)
        label = whole_number(text)
        if label is None or label >= _MOST_CLASSES:
            raise DataError(
                f"line {number} of {path}: the class must be 0 or more and below "
                f"{_MOST_CLASSES:,}, found {shorten(text)}"
            )
        if labels.setdefault(image_id, label) != label:
            raise DataError(f"line {number} of {path}: {image_id!r} has two classes")
    return labels


def class_count(metadata: Path, split: str) -> int:
    """Count the classes of a folder of lists: those published, or those of the split."""
    folder = metadata / split
    rows = read_rows(folder / "image_ids.txt", 1, separator=",", layout="image_id")
    labels = _read_labels(folder / "class_labels.txt", frozenset(row[0] for row in rows))
    return _PUBLISHED_CLASSES.get(metadata.name, max(labels.values()) + 1)


def _check_class_count(labels: dict[str, int], categories: Categories, metadata: Path) -> None:
    count = _PUBLISHED_CLASSES.get(metadata.name, max(labels.values()) + 1)
    if count != len(categories) or max(labels.values()) >= count:
        raise DataError(
            f"{metadata} has {max(count, max(labels.values()) + 1)} classes, known by number only, "
            f"and the classifier {len(categories)}: they must be the same"
        )


def _read_sizes(path: Path, known: frozenset[str]) -> dict[str, tuple[int, int]]:
    if not path.is_file():
        return {}
    sizes: dict[str, tuple[int, int]] = {}
    rows = read_rows(path, 3, separator=",", layout="image_id,width,height")
    for number, (image_id, width, height) in enumerate(rows, 1):
        _check_known(image_id, known, path, number)
        rows_columns = whole_number(height), whole_number(width)
        if not (rows_columns[0] and rows_columns[1]):
            raise DataError(
                f"line {number} of {path}: width and height must be positive, "
                f"but are {shorten(width)} and {shorten(height)}"
            )
        sizes[image_id] = (rows_columns[0], rows_columns[1])
    return sizes


_Corners = dict[str, list[tuple[float, float, float, float]]]


def _read_localization(path: Path, known: frozenset[str]) -> tuple[_Corners, dict[str, _MaskFiles]]:
    """Boxes (inclusive corners) or files of masks of each image; one of the two is empty."""
    boxes: _Corners = {}
    masks: dict[str, _MaskFiles] = {}
    if not path.is_file():
        return boxes, masks
    layout = "image_id,x0,y0,x1,y1 or image_id,mask,ignore_mask"
    for number, row in enumerate(read_rows(path, (3, 5), separator=",", layout=layout), 1):
        image_id = row[0]
        _check_known(image_id, known, path, number)
        if len(row) == 5:
            boxes.setdefault(image_id, []).append(_corners(row[1:], path, number))
            continue
        if not row[1]:
            raise DataError(f"line {number} of {path} must name a mask, but names none")
        inside(filter(None, row[1:]), path)
        if image_id not in masks:
            masks[image_id] = _MaskFiles((row[1],), row[2])
        elif row[2]:
            raise DataError(
                f"line {number} of {path}: only the first line of an image names an ignore mask, "
                f"but this one names {row[2]!r}"
            )
        else:
            first = masks[image_id]
            masks[image_id] = _MaskFiles((*first.masks, row[1]), first.ignore)
    return boxes, masks


def _corners(fields: list[str], path: Path, number: int) -> tuple[float, float, float, float]:
    if not all(re.fullmatch(r"[+-]?[0-9]{1,9}", field) for field in fields):
        raise DataError(
            f"line {number} of {path}: x0,y0,x1,y1 must be integers, "
            f"found {shorten(','.join(fields))}"
        )
    x0, y0, x1, y1 = map(int, fields)
    return (x0, y0, x1, y1)


def _check_known(image_id: str, known: frozenset[str], path: Path, number: int) -> None:
    if image_id not in known:
        raise DataError(f"line {number} of {path}: {image_id!r} is not in image_ids.txt")
