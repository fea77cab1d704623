"""Images with labels: one folder per class.

::

    ROOT/n02084071/dog.jpg
    ROOT/n02084071/more/another dog.png

A folder of the root is named by its class's id (WNID), name, first synonym or number in the
classifier's categories. Images may lie in folders inside it. Image ids are those of
`wsl.data.readers.files`, such as ``n02084071/more/another dog``; so are the rules for what is
skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.readers.files import FilesDataset, list_images
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, DataError


class FolderOptions(ReaderOptions):
    """One folder of images per class."""

    summary: ClassVar[str] = "one folder of images per class"
    in_stores: ClassVar[bool] = True

    format: Literal["folder"] = "folder"
    """Labeled images without annotations, in one folder per class."""

    def open(self, categories: Categories) -> Dataset:
        """List the images of the class folders below `root`."""
        root = self.folder
        found, skipped = list_images(root)
        files = [file for file in found if "/" in file]
        if found and not files:
            raise DataError(
                f"{root} must hold one folder per class, but holds images only; "
                "for images without labels use data.format: files"
            )
        skipped += len(found) - len(files)
        dataset = FolderDataset(f"folder {root.name}", root, categories, files, skipped=skipped)
        folders = dict.fromkeys(file.partition("/")[0] for file in files)
        dataset.label_of_folder = {name: _label(root / name, categories) for name in folders}
        return dataset


class FolderDataset(FilesDataset):
    """Images whose label is the first folder of their id."""

    label_of_folder: dict[str, int]

    def _label(self, image_id: str) -> int | None:
        return self.label_of_folder[image_id.partition("/")[0]]


def _label(folder: Path, categories: Categories) -> int:
    named = categories.find(folder.name)
    if named is not None:
        return named
    try:
        return categories.index(folder.name)
    except ConfigError as error:
        raise DataError(f"{folder} must be named after a class: {error}") from error
