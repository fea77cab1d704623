"""A run that was made before, opened again with its configuration and its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wsl.data.categories import Categories
from wsl.data.open import open_dataset
from wsl.data.sample import Dataset
from wsl.localize.localizer import Localizer
from wsl.run.config import RunConfig, build_config
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.runner import build_localizer

__all__ = ["OpenedRun", "open_run"]


@dataclass(frozen=True)
class OpenedRun:
    """A run with what it was made of.

    Attributes
    ----------
    folder : RunFolder
    info : RunInfo
    config : RunConfig
        That of the run, with the overrides.
    dataset : Dataset
    """

    folder: RunFolder
    info: RunInfo
    config: RunConfig
    dataset: Dataset

    @cached_property
    def localizer(self) -> Localizer:
        """The run's localizer, made when it is first needed: to draw steps again."""
        return build_localizer(self.config)


def open_run(path: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Open a run's folder and the dataset it was made of.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        ``key=value``, such as ``data.root=…`` where the dataset has moved.

    Raises
    ------
    RunError, ConfigError, DataError
        If the folder is not a run, an override is wrong, or the dataset cannot be opened.
    """
    folder = RunFolder(path)
    info = folder.read_info()
    config = build_config(info.config, overrides, source=str(folder.info_path))
    ids, members = info.categories["ids"], info.categories.get("members")
    categories = Categories(
        tuple(info.categories["names"]),
        None if ids is None else tuple(ids),
        None if members is None else tuple(map(tuple, members)),
    )
    return OpenedRun(folder, info, config, open_dataset(config.data, categories))
