"""From options to a dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import Field

from wsl.config.options import choices
from wsl.data.categories import Categories
from wsl.data.options import ReaderOptions
from wsl.data.readers.coco import CocoOptions
from wsl.data.readers.cub import CubOptions
from wsl.data.readers.files import FilesOptions
from wsl.data.readers.folder import FolderOptions
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.data.readers.voc import VocOptions
from wsl.data.readers.wsol import WsolOptions
from wsl.data.sample import Dataset, Sample
from wsl.errors import DataError
from wsl.storage import RemotePath

DataOptions = Annotated[
    IlsvrcOptions
    | FolderOptions
    | FilesOptions
    | WsolOptions
    | CubOptions
    | VocOptions
    | CocoOptions,
    Field(discriminator="format"),
]
"""The options of a dataset of any format."""


def find_format(root: Path | str) -> str:
    """Name the format of a dataset from its folder's content; ``files`` if no other fits."""
    if "://" in str(root):
        return "files"
    for name, options in choices(DataOptions).items():
        assert issubclass(options, ReaderOptions)
        if any(next(Path(root).glob(marker), None) for marker in options.markers):
            return name
    return "files"


def open_dataset(options: ReaderOptions, categories: Categories) -> Dataset:
    """Open the dataset that the options name.

    Parameters
    ----------
    options : ReaderOptions
        One of `DataOptions`.
    categories : Categories
        The classifier's, into which the labels are indices.

    Returns
    -------
    Dataset
        Its `categories` have the names of those given, and the WNIDs of the dataset where the
        classifier has none.

    Raises
    ------
    DataError
        If the root is missing, there is no such split, no image is found, the part of the list is
        empty, or the dataset's classes are not the classifier's.
    """
    root, images = options.root, getattr(options, "images", ())
    if root is None and not images:
        instead = ", or data.images its files" if isinstance(options, FilesOptions) else ""
        raise DataError(f"data.root must name the dataset's folder{instead}, but is not given")
    if isinstance(root, RemotePath) and not options.in_stores:
        able = [name for name, model in choices(DataOptions).items() if model.in_stores]
        raise DataError(
            f"a data.root in a store must be of format {' or '.join(able)}: "
            f"copy {root} to a local folder"
        )
    if root is not None:
        _check_root(root)
    dataset = options.open(categories)
    dataset.max_pixels = options.max_pixels
    if not len(dataset):
        skipped = f" ({dataset.skipped} other files are there)" if dataset.skipped else ""
        raise DataError(f"no images found in {root or 'data.images'}{skipped}")
    if options.subset is not None:
        dataset = _DatasetSubset(dataset, options.subset)
    # A reader finds an image by its position, so the first images keep theirs.
    dataset.image_ids = dataset.image_ids[: options.limit]
    return dataset


class _DatasetSubset(Dataset):
    """One of several consecutive subsets of a dataset."""

    def __init__(self, whole: Dataset, subset: str) -> None:
        which, count = (int(number) for number in subset.split("/"))
        self._whole = whole
        self._start = len(whole) * (which - 1) // count
        self.name = f"{whole.name}, subset {subset}"
        self.root, self.categories, self.skipped = whole.root, whole.categories, whole.skipped
        self.image_ids = whole.image_ids[self._start : len(whole) * which // count]
        if not self.image_ids:
            raise DataError(f"data.subset {subset} holds none of the {len(whole)} images")

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image of the subset; see `Dataset.sample`."""
        return self._whole.sample(self._start + index, annotated=annotated)


def _check_root(root: Path) -> None:
    try:
        if root.is_dir():
            return
        found = "is a file" if root.exists() else "does not exist"
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
    raise DataError(f"data.root must be the dataset's folder, but {str(root)[:400]} {found}")


def dataset_fingerprint(dataset: Dataset) -> str:
    """Return the SHA-256 of a dataset's name and its image ids in order.

    Returns
    -------
    str
        64 hexadecimal digits. The root's place does not matter.
    """
    digest = hashlib.sha256(dataset.name.encode())
    for image_id in dataset.image_ids:
        digest.update(b"\0" + image_id.encode())
    return digest.hexdigest()
