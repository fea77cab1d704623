"""Options that exports of every format have, or exports of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from wsl.config import Options

__all__ = [
    "ClassChoice",
    "DatasetOptions",
    "ExportOptions",
    "ImageMode",
    "ImageOptions",
    "Needs",
    "Proportion",
    "Shape",
    "Shapes",
    "Split",
]

ClassChoice = Literal["ground_truth", "top1", "all"]
ImageMode = Literal["link", "copy", "none"]
Needs = Literal["mask", "box", "class"]
Shape = Literal["mask", "polygon", "box"]
Proportion = Annotated[float, Field(ge=0, le=1)]
Split = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]

_Item = TypeVar("_Item", bound=Hashable)


def _each_once(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if not values or len(set(values)) < len(values):
        raise ValueError("it must name at least one, and none twice")
    return values


Shapes = Annotated[tuple[Shape, ...], AfterValidator(_each_once)]
ClassNames = Annotated[tuple[str | int, ...], AfterValidator(_each_once)]


class ExportOptions(Options, ABC):
    """Which localizations go into an export: the options that all formats have.

    Each format is a subclass in `wsl.export.formats`, with its name, its own options, and the
    exporter that writes it.

    Attributes
    ----------
    label : str
        The format's name, as people write it.
    summary : str
        What it is for, in half a line.
    """

    label: ClassVar[str]
    summary: ClassVar[str]

    format: str

    classes: ClassChoice | None = None
    """Classes of each image: its label (``ground_truth``), the classifier's first (``top1``), or
    every class that the run localized (``all``). Null: the label if the run has any, else
    ``top1``."""

    class_list: Literal["occurring", "all"] | ClassNames | Path = "occurring"
    """Classes that the export names and numbers: those that occur in it, in the classifier's order;
    all of the classifier's; or the given ones (names, ids or numbers; or a text file of one per
    line) in the given order, without the localizations of others. Exports that are used together,
    such as ``train`` and ``val``, need the same list."""

    min_score: Proportion | None = None
    """Least probability of a localization's class."""

    min_quality: Proportion | None = None
    """Least quality of a localization; one without a quality is left out."""

    top_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Fraction of the localizations to keep, the best by quality: the smallest number that is at
    least this fraction, and all that are as good as the last of them."""

    top_fraction_per_class: bool = True
    """Whether `top_fraction` is taken of each class, which keeps their proportions, or of all
    localizations together, which prefers the easy classes."""

    allow_partial: bool = False
    """Whether an unfinished run may be exported as far as it got."""

    @model_validator(mode="after")
    def _fraction_is_given(self) -> Self:
        if self.top_fraction is None and not self.top_fraction_per_class:
            raise ValueError("top_fraction_per_class must come with top_fraction")
        return self

    @property
    def needs(self) -> Needs:
        """What a localization must have to be written: a mask, a box (or a mask), or neither."""
        return "mask"

    @abstractmethod
    def exporter(self, context: Any) -> Any:
        """Build this format's `Exporter` for a `Context` (`wsl.export.exporter`)."""


class ImageOptions(ExportOptions):
    """Options of formats that can hold the images."""

    images: ImageMode = "none"
    """Whether the images go beside their annotations, as symbolic links or copies."""

    empty_images: bool = False
    """Whether images without a localization go in, without objects. A network takes such an image
    for plain background. ``without_mask.csv`` lists them in any case."""


class DatasetOptions(ImageOptions):
    """Options of formats that are training sets."""

    split: Split = "train"
    """Name of the part of the dataset, such as train or val."""
