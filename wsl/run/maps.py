"""The saliency maps of a run, where they are stored: one NumPy archive per chunk.

One array per image and class under the key ``IMAGE_ID|LABEL``, of the working size, divided by the
map's maximum: float16, or float32 on request (``run.map_dtype``).
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.run.rows import PartCounts, unreadable_errors
from wsl.storage import open_file, whole_file

# What a damaged archive makes zipfile and NumPy raise.
_ARCHIVE_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)

_HEADER_2 = np.lib.format.read_array_header_2_0

# Of one map: float32 of 16,384 × 16,384 pixels, and NumPy's header.
_MAX_MAP_BYTES = 4 * 16_384**2 + 4096


def map_key(image_id: str, label: int) -> str:
    """Name of a map in its archive."""
    return f"{image_id}|{label}"


def stored_map(saliency: NDArray[np.float32], dtype: str = "float16") -> NDArray[np.floating]:
    """Return a map as it is stored: its maximum 1, so that float16 has room for small values."""
    top = saliency.max(initial=0)
    return np.asarray(saliency / top if top > 0 else saliency, dtype=dtype)


def write_maps(path: Path, maps: Mapping[str, NDArray[np.floating]]) -> None:
    """Write the maps of a chunk to `path`, whole or not at all."""
    arrays: dict[str, Any] = dict(maps)
    with whole_file(path) as file:
        np.savez(file, **arrays)  # numbers are never pickled


class Maps:
    """The maps of one chunk, each read when it is asked for; made by `open_maps`."""

    def __init__(self, path: Path, archive: Any) -> None:
        self._path = path
        self._archive = archive

    def __iter__(self) -> Iterator[tuple[str, int, NDArray[np.floating]]]:
        """Yield image id, label and map of all maps."""
        for key in self._archive.files if self._archive is not None else ():
            image_id, _, label = key.rpartition("|")
            with unreadable_errors(self._path, _ARCHIVE_ERRORS):
                found = image_id, int(label), stored_array(self._archive, key)
            yield found

    def get(
        self, image_id: str, label: int, size: tuple[int, int] | None = None
    ) -> NDArray[np.float32] | None:
        """Map of a class in an image, as stored or enlarged to `size`, (height, width).

        None if the run did not store it.

        Raises
        ------
        RunError
            If the archive is damaged.
        """
        key = map_key(image_id, label)
        if self._archive is None or key not in self._archive:
            return None
        with unreadable_errors(self._path, _ARCHIVE_ERRORS):
            saliency = np.asarray(stored_array(self._archive, key), dtype=np.float32)
        if size is None or saliency.shape == size:
            return saliency
        enlarged = cv2.resize(saliency, size[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, dtype=np.float32)


def stored_array(archive: Any, key: str, *, max_bytes: int = _MAX_MAP_BYTES) -> NDArray[Any]:
    """Read an array of a NumPy archive, unless it states to be larger than its file.

    NumPy takes the memory that an array's header asks for before it reads on.

    Raises
    ------
    ValueError
        If the array has more than `max_bytes`, or more than its file in the archive.
    """
    name = key if key in archive.zip.namelist() else f"{key}.npy"
    stored = archive.zip.getinfo(name).file_size
    with archive.zip.open(name) as entry:
        major, _ = np.lib.format.read_magic(entry)
        read = np.lib.format.read_array_header_1_0 if major == 1 else _HEADER_2
        shape, _, dtype = read(entry)
    stated = math.prod(shape) * dtype.itemsize
    if stated > min(stored, max_bytes):
        raise ValueError(f"{name} ({stored:,} bytes) states an array of {stated:,} bytes")
    return np.asarray(archive[key])


@contextmanager
def open_maps(path: Path) -> Iterator[Maps]:
    """Open the maps of a chunk; without the file there are none.

    Raises
    ------
    RunError
        If the file is damaged, or states a size that no map has.
    """
    if not path.exists():
        yield Maps(path, None)
        return
    with ExitStack() as opened:  # NumPy leaves the file of a damaged archive open
        with unreadable_errors(path, _ARCHIVE_ERRORS):
            file = opened.enter_context(open_file(path))
            archive = np.lib.npyio.NpzFile(file, allow_pickle=False)
            _check_archive(archive.zip)  # type: ignore[arg-type]
        yield Maps(path, archive)


def read_maps(path: Path) -> Iterator[tuple[str, int, NDArray[np.floating]]]:
    """Yield image id, label and map of all maps of a chunk, one at a time.

    Raises
    ------
    RunError
        As `open_maps`.
    """
    with open_maps(path) as maps:
        yield from maps


def check_maps(path: Path, counts: PartCounts, *, thorough: bool = False) -> None:
    """Check that the maps of a chunk are there, as many as its localizations.

    Parameters
    ----------
    path : Path
    counts : PartCounts
        Of the chunk's part file.
    thorough : bool
        Read them all and verify their checksums; otherwise only the archive's directory, which
        reveals a truncated file.

    Raises
    ------
    RunError
        If they are not there, or damaged.
    """
    with (
        unreadable_errors(path, _ARCHIVE_ERRORS),
        open_file(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        _check_archive(archive)
        found = len(archive.infolist())
        if found != counts.localizations:
            raise ValueError(f"it holds {found} maps of {counts.localizations}")
        damaged = archive.testzip() if thorough else None
        if damaged is not None:
            raise ValueError(f"{damaged} does not match its checksum")


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse what would grow on reading: maps are stored as they are, not compressed."""
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _MAX_MAP_BYTES:
            raise ValueError(
                f"{entry.filename} ({entry.file_size:,} bytes) is compressed or larger than any map"
            )
