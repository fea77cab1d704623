"""Caltech-UCSD Birds 200-2011 in its own files (Wah et al. 2011).

The layout::

    CUB_200_2011/images.txt               <image number> <path in images/>
                 image_class_labels.txt   <image number> <class number>
                 bounding_boxes.txt       <image number> <x> <y> <width> <height>
                 train_test_split.txt     <image number> <1: training, 0: test>
                 classes.txt              <class number> <name, such as 017.Cardinal>
                 images/017.Cardinal/Cardinal_0001_17057.jpg
                 segmentations/017.Cardinal/Cardinal_0001_17057.png    (or beside CUB_200_2011)

Numbers of images and classes start at 1. Boxes are floats with integer values, one per image; the
files call them pixels and say no more. x and y are 0-based (a bird at the left border has x = 0),
and this reader takes the width at its word: ``(x, y, x + width, y + height)`` half-open, as most
users of the files do. No box reaches the last column that way, so the widths may have been meant
as "last minus first": wsolevaluation reads them so, see `wsl.data.readers.wsol`.

Segmentations are gray images; the gray is the share of the (five) annotators who counted the pixel
to the bird. The mask is where more than half did: above 127.

Images keep their path in ``images/`` as their id, as wsolevaluation's lists have it. Classes are
found among the classifier's categories by their names with or without the number. Categories
without names (`Categories.numbered`), if there are as many, are taken to be in CUB's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.parsing import checked_box, gray_image, inside, parse_numbers, read_rows, unique_ids
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import AnnotationError, DataError
from wsl.masks import encode_rle

_SPLITS = {"train": ("1",), "test": ("0",), "all": ("0", "1")}
_CONSENSUS = 127
_OVERHANG = 1.0


class CubOptions(ReaderOptions):
    """CUB-200-2011."""

    summary: ClassVar[str] = "CUB-200-2011 in its own files"
    markers: ClassVar[tuple[str, ...]] = ("image_class_labels.txt",)

    format: Literal["cub"] = "cub"
    """CUB-200-2011 in its own files: one box per image, and masks where they are there."""

    split: Literal["train", "test", "all"] = "test"
    """The part that ``train_test_split.txt`` names, or all."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the split; see `CubDataset`."""
        return CubDataset(self.folder, categories, split=self.split)


class CubDataset(Dataset):
    """One split of CUB-200-2011.

    Parameters
    ----------
    root : Path
        ``CUB_200_2011``, or the folder that holds it.
    categories : Categories
    split : {'train', 'test', 'all'}

    Raises
    ------
    DataError
        If a list cannot be read or contradicts another, or the classifier knows none of the birds.
    """

    def __init__(self, root: Path, categories: Categories, *, split: str) -> None:
        inner = root / "CUB_200_2011"
        self.root = inner if not (root / "images.txt").is_file() and inner.is_dir() else root
        self.categories = categories
        self.name = f"CUB-200-2011 {split}"
        paths = self._list("images.txt", 1, "<image number> <path>")
        chosen = self._list("train_test_split.txt", 1, "<image number> <0 or 1>")
        wrong = [number for number, (flag,) in chosen.items() if flag not in ("0", "1")]
        if wrong:
            raise DataError(f"train_test_split.txt: image {wrong[0]} must be in split 0 or 1")
        self._numbers = tuple(
            number for number in paths if chosen.get(number, [""])[0] in _SPLITS[split]
        )
        self.image_ids = unique_ids(
            inside((paths[number][0] for number in self._numbers), self.root / "images.txt"),
            self.root / "images.txt",
        )
        self._classes = self._list("image_class_labels.txt", 1, "<image number> <class number>")
        self._boxes = self._list("bounding_boxes.txt", 4, "<image number> <x> <y> <width> <height>")
        self._labels = self._class_labels()
        self._masks = next(
            (
                folder
                for folder in (self.root / "segmentations", self.root.parent / "segmentations")
                if folder.is_dir()
            ),
            None,
        )

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation; see `Dataset.sample`."""
        image_id, number = self.image_ids[index], self._numbers[index]
        class_number = self._classes.get(number, [""])[0]
        if class_number not in self._labels:
            raise AnnotationError(
                f"image_class_labels.txt: the class of image {number} ({image_id}) must be in "
                f"classes.txt, but is {class_number or 'missing'!r}"
            )
        label = self._labels[class_number]
        annotation = self._annotation(number, image_id, label) if annotated else None
        path = self.root / "images" / image_id
        return Sample(image_id, path, label if label >= 0 else None, annotation)

    def _annotation(self, number: str, image_id: str, label: int) -> Annotation:
        mask, size = None, None
        if self._masks is not None:
            path = (self._masks / image_id).with_suffix(".png")
            if path.is_file():
                gray = gray_image(path, max_pixels=self.max_pixels)
                size = (gray.shape[0], gray.shape[1])
                mask = encode_rle(np.asarray(gray > _CONSENSUS, dtype=bool))
        where = f"bounding_boxes.txt: image {number} ({image_id})"
        box = checked_box(self._box(number, where), size, where, overhang=_OVERHANG)
        return Annotation((Instance(label, box, mask),), size)

    def _box(self, number: str, where: str) -> Box:
        fields = self._boxes.get(number)
        if fields is None:
            raise AnnotationError(f"{where} has no line")
        x, y, width, height = parse_numbers(fields, f"{where}: x, y, width and height")
        return (x, y, x + width, y + height)

    def _list(self, name: str, fields: int, layout: str) -> dict[str, list[str]]:
        """Fields of each line by the number that the line starts with."""
        path = self.root / name
        found: dict[str, list[str]] = {}
        for number, *rest in read_rows(path, fields + 1, separator=None, layout=layout):
            if number in found:
                raise DataError(f"{path} must have one line per number, but {number} has two")
            found[number] = rest
        return found

    def _class_labels(self) -> dict[str, int]:
        """Index into the classifier's categories (-1: unknown) by class number."""
        names = {
            number: fields[0]
            for number, fields in self._list("classes.txt", 1, "<class number> <name>").items()
        }
        categories = self.categories
        if categories == Categories.numbered(len(names)):
            return {number: index for index, number in enumerate(names)}
        plain = [name.partition(".")[2] or name for name in names.values()]
        by_name = [
            full if categories.find(full) is not None else short
            for full, short in zip(names.values(), plain, strict=True)
        ]
        found = categories.match(by_name, source=f"CUB-200-2011 ({self.root})")
        return dict(zip(names, found, strict=True))
