"""What every format is made of: an exporter that takes images one by one."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from wsl.boxes import Box
from wsl.export.classes import ClassList
from wsl.export.image_files import ImageFiles
from wsl.export.options import ExportOptions
from wsl.export.reading import Run
from wsl.export.selection import Scan
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = [
    "Context",
    "Exporter",
    "box_corner_size",
    "csv_line",
    "image_size",
    "json_line",
    "number_text",
    "required_box",
]


@dataclass(frozen=True)
class Context:
    """What an exporter knows of the run.

    Attributes
    ----------
    run : Run
    scan : Scan
    images : ImageFiles
    classes : ClassList
        The classes that the export names.
    """

    run: Run
    scan: Scan
    images: ImageFiles
    classes: ClassList

    def stem(self, image_id: str) -> str:
        """Name of an image's files, without an ending."""
        return self.scan.names.stem(image_id)


OptionsT = TypeVar("OptionsT", bound=ExportOptions)


class Exporter(ABC, Generic[OptionsT]):
    """Writer of one format. Made anew for every export; remembers nothing from image to image.

    Parameters
    ----------
    options : ExportOptions
    context : Context

    Attributes
    ----------
    takes_every_image : bool
        All images go in, failed ones too: the format has a line for each.
    names_files : bool
        Files are named after images.
    """

    takes_every_image: ClassVar[bool] = False
    names_files: ClassVar[bool] = True

    def __init__(self, options: OptionsT, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Write one image.

        Parameters
        ----------
        image : Prediction
        taken : tuple of Localization
            Its localizations that go in; none for an image without a mask.
        chunk : Chunk
        maps : Maps

        Returns
        -------
        int
            Number of localizations written.

        Raises
        ------
        ImageError
            If its image file cannot be used; nothing was written then.
        """

    @abstractmethod
    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Put the files together that all images share; return their paths in the export."""

    def notes(self, counts: Counter[str]) -> list[str]:
        """Say what a person should know of this export, beside the counts."""
        upright = counts["upright"]
        text = f"{upright:,} images have an EXIF orientation and were written upright"
        return [text] if upright else []

    def numbering_notes(self) -> list[str]:
        """Say that classes are numbered by their order in the export, where they are."""
        classes = self.context.classes
        text = (
            f"classes are numbered in the order of the {len(classes):,} that occur; exports that "
            "are used together need the same class_list"
        )
        return [text] if self.options.class_list == "occurring" and classes.renumbered else []

    def place(
        self, image: Prediction, chunk: Chunk, folder: str, *, ending: str | None = None
    ) -> str | None:
        """Put an image's file into a folder of the export; see `ImageFiles.place`."""
        target = f"{folder}/{self.context.stem(image.image_id)}"
        images = self.context.images
        return images.place(image.image_id, image_size(image), chunk, target, ending=ending)

    def placed_or_original(self, image: Prediction, chunk: Chunk) -> tuple[str, bool]:
        """Path of an image, and whether it is below the export's ``images/``.

        Otherwise images do not go in, and the path is below the dataset's root.
        """
        placed = self.place(image, chunk, "images")
        if placed is None:
            return self.context.images.relative_path(image.image_id), False
        return placed.removeprefix("images/"), True


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
    """Write a number: whole numbers without a point, others so that they come back exactly.

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
    """One line of CSV; None is an empty field."""
    text = io.StringIO()
    # Fields that hold a character of the line's end are quoted, so the end must be given here.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n")
