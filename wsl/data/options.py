"""The options that name a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from wsl.config import Options
from wsl.storage import Location

__all__ = ["DEFAULT_MAX_PIXELS", "DataFormat", "DataOptions"]

DataFormat = Literal["ilsvrc", "folder", "files", "wsol", "cub", "voc", "coco"]

# Pillow's own limit: a quarter of a gigabyte at three bytes per pixel.
DEFAULT_MAX_PIXELS = 89_478_485


class DataOptions(Options):
    """Which images, and what is known of them."""

    format: DataFormat = "ilsvrc"
    """``ilsvrc``: ILSVRC CLS-LOC in the challenge's own layout; ``folder``: one folder per class;
    ``files``: images without labels; ``wsol``: wsolevaluation's lists of ILSVRC, CUB or Open
    Images; ``cub``: CUB-200-2011's own files; ``voc``: Pascal VOC; ``coco``: COCO instances."""

    root: Location | None = None
    """The dataset's folder. Of the formats ``ilsvrc``, ``folder`` and ``files`` it may lie in a
    store that fsspec knows (``s3://bucket/folder``, ``gs://…``)."""

    split: str = "val"
    """Part of a dataset that has parts (``ilsvrc``: ``val``, ``train``, or ``train_loc``, the
    images that the challenge lists as having boxes; ``wsol``: a folder of lists; ``cub``:
    ``train``, ``test`` or ``all``; ``voc``: a list in ``ImageSets/Main``, or elsewhere in
    ``ImageSets`` such as ``Segmentation/val``; ``coco``: the end of ``instances_<split>.json``)."""

    annotations: Path | None = None
    """What is known of the images, where it does not lie in `root`. ``wsol``: the dataset's folder
    of lists, such as ``metadata/CUB``; must be given. ``coco``: the JSON file, instead of
    ``ROOT/annotations/instances_<split>.json``; file names then start from `root`."""

    images: tuple[Path, ...] = ()
    """Image files, or folders of them, instead of `root`; for ``files``."""

    subset: str | None = Field(None, pattern=r"^[1-9][0-9]*/[1-9][0-9]*$")
    """Only a part of the list: ``1/2`` is the first of two parts, each consecutive in the dataset's
    order and as long as the others but for one image; null is all. To choose settings on one part
    and report on another (a dataset in the order of its classes has other classes in each)."""

    limit: int | None = Field(None, ge=1)
    """Only so many images, the first of the list (or of its `subset`); null is all."""

    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)
    """An image with more pixels fails before it is decoded."""

    @model_validator(mode="after")
    def _fits_format(self) -> DataOptions:
        if self.images and self.format != "files":
            raise ValueError(f"images must not be given where format is {self.format}; give root")
        if self.annotations is not None and self.format not in ("wsol", "coco"):
            raise ValueError(f"annotations must not be given where format is {self.format}")
        if self.annotations is None and self.format == "wsol":
            raise ValueError("annotations must name the folder of lists where format is wsol")
        if self.subset is not None:
            which, count = (int(number) for number in self.subset.split("/"))
            if which > count:
                raise ValueError(
                    f"subset must be one of 1/{count} to {count}/{count}, not {self.subset}"
                )
        if self.images and self.root is not None:
            raise ValueError("root and images must not both be given: images holds files already")
        return self
