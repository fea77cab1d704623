"""The base of the export formats: shared options, and the context that a format writes in."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from wsl.boxes import Box
from wsl.config.options import Options
from wsl.export.classes import ClassList
from wsl.export.image_files import ImageFiles, ImageMode
from wsl.export.names import FileNames
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.storage import plain_cell

ClassChoice = Literal["ground_truth", "top1", "all"]
Needs = Literal["mask", "box", "class"]
Shape = Literal["mask", "polygon", "box"]
Proportion = Annotated[float, Field(ge=0, le=1)]
Split = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]

_Item = TypeVar("_Item", bound=Hashable)


def _each_once(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if not values or len(set(values)) < len(values):
        raise ValueError("there must be at least one, without repetition")
    return values


Shapes = Annotated[tuple[Shape, ...], AfterValidator(_each_once)]
ClassNames = Annotated[tuple[str | int, ...], AfterValidator(_each_once)]


class Run(RunFolder):
    """A run to be exported.

    Attributes
    ----------
    info : RunInfo
    categories : Categories
        The classifier's.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.info: RunInfo = self.read_info()
        self.categories = self.info.as_categories

    @property
    def dataset_name(self) -> str:
        """Name of the run's dataset."""
        return str(self.info.dataset["name"])

    @property
    def expected_images(self) -> int:
        """Number of images of the dataset."""
        return int(self.info.dataset["count"])


@dataclass(frozen=True)
class Scan:
    """Facts about the whole run that are needed before its first image is written."""

    images: int
    has_ground_truth: bool
    """Whether some row is of its image's label."""
    has_quality: bool
    numeric_ids: bool
    """Whether all image ids are whole numbers >= 0 that fit a COCO file."""
    names: FileNames


@dataclass(frozen=True)
class Context:
    """The run and its files, as a format needs them."""

    run: Run
    scan: Scan
    images: ImageFiles
    classes: ClassList
    """The classes that the export names."""

    def stem(self, image_id: str) -> str:
        """Name of an image's files, without an ending."""
        return self.scan.names.stem(image_id)

    def place(
        self, image: Prediction, chunk: Chunk, folder: str, *, ending: str | None = None
    ) -> str | None:
        """Put an image's file into a folder of the export; see `ImageFiles.place`."""
        target = f"{folder}/{self.stem(image.image_id)}"
        return self.images.place(image.image_id, image_size(image), chunk, target, ending=ending)

    def placed_or_original(self, image: Prediction, chunk: Chunk) -> tuple[str, bool]:
        """Path of an image, and whether it is relative to the export's ``images/``.

        If the export holds no images, the path is relative to the dataset's root.
        """
        placed = self.place(image, chunk, "images")
        if placed is None:
            return self.images.relative_path(image.image_id), False
        return placed.removeprefix("images/"), True


