"""ILSVRC CLS-LOC in the challenge's own layout (Russakovsky et al. 2015).

::

    ROOT/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG
    ROOT/Data/CLS-LOC/train/n01440764/n01440764_10026.JPEG
    ROOT/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml
    ROOT/Annotations/CLS-LOC/train/n01440764/n01440764_10026.xml     part of train has boxes
    ROOT/ImageSets/CLS-LOC/{val,train_cls,train_loc}.txt             "ID NUMBER" on each line
    ROOT/LOC_{val,train}_solution.csv                                "ID,WNID X0 Y0 X1 Y1 ..."
    ROOT/LOC_synset_mapping.txt                                      "WNID name, synonym, ..."
    ROOT/Masks/CLS-LOC/val/ILSVRC2012_val_00000001.png               not the challenge's: see below

``Data``, ``Annotations`` and ``ImageSets`` may also lie in ``ROOT/ILSVRC``. Other splits than
``train`` are laid out as ``val``. Image ids are those of the lists:
``ILSVRC2012_val_00000001``, ``n01440764/n01440764_10026``.

The images are those of the list in ``ImageSets``; without it those of the CSV (not for train, whose
CSV has only a part), sorted; without it those in the folder, sorted. Boxes, and for val the label,
come from the XML where the split's ``Annotations`` folder is there, else from the CSV. A label of
train is the image's folder.

Boxes in these files are 0-based and inclusive: 1 is added to their maxima and nothing is
subtracted. They are neither rounded nor clipped where they leave the image.

The challenge has no masks. Where a ``Masks`` folder lies beside (the bundled demo has one), the
pixel value i of an image's PNG stands for the i-th object of its XML or CSV, 0 for background.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from wsl.boxes import Box, clip_box, from_inclusive
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.parsing import (
    inside,
    label_image,
    parse_numbers,
    read_text,
    read_xml,
    shorten,
    unique_ids,
    xml_corners,
    xml_size,
)
from wsl.data.readers.files import list_images
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.data.synsets import match_categories
from wsl.errors import AnnotationError, DataError, choices_hint
from wsl.masks import encode_rle

# The challenge's own extension first; the others for copies that were converted.
_EXTENSIONS = (".JPEG", ".jpg", ".jpeg", ".JPG", ".png", ".PNG", ".webp", ".bmp")


class IlsvrcOptions(ReaderOptions):
    """ILSVRC CLS-LOC."""

    summary: ClassVar[str] = "ILSVRC CLS-LOC in the challenge's own layout"
    in_stores: ClassVar[bool] = True
    markers: ClassVar[tuple[str, ...]] = ("Data/CLS-LOC",)

    format: Literal["ilsvrc"] = "ilsvrc"
    """ILSVRC CLS-LOC in the challenge's own layout."""

    split: str = "val"
    """``val``, ``train``, or ``train_loc``: the images of ``train`` that the challenge lists as
    having boxes."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the split; see `IlsvrcDataset`."""
        layout = _Layout.of(self.folder, self.split)
        _check_split(layout, self.split)
        categories = match_categories(categories, layout.mapping)
        solutions: dict[str, str] | None = None
        if layout.solution.is_file() and not layout.annotations.is_dir():
            solutions = _read_solutions(layout.solution)
        ids, skipped = _list_ids(layout, solutions)
        return IlsvrcDataset(
            self.folder, self.split, categories, ids, solutions=solutions, skipped=skipped
        )


@dataclass(frozen=True)
class _Layout:
    """Where a split's files lie, whether they are there or not."""

    images: Path
    annotations: Path
    masks: Path
    image_list: Path
    solution: Path
    mapping: Path
    is_train: bool

    @classmethod
    def of(cls, root: Path, split: str) -> _Layout:
        base = root / "ILSVRC" if (root / "ILSVRC" / "Data").is_dir() else root
        folder = "train" if split == "train_loc" else split
        listed = "train_cls" if split == "train" else split
        return cls(
            images=base / "Data" / "CLS-LOC" / folder,
            annotations=base / "Annotations" / "CLS-LOC" / folder,
            masks=base / "Masks" / "CLS-LOC" / folder,
            image_list=base / "ImageSets" / "CLS-LOC" / f"{listed}.txt",
            solution=root / f"LOC_{folder}_solution.csv",
            mapping=root / "LOC_synset_mapping.txt",
            is_train=folder == "train",
        )


