"""Plain image files, or folders of them, without labels.

Files named one by one are taken whatever their extension. Of a folder, all files with an image's
extension (`wsl.data.images.IMAGE_EXTENSIONS`) are taken, also those in folders inside it, in the
order of their relative paths; hidden files and folders and other files are not, and are counted.

An image's id is its path relative to the dataset's root, with ``/`` and without the extension;
where two images would share an id, both keep the extension.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import model_validator

from wsl.data.categories import Categories
from wsl.data.images import IMAGE_EXTENSIONS
from wsl.data.options import ReaderOptions
from wsl.data.sample import Dataset, Sample
from wsl.errors import DataError
from wsl.storage import RemotePath


class FilesOptions(ReaderOptions):
    """Images without labels."""

    summary: ClassVar[str] = "image files, or folders of them, without labels"
    in_stores: ClassVar[bool] = True

    format: Literal["files"] = "files"
    """Images without labels or annotations."""

    images: tuple[Path, ...] = ()
    """Image files, or folders of them, instead of `root`."""

    @model_validator(mode="after")
    def _not_both(self) -> FilesOptions:
        if self.images and self.root is not None:
            raise ValueError("root and images must not both be given: images holds files already")
        return self

    def open(self, categories: Categories) -> Dataset:
        """List the files of `images`, or those below `root`."""
        if self.root is not None:
            files, skipped = list_images(self.folder)
            name = f"files {self.folder.name}"
            return FilesDataset(name, self.folder, categories, files, skipped=skipped)
        paths, skipped = _listed_paths(self.images)
        root = _common_folder(paths)
        files = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
        _check_names(files)
        twice = [file for file, count in Counter(files).items() if count > 1]
        if twice:
            raise DataError(f"data.images must name each file once, not {root / twice[0]} twice")
        return FilesDataset("files", root, categories, files, skipped=skipped)


class FilesDataset(Dataset):
    """Images found below a folder.

    Parameters
    ----------
    name : str
    root : Path
    categories : Categories
    files : sequence of str
        Paths relative to `root`, with ``/``.
    skipped : int
        Files that were found but not listed.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        categories: Categories,
        files: Sequence[str],
        *,
        skipped: int = 0,
    ) -> None:
        self.name = name
        self.root = root
        self.categories = categories
        self.skipped = skipped
        # An id is the start of its path, so that the rest of it is all that need be kept.
        self.image_ids = _image_ids(files)
        self._endings = tuple(
            file[len(image_id) :] for file, image_id in zip(files, self.image_ids, strict=True)
        )

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Name one image's file and, where the dataset has labels, its label."""
        image_id = self.image_ids[index]
        return Sample(
            image_id, self.root / (image_id + self._endings[index]), self._label(image_id)
        )

    def _label(self, image_id: str) -> int | None:
        return None


def list_images(folder: Path) -> tuple[list[str], int]:
    """List the image files below a folder.

    Links to folders are followed, each folder being listed once: by its own path where it has one
    below `folder`, else by the first of its links.

    Returns
    -------
    files : list of str
        Paths relative to `folder`, with ``/``, sorted.
    skipped : int
        How many other files, and hidden files and folders, there are.

    Raises
    ------
    DataError
        If a folder cannot be read, or an image's name is not Unicode.
    """
    files: list[str] = []
    skipped = 0
    for name in _walk_store(folder) if isinstance(folder, RemotePath) else _walk(folder):
        base = name.rpartition("/")[2]
        hidden = base.startswith(".")
        if not hidden and PurePosixPath(base).suffix.lower() in IMAGE_EXTENSIONS:
            files.append(name)
        else:
            skipped += 1
    _check_names(files)
    return sorted(files), skipped


def _walk(root: Path) -> Iterator[str]:
    """Yield the files below a folder and, as if they were files, folders that are not listed."""
    seen: set[tuple[int, int]] = set()
    folders, links = [""], deque[str]()
    while folders or links:
        prefix = folders.pop() if folders else links.popleft()
        folder = root / prefix
        try:
            status = folder.stat()
            key = (status.st_dev, status.st_ino)
            if key in seen:
                yield prefix
                continue
            seen.add(key)
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot list the folder {folder}: {error.strerror}") from error
        for entry in found:
            if not _is_folder(entry) or entry.name.startswith("."):
                yield prefix + entry.name
            else:
                (links if entry.is_symlink() else folders).append(f"{prefix}{entry.name}/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _walk_store(folder: RemotePath) -> Iterable[str]:
    """Do what `_walk` does, by a single listing."""
    try:
        files = folder.files_below()
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {error.strerror}") from error
    return dict.fromkeys(_to_hidden(file) for file in files)


def _to_hidden(file: str) -> str:
    """Cut a path behind its first hidden folder."""
    parts = file.split("/")
    hidden = next((at for at, part in enumerate(parts) if part.startswith(".")), len(parts))
    return "/".join(parts[: hidden + 1])


def _image_ids(files: Sequence[str]) -> tuple[str, ...]:
    stems = [file.removesuffix(PurePosixPath(file).suffix) for file in files]
    counts = Counter(stems)
    paths = set(files)
    # A file's whole name can be another's name without its extension: `a.png` and `a.png.bmp`.
    return tuple(
        file if counts[stem] > 1 or (stem != file and stem in paths) else stem
        for file, stem in zip(files, stems, strict=True)
    )


def _listed_paths(images: Iterable[Path]) -> tuple[list[Path], int]:
    """Absolute paths of the files named and of those in the folders named; how many others."""
    paths: list[Path] = []
    skipped = 0
    for image in images:
        path = Path(os.path.abspath(image))  # noqa: PTH100 - a link keeps its own name
        if path.is_dir():
            files, others = list_images(path)
            paths += [path / file for file in files]
            skipped += others
        elif path.exists():
            paths.append(path)
        else:
            raise DataError(f"data.images: there is no file {path}")
    return paths, skipped


def _common_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths] or [Path.cwd()]))


def _check_names(files: Iterable[str]) -> None:
    for file in files:
        try:
            file.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"an image's name must be Unicode, but is {file!r}") from error
