"""Saliency maps as scores take them: found in folders, read, checked, and brought to one size."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import PngImagePlugin

from wsl.data.images import DEFAULT_MAX_PIXELS
from wsl.errors import ScoreError
from wsl.run.maps import stored_array
from wsl.storage import open_file

Map = NDArray[np.float64]

MAP_SIDE = 224
"""Side of the maps that wsolevaluation's metrics are computed on."""

_SUFFIXES = (".npy", ".npz", ".png")
_READ_ERRORS = (
    *(OSError, ValueError, EOFError, LookupError, SyntaxError, NotImplementedError, RuntimeError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)


def check_map(map_: ArrayLike, *, name: str) -> Map:
    """Return a map as float64, or refuse it.

    Parameters
    ----------
    map_ : array_like, shape (h, w)
        Finite values.
    name : str
        What the message calls it, such as the image's id.

    Raises
    ------
    ScoreError
        If the map is not a 2-D array of numbers, is empty, or holds NaN or infinity.
    """
    array = np.asarray(map_)
    if array.dtype.kind not in "fiub":
        raise ScoreError(f"map of {name}: must hold real numbers, but holds {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise ScoreError(f"map of {name}: must have shape (height, width), but has {array.shape}")
    if not np.isfinite(array).all():
        raise ScoreError(f"map of {name}: must be finite, but holds NaN or infinity")
    return array.astype(np.float64)


def check_unit_map(map_: ArrayLike, *, name: str) -> Map:
    """Return a map with values in [0, 1] as float64, or refuse it (see `check_map`)."""
    array = check_map(map_, name=name)
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ScoreError(f"map of {name}: must be in [0, 1], but goes from {low:g} to {high:g}")
    return array


def resize_map(map_: Map, size: tuple[int, int], *, cubic: bool = False) -> Map:
    """Resize a map to (height, width): bilinear, or bicubic, which may leave the map's range."""
    if map_.shape == size:
        return map_
    if map_.min() == map_.max():
        # OpenCV's weights sum to 1 but for rounding, and scores stretch the least difference.
        return np.full(size, map_.flat[0])
    interpolation = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    resized = cv2.resize(map_, (size[1], size[0]), interpolation=interpolation)
    return np.asarray(resized, dtype=np.float64)


def find_maps(folder: Path | str, image_ids: Iterable[str]) -> dict[str, Path]:
    """Find the maps that another tool has left, one file per image.

    Parameters
    ----------
    folder : Path or str
        Holds ``IMAGE_ID.npy``, ``.npz`` or ``.png``; an id with slashes is a path below the folder.
        The image's own suffix may be kept (``IMAGE_ID.jpg.npy``) or replaced.
    image_ids : iterable of str

    Returns
    -------
    dict of str to Path
        Of the images that have a map, in their order.

    Raises
    ------
    ScoreError
        If there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ScoreError(f"{root} must be a folder of maps, but is none")
    found: dict[str, Path] = {}
    for image_id in image_ids:
        stems = dict.fromkeys((image_id, str(Path(image_id).with_suffix(""))))
        candidates = (root / f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES)
        path = next((path for path in candidates if path.is_file()), None)
        if path is not None:
            found[image_id] = path
    return found


def read_map(path: Path, label: int) -> Map:
    """Read a stored map.

    Parameters
    ----------
    path : Path
        ``.npy``: one array. ``.npz``: one array, or one per class under the class's number.
        ``.png``: gray, of 8 or 16 bits, whose greatest value stands for 1.
    label : int
        The class, for archives of several.

    Raises
    ------
    ScoreError
        If the file cannot be read, or is not a 2-D array of finite numbers.
    """
    try:
        stored = _read_array(path, label)
    except _READ_ERRORS as error:
        raise ScoreError(f"cannot read the map {path}: {error}") from error
    return check_map(stored, name=str(path))


def _read_array(path: Path, label: int) -> NDArray[np.generic]:
    if path.suffix == ".png":
        with open_file(path) as file, PngImagePlugin.PngImageFile(file) as picture:
            _check_pixels(picture.width * picture.height)
            if picture.mode not in ("L", "I;16", "I"):
                raise ValueError(f"it must be gray, but has the mode {picture.mode}")
            return np.asarray(picture) / (255 if picture.mode == "L" else 65535)
    if path.suffix == ".npy":
        with open_file(path):  # refuses what is no regular file
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        _check_pixels(mapped.size)
        return np.array(mapped)
    with open_file(path) as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
        key = arrays.files[0] if len(arrays.files) == 1 else str(label)
        return stored_array(arrays, key, max_bytes=8 * DEFAULT_MAX_PIXELS)


def _check_pixels(pixels: int) -> None:
    if pixels > DEFAULT_MAX_PIXELS:
        raise ValueError(f"it has more than {DEFAULT_MAX_PIXELS:,} pixels")
