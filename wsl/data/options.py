"""What the options of all dataset formats share."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from wsl.config.options import Options
from wsl.data.categories import Categories
from wsl.data.images import DEFAULT_MAX_PIXELS
from wsl.data.sample import Dataset
from wsl.storage import Location


class ReaderOptions(Options):
    """Which images of a dataset; each format adds a field ``format`` and options of its own."""

    summary: ClassVar[str]
    """The format in a few words."""
    in_stores: ClassVar[bool] = False
    """Whether `root` may lie in a store."""
    markers: ClassVar[tuple[str, ...]] = ()
    """Patterns of what lies below the root of such a dataset, and of no other."""

    root: Location | None = None
    """The dataset's folder; for some formats also in a store that fsspec knows
    (``s3://bucket/folder``, ``gs://…``)."""

    subset: str | None = Field(None, pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,8}$")
    """Only a part of the list: ``1/2`` is the first of two parts, each consecutive in the dataset's
    order and as long as the others but for one image; null is all. To choose settings on one part
    and report on another (a dataset in the order of its classes has other classes in each)."""

    limit: int | None = Field(None, ge=1)
    """Only so many images, the first of the list (or of its `subset`); null is all."""

    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)
    """An image or mask with more pixels fails before it is decoded."""

    @field_validator("subset")
    @classmethod
    def _is_a_part(cls, subset: str | None) -> str | None:
        which, count = (int(number) for number in (subset or "1/1").split("/"))
        if which > count:
            raise ValueError(f"subset must be one of 1/{count} to {count}/{count}, not {subset}")
        return subset

    @property
    def folder(self) -> Path:
        """The absolute path of `root`."""
        return (self.root or Path()).absolute()

    @abstractmethod
    def open(self, categories: Categories) -> Dataset:
        """List the dataset's images; for the checks that all formats share, use `open_dataset`.

        Parameters
        ----------
        categories : Categories
            The classifier's.

        Raises
        ------
        DataError
            If a list or folder cannot be read, or the classes are not the classifier's.
        """