@dataclass(frozen=True)
class _Objects:
    """What a file says of one image: WNIDs with half-open boxes, and (height, width)."""

    source: str
    boxes: tuple[tuple[str, Box], ...]
    size: tuple[int, int] | None = None


class IlsvrcDataset(Dataset):
    """One split; made by `IlsvrcOptions.open`. XML is parsed when a sample is asked for.

    Of ``val`` with XML, the label is in the XML, so that it is parsed also for ``annotated=False``.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        categories: Categories,
        image_ids: Sequence[str],
        *,
        solutions: dict[str, str] | None,
        skipped: int = 0,
    ) -> None:
        self.name = f"ilsvrc {split}"
        self.root = root
        self.categories = categories
        self.image_ids = tuple(image_ids)
        self.skipped = skipped
        self._layout = _Layout.of(root, split)
        self._solutions = solutions
        self._has_masks = self._layout.masks.is_dir()
        self._index = categories.by_id

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation, but not its pixels.

        Without annotation file or CSV row, ``annotation`` is None, and for val also ``label``.

        Raises
        ------
        AnnotationError
            If the file is no XML, has a document type or entities, a box is reversed, not numeric
            or wholly outside of the stated size, a WNID is not the classifier's, or the objects of
            a val image are of several classes.
        """
        image_id = self.image_ids[index]
        path = self._image_path(image_id)
        label: int | None
        if self._layout.is_train:
            label = self._label(image_id.partition("/")[0], f"image {image_id}")
            found = self._objects(image_id) if annotated else None
        else:
            found = self._objects(image_id)
            label = self._label_of_all(found) if found else None
        if found is None or not annotated:
            return Sample(image_id, path, label)
        masks = self._masks(image_id, found)
        instances = tuple(
            Instance(self._label(wnid, found.source), box, mask)
            for (wnid, box), mask in zip(found.boxes, masks, strict=True)
        )
        return Sample(image_id, path, label, Annotation(instances, found.size))

    def _masks(self, image_id: str, found: _Objects) -> list[str | None]:
        """Read the run lengths of each object's mask; None for all where there is no file."""
        path = self._layout.masks / f"{image_id}.png"
        if not self._has_masks or not path.is_file():
            return [None] * len(found.boxes)
        numbers = label_image(path, size=found.size, max_pixels=self.max_pixels)
        if numbers.max(initial=0) > len(found.boxes):
            raise AnnotationError(
                f"{path} must hold 0 to {len(found.boxes)}, one value per object of "
                f"{found.source}, but holds {numbers.max()}"
            )
        return [encode_rle(numbers == number) for number in range(1, len(found.boxes) + 1)]

    def _image_path(self, image_id: str) -> Path:
        paths = [self._layout.images / (image_id + ending) for ending in _EXTENSIONS]
        return next((path for path in paths if path.exists()), paths[0])

    def _objects(self, image_id: str) -> _Objects | None:
        if self._solutions is None:
            path = self._layout.annotations / f"{image_id}.xml"
            return _read_objects(path, max_pixels=self.max_pixels)
        row = self._solutions.get(image_id)
        return None if row is None else _parse_row(row, f"{self._layout.solution}: {image_id}")

    def _label(self, wnid: str, source: str) -> int:
        if wnid not in self._index:
            raise AnnotationError(f"{source}: class {shorten(wnid)} is not one of the classifier's")
        return self._index[wnid]

    def _label_of_all(self, found: _Objects) -> int | None:
        wnids = list(dict.fromkeys(wnid for wnid, _ in found.boxes))
        if len(wnids) > 1:
            raise AnnotationError(
                f"{found.source}: all objects must be of one class, "
                f"but they are {wnids[0]!r} and {wnids[1]!r}"
            )
        return self._label(wnids[0], found.source) if wnids else None


