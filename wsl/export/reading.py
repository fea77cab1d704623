"""What an export reads of a run: its images with what was found in them, and its maps."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.errors import RunError
from wsl.masks import Mask, decode_rle, mask_to_box
from wsl.run.folder import RunFolder
from wsl.run.records import map_key, read_part

__all__ = ["ExportedImage", "ExportedObject", "Maps", "Run", "open_maps", "open_run", "read_images"]

_COLUMNS = [
    *("image_id", "width", "height", "status", "error", "label", "category", "rank", "score"),
    *("in_top_k", "is_ground_truth", "x0", "y0", "x1", "y1", "mask", "mask_area", "quality"),
]


@dataclass(frozen=True)
class ExportedObject:
    """One class's object in an image, as the run recorded it; see `wsl.run.records`.

    Attributes
    ----------
    size : (int, int)
        The image's (height, width).
    stated_box : Box or None
        0-based, half-open.
    rle : str
        COCO compressed run lengths of the mask.
    area : int
        Pixels of the mask.
    """

    size: tuple[int, int]
    label: int
    category: str
    rank: int
    score: float
    in_top_k: bool
    is_ground_truth: bool
    stated_box: Box | None
    rle: str
    area: int
    quality: float | None

    @property
    def mask(self) -> Mask:
        """The mask, shape (H, W)."""
        return decode_rle(self.rle, self.size)

    @property
    def box(self) -> Box | None:
        """The box; without one, the tightest around the mask; None if the mask is empty too."""
        if self.stated_box is not None or not self.area:
            return self.stated_box
        return mask_to_box(self.mask)


@dataclass(frozen=True)
class ExportedImage:
    """One image of a run.

    Attributes
    ----------
    image_id : str
    size : (int, int) or None
        (height, width); None if the image could not be read.
    error : str or None
        Why the image failed; None if it did not.
    found : tuple of ExportedObject
        In the order of their ranks.
    """

    image_id: str
    size: tuple[int, int] | None
    error: str | None
    found: tuple[ExportedObject, ...]


@dataclass(frozen=True)
class Run:
    """A run to be exported.

    Attributes
    ----------
    folder : Path
    parts : tuple of Path
        Its part files, in the order of the dataset.
    categories : Categories
    dataset : str
        The dataset's name.
    expected : int
        Number of images of the dataset.
    identity : str
        Digest of the part files' contents.
    """

    folder: Path
    parts: tuple[Path, ...]
    categories: Categories
    dataset: str
    expected: int
    identity: str


def open_run(folder: Path | str) -> Run:
    """Open a run's folder for reading.

    Raises
    ------
    RunError
        If it is not a run's folder, or holds no predictions yet.
    """
    run = RunFolder(folder)
    info = run.read_info()
    parts = tuple(run.parts())
    if not parts:
        raise RunError(f"{folder} holds no predictions yet")
    names, ids = info.categories["names"], info.categories["ids"]
    return Run(
        folder=run.path,
        parts=parts,
        categories=Categories(tuple(names), None if ids is None else tuple(ids)),
        dataset=str(info.dataset["name"]),
        expected=int(info.dataset["count"]),
        identity=_digest(parts),
    )


def _digest(parts: tuple[Path, ...]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(part.name.encode())
        try:
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise RunError(f"{part} cannot be read: {error}") from error
    return digest.hexdigest()


def read_images(part: Path) -> Iterator[ExportedImage]:
    """Images of one part file, in its order.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    rows = read_part(part, columns=_COLUMNS).to_pylist()
    for image_id, group in groupby(rows, key=lambda row: str(row["image_id"])):
        yield _image(image_id, list(group), part)


def _image(image_id: str, rows: list[dict[str, Any]], part: Path) -> ExportedImage:
    first = rows[0]
    known = first["width"] is not None and first["height"] is not None
    size = (first["height"], first["width"]) if known else None
    if first["status"] != "ok":
        return ExportedImage(image_id, size, first["error"] or "failed", ())
    found = [row for row in rows if row["label"] is not None]
    if size is None:
        raise RunError(f"{part}: image {image_id!r} must have a width and a height")
    return ExportedImage(
        image_id, size, None, tuple(sorted((_found(row, size) for row in found), key=_rank))
    )


def _rank(found: ExportedObject) -> int:
    return found.rank


def _found(row: dict[str, Any], size: tuple[int, int]) -> ExportedObject:
    box = (row["x0"], row["y0"], row["x1"], row["y1"])
    return ExportedObject(
        size=size,
        label=row["label"],
        category=row["category"],
        rank=row["rank"],
        score=row["score"],
        in_top_k=bool(row["in_top_k"]),
        is_ground_truth=bool(row["is_ground_truth"]),
        stated_box=None if None in box else box,
        rle=row["mask"] or "",
        area=row["mask_area"] or 0,
        quality=row["quality"],
    )


class Maps:
    """The saliency maps of one chunk; none of them is read before it is asked for.

    Parameters
    ----------
    archive : NpzFile or None
        None: the run stored no maps.
    """

    def __init__(self, archive: Any, path: Path) -> None:
        self._archive = archive
        self._path = path

    def get(self, image_id: str, found: ExportedObject) -> NDArray[np.float32] | None:
        """Map of a class in an image, enlarged to the image's size: shape (H, W).

        None if the run did not store it.

        Raises
        ------
        RunError
            If the archive is damaged.
        """
        key = map_key(image_id, found.label)
        if self._archive is None or key not in self._archive:
            return None
        try:
            saliency = np.asarray(self._archive[key], dtype=np.float32)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{self._path} cannot be read at {key!r}: {error}") from error
        height, width = found.size
        if saliency.shape == (height, width):
            return saliency
        return np.asarray(cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR))


@contextmanager
def open_maps(part: Path) -> Iterator[Maps]:
    """Open the maps that belong to a part file of predictions."""
    path = part.parent.parent / "maps" / f"{part.stem}.npz"
    if not path.is_file():
        yield Maps(None, path)
        return
    # Opened here, since np.load leaves the file of a damaged archive open.
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        yield Maps(archive, path)
