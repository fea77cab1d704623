"""What an export knows of a run before it reads the first image."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from wsl.data.categories import Categories
from wsl.errors import RunError
from wsl.run.folder import RunFolder

__all__ = ["Run", "open_run"]


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
