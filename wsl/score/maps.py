"""Saliency maps as scores take them: read from folders, checked, and brought to one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.errors import ScoreError

__all__ = ["check_map", "check_unit_map", "maps_from_folder", "resize_map"]

Map = NDArray[np.float64]


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


def maps_from_folder(folder: Path | str, image_ids: Iterable[str]) -> Iterator[tuple[str, Map]]:
    """Read the maps that another tool has left, one ``.npy`` file per image.

    Parameters
    ----------
    folder : Path or str
        Holds ``IMAGE_ID.npy``; an image id with slashes is a path below the folder.
    image_ids : iterable of str
        The images whose maps are wanted.

    Yields
    ------
    image_id : str
    map : ndarray of float64, shape (h, w)
        In [0, 1].

    Raises
    ------
    ScoreError
        If a file is absent or no array of numbers, or the map is not 2-D and in [0, 1].
    """
    for image_id in image_ids:
        path = Path(folder) / f"{image_id}.npy"
        try:
            stored = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ScoreError(f"cannot read the map {path}: {error}") from error
        yield image_id, check_unit_map(stored, name=str(path))
