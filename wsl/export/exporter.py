"""What every format is made of: an exporter that takes images one by one."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.export.image_files import ImageFiles
from wsl.export.names import FileNames
from wsl.export.options import ClassChoice, ExportOptions, ImageMode, Shape
from wsl.export.reading import Run
from wsl.export.selection import Scan
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = ["Context", "Exporter", "class_names", "csv_line", "json_line", "number_text"]

COMMON_OPTIONS = frozenset(
    {
        *("classes", "min_score", "min_quality", "top_fraction", "keep_best_within"),
        "allow_partial",
    }
)


@dataclass(frozen=True)
class Context:
    """What an exporter knows of the run and the options.

    Attributes
    ----------
    run : Run
    options : ExportOptions
    scan : Scan
    images : ImageFiles
    class_names : tuple of str
        One unique name per category; see `class_names`.
    """

    run: Run
    options: ExportOptions
    scan: Scan
    images: ImageFiles
    class_names: tuple[str, ...]

    @property
    def names(self) -> FileNames:
        """File names of the images."""
        return self.scan.names


class Exporter(ABC):
    """Writes one format. Made anew for every export; remembers nothing from image to image.

    Parameters
    ----------
    context : Context

    Attributes
    ----------
    options_used : frozenset of str
        Options that mean something to this format, beside those that mean something to all.
    allowed_shapes, default_shapes : tuple of {'mask', 'polygon', 'box'}
        What can be written of an object, and what is without being asked for.
    several_shapes : bool
        More than one of them for the same object.
    default_images : {'link', 'none'}
    takes_empty : bool
        Images without a mask go in without being asked for.
    takes_every_image : bool
        All images go in, failed ones too: the format has a line for each.
    default_classes : {'ground_truth', 'top1', 'all'} or None
        None: the given labels, or the first class if there are none.
    names_files : bool
        Files are named after images.
    """

    options_used: ClassVar[frozenset[str]] = frozenset()
    allowed_shapes: ClassVar[tuple[Shape, ...]] = ("mask",)
    default_shapes: ClassVar[tuple[Shape, ...]] = ("mask",)
    several_shapes: ClassVar[bool] = False
    default_images: ClassVar[ImageMode] = "none"
    takes_empty: ClassVar[bool] = False
    takes_every_image: ClassVar[bool] = False
    default_classes: ClassVar[ClassChoice | None] = None
    names_files: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self.context = context
        self.shapes = self.resolved_shapes(context.options)

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
            How many localizations were written.

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
        notes = []
        if counts["upright"]:
            notes.append(
                f"{counts['upright']:,} images have an EXIF orientation and were written upright"
            )
        return notes

    @classmethod
    def resolved_shapes(cls, options: ExportOptions) -> tuple[Shape, ...]:
        """Shapes that are written.

        Raises
        ------
        ConfigError
            If the format cannot hold them.
        """
        shapes = options.shapes or cls.default_shapes
        if not set(shapes) <= set(cls.allowed_shapes):
            allowed = ", ".join(cls.allowed_shapes)
            raise ConfigError(f"shapes must be among {allowed}, but got {', '.join(shapes)}")
        if len(shapes) > 1 and not cls.several_shapes:
            raise ConfigError(f"shapes must be one of them, but got {', '.join(shapes)}")
        return shapes

    @classmethod
    def usable(cls, options: ExportOptions, found: Localization) -> bool:
        """Whether the run found what this format writes: a mask, or a box if that is all."""
        if set(cls.resolved_shapes(options)) == {"box"}:
            return found.box is not None
        return found.run_lengths.area > 0

    @classmethod
    def check_options(cls, options: ExportOptions, *, name: str) -> None:
        """Refuse options that would do nothing.

        Raises
        ------
        ConfigError
        """
        used = COMMON_OPTIONS | cls.options_used
        for key, field in ExportOptions.model_fields.items():
            if key not in used and getattr(options, key) != field.default:
                raise ConfigError(f"the format {name} has no use for the option {key}")


def class_names(categories: Categories) -> tuple[str, ...]:
    """One name per category, all different, found again by `Categories.find` where possible.

    The first of these that no other category shares: the first synonym, the whole name, the id;
    else the name and the category's number.

    Examples
    --------
    >>> class_names(Categories(("tench, Tinca tinca", "crane", "crane"), ("n1", "n2", "n3")))
    ('tench', 'n2', 'n3')
    """
    names = []
    for index, name in enumerate(categories.names):
        candidates = [name.split(",")[0].strip(), name]
        if categories.ids is not None:
            candidates.append(categories.ids[index])
        unique = (text for text in candidates if text and categories.find(text) == index)
        names.append(next(unique, f"{name} {index}"))
    return tuple(names)


def required_box(found: Localization) -> Box:
    """Box of a localization that has a box or a mask."""
    box = found.box
    if box is None:
        raise ValueError("a localization without a box and without a mask has nothing to write")
    return box


def number_text(value: float) -> str:
    """Write a number: whole numbers without a point, others so that they come back exactly.

    Examples
    --------
    >>> number_text(3.0), number_text(0.1)
    ('3', '0.1')
    """
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def json_number(value: float) -> float | int:
    """Return a whole number as an int, for JSON."""
    return int(value) if float(value).is_integer() else float(value)


def json_line(content: Any) -> str:
    """One line of JSON, in ASCII."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def csv_line(values: Iterable[Any]) -> str:
    """One line of CSV; None is an empty field."""
    text = io.StringIO()
    # Fields that hold a character of the line's end are quoted, so the end must be given here.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n")