def _check_split(layout: _Layout, split: str) -> None:
    data = layout.images.parent
    if not data.is_dir():
        raise DataError(f"an ILSVRC dataset must have the folder {data}, but it does not exist")
    splits = sorted(entry.name for entry in data.iterdir() if entry.is_dir())
    if "train" in splits and (layout.image_list.parent / "train_loc.txt").is_file():
        splits.append("train_loc")
    if split not in splits:
        raise DataError(f"{data} has no split {split!r}. {choices_hint(split, splits)}")


def _list_ids(layout: _Layout, solutions: dict[str, str] | None) -> tuple[list[str], int]:
    """Image ids of a split, and how many other files lie among the images if these were listed."""
    if layout.image_list.is_file():
        return _checked_ids(_read_list(layout.image_list), layout.image_list), 0
    if layout.solution.is_file() and not layout.is_train:
        return sorted(solutions or _read_solutions(layout.solution)), 0
    files, skipped = list_images(layout.images)
    depth = 1 if layout.is_train else 0
    placed = [file for file in files if file.count("/") == depth]
    ids = sorted(file.removesuffix(PurePosixPath(file).suffix) for file in placed)
    return _checked_ids(ids, layout.images), skipped + len(files) - len(placed)


def _read_list(path: Path) -> list[str]:
    """Read the ids of a list, each followed by its number in it or not."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    # Ids may have spaces, so a last word is a number only if all are.
    if all(_ends_with_number(line) for line in lines):
        return [line.rsplit(maxsplit=1)[0] for line in lines]
    return lines


def _ends_with_number(line: str) -> bool:
    words = line.rsplit(maxsplit=1)
    return len(words) == 2 and words[1].isdecimal()


def _checked_ids(ids: Iterable[str], source: Path) -> list[str]:
    return list(inside(unique_ids(ids, source), source))


def _read_solutions(path: Path) -> dict[str, str]:
    """Read the second column of a ``LOC_*_solution.csv`` by the first, unparsed."""
    solutions: dict[str, str] = {}
    try:
        rows = csv.reader(io.StringIO(read_text(path), newline=""))
        for number, row in enumerate(rows, start=1):
            if number == 1:
                _check_row(row == ["ImageId", "PredictionString"], path, number, row)
            elif row:
                _check_row(len(row) == 2 and row[0] not in solutions, path, number, row)
                solutions[row[0]] = row[1]
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error
    _checked_ids(solutions, path)
    return solutions


def _check_row(fits: bool, path: Path, number: int, row: list[str]) -> None:
    if not fits:
        raise DataError(
            f"{path}: line {number} must be ImageId,PredictionString (each image once), "
            f"but is {','.join(row)[:80]!r}"
        )


def _parse_row(row: str, source: str) -> _Objects:
    words = row.split()
    if len(words) % 5:
        raise AnnotationError(
            f"{source}: each box must be a WNID and four numbers, but there are {len(words)} words"
        )
    boxes = []
    for at in range(0, len(words), 5):
        where = f"{source}: box {at // 5 + 1}"
        boxes.append((words[at], _box(parse_numbers(words[at + 1 : at + 5], where), None, where)))
    return _Objects(source, tuple(boxes))


def _read_objects(path: Path, *, max_pixels: int) -> _Objects | None:
    """Read an annotation file; None if there is none."""
    try:
        tree = read_xml(path)
    except FileNotFoundError:
        return None
    size = xml_size(tree, path, max_pixels=max_pixels)
    boxes = []
    for number, node in enumerate(tree.iterfind("object"), start=1):
        where = f"{path}: box {number}"
        wnid = (node.findtext("name") or "").strip()
        boxes.append((wnid, _box(xml_corners(node, where), size, where)))
    return _Objects(str(path), tuple(boxes), size)


def _box(corners: Sequence[float], size: tuple[int, int] | None, where: str) -> Box:
    """Half-open box from inclusive corners, checked."""
    x0, y0, x1, y1 = corners
    where = f"{where} ({', '.join(f'{corner:g}' for corner in corners)})"
    if x1 < x0 or y1 < y0:
        raise AnnotationError(f"{where} must have xmin <= xmax and ymin <= ymax")
    box = from_inclusive((x0, y0, x1, y1))
    if size is not None and clip_box(box, size) is None:
        height, width = size
        raise AnnotationError(f"{where} lies outside of the image of {width} × {height} pixels")
    return box
