"""The options that name a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from wsl.options import Options

__all__ = ["DEFAULT_MAX_PIXELS", "DataFormat", "DataOptions"]

DataFormat = Literal["ilsvrc", "folder", "files"]

# Pillow's own limit: a quarter of a gigabyte at three bytes per pixel.
DEFAULT_MAX_PIXELS = 89_478_485


class DataOptions(Options):
    """Which images, and what is known of them."""

    format: DataFormat = "ilsvrc"
    """``ilsvrc``: ILSVRC CLS-LOC in the challenge's own layout; ``folder``: one folder per class;
    ``files``: images without labels."""

    root: Path | None = None
    """The dataset's folder."""

    split: str = "val"
    """Part of a dataset that has parts (``ilsvrc``: ``val``, ``train``, or ``train_loc``, the
    images that the challenge lists as having boxes)."""

    images: tuple[Path, ...] = ()
    """Image files, or folders of them, instead of `root`; for ``files``."""

    limit: int | None = Field(None, ge=1)
    """Only so many images, the first of the list; null is all."""

    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)
    """An image with more pixels fails before it is decoded."""

    @model_validator(mode="after")
    def _fits_format(self) -> DataOptions:
        if self.images and self.format != "files":
            raise ValueError(f"images must not be given where format is {self.format}; give root")
        if self.images and self.root is not None:
            raise ValueError("root and images must not both be given: images holds files already")
        return self