class ExportFormat(Options, ABC):
    """An export format: its options and its writer, which keeps no state between images."""

    label: ClassVar[str]
    """Name of the format in prose."""
    summary: ClassVar[str]
    """What the format is for, in half a line."""
    takes_every_image: ClassVar[bool] = False
    """Whether failed images are written too, because the format has a line per image."""
    names_files: ClassVar[bool] = True
    """Whether files are named after images."""

    format: str

    classes: ClassChoice | None = None
    """Classes of each image: its label (``ground_truth``), the classifier's first (``top1``), or
    every class that the run localized (``all``). Null: the label if the run has any, else
    ``top1``."""

    class_list: Literal["occurring", "all"] | ClassNames | Path = "occurring"
    """Classes that the export names and numbers. ``occurring``: the classes in the export, in the
    classifier's order; ``all``: all classes of the classifier; or a list of names, ids or numbers
    (or a text file with one per line), which also leaves out the localizations of other classes.
    Exports that are used together, such as ``train`` and ``val``, need the same list."""

    min_score: Proportion | None = None
    """Minimum probability of a localization's class."""

    min_quality: Proportion | None = None
    """Minimum quality of a localization; one without a quality is left out."""

    top_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Fraction of the localizations to keep, those of the highest quality, rounded up; ties with
    the last one are kept, too."""

    top_fraction_per_class: bool = True
    """Whether `top_fraction` applies to each class, which keeps their proportions, or to all
    localizations together, which favors the easy classes."""

    allow_partial: bool = False
    """Whether to export an unfinished run as far as it is done."""

    @model_validator(mode="after")
    def _fraction_is_given(self) -> Self:
        if self.top_fraction is None and not self.top_fraction_per_class:
            raise ValueError("top_fraction_per_class must come with top_fraction")
        return self

    @property
    def needs(self) -> Needs:
        """Whether a localization must have a mask, a box (or a mask), or just a class."""
        shapes = getattr(self, "shapes", None) or (getattr(self, "shape", "mask"),)
        return "box" if shapes == ("box",) else "mask"

    def check(self, context: Context) -> None:
        """Refuse a run that this format cannot represent.

        Raises
        ------
        ConfigError, RunError
        """

    @abstractmethod
    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write one image.

        Parameters
        ----------
        image : Prediction
            With the selected localizations only.
        chunk : Chunk
        context : Context

        Returns
        -------
        int
            Number of localizations written.

        Raises
        ------
        ImageError
            If the image file cannot be used; nothing has been written in this case.
        """

    @abstractmethod
    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the files that all images share; return their paths in the export."""

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Return remarks for the user, beside the counts."""
        upright, holes = counts["upright"], counts["holes"]
        notes = {
            f"{upright:,} images have an EXIF orientation and were written upright": upright,
            f"{holes:,} masks have holes and were not written as polygons": holes,
        }
        return [note for note, count in notes.items() if count]


class ImageFormat(ExportFormat):
    """A format that can contain the images."""

    images: ImageMode = "none"
    """Whether to add the images, as symbolic links or copies."""

    empty_images: bool = False
    """Whether to write images without a localization, as images without objects. A network learns
    such an image as background. ``without_mask.csv`` lists them in any case."""


class DatasetFormat(ImageFormat):
    """A format for training sets."""

    split: Split = "train"
    """Name of the split, such as train or val."""


def numbering_notes(options: ExportFormat, context: Context) -> list[str]:
    """Return a remark if classes are numbered by their order in the export."""
    classes = context.classes
    text = (
        f"classes are numbered in the order of the {len(classes):,} that occur; exports that "
        "are used together need the same class_list"
    )
    return [text] if options.class_list == "occurring" and classes.renumbered else []


def image_size(image: Prediction) -> tuple[int, int]:
    """(height, width) of an image that was read."""
    if image.size is None:
        raise ValueError(f"image {image.image_id!r} must have a size")
    return image.size


def required_box(found: Localization) -> Box:
    """Box of a localization that has a box or a mask."""
    if found.box is None:
        raise ValueError("a localization without a box and without a mask has nothing to write")
    return found.box


def box_corner_size(found: Localization) -> list[float | int]:
    """COCO's form of a localization's box: x and y of its corner, width, height."""
    x0, y0, x1, y1 = required_box(found)
    return [
        int(value) if float(value).is_integer() else float(value)
        for value in (x0, y0, x1 - x0, y1 - y0)
    ]


def number_text(value: float) -> str:
    """Format a number: integers without a decimal point, others with all digits.

    Examples
    --------
    >>> number_text(3.0), number_text(0.1)
    ('3', '0.1')
    """
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def json_line(content: Any) -> str:
    """One line of JSON, in ASCII."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def csv_line(values: Iterable[Any]) -> str:
    """One line of CSV; None is an empty field, and a text is no formula (see `plain_cell`)."""
    text = io.StringIO()
    # Fields that hold a character of the line's end are quoted, so the end must be given here.
    csv.writer(text, lineterminator="\r\n").writerow(map(plain_cell, values))
    return text.getvalue().removesuffix("\r\n")
