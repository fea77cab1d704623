"""A run that was made before, opened again with its dataset.

Scores and exports need no classifier: torch is imported when the localizer is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from wsl.config.layers import build_options
from wsl.config.options import Options
from wsl.data.open import DataOptions, open_dataset
from wsl.data.sample import Dataset
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo

if TYPE_CHECKING:
    from wsl.localize.localizer import Localizer
    from wsl.run.config import RunConfig


@dataclass(frozen=True)
class OpenedRun:
    """A run with what it was made of."""

    folder: RunFolder
    info: RunInfo
    dataset: Dataset
    overrides: tuple[str, ...] = ()
    """``key=value``, over the run's configuration."""

    @cached_property
    def config(self) -> RunConfig:
        """The run's configuration, with the overrides."""
        from wsl.run.config import build_config

        return build_config(self.info.config, self.overrides, source=str(self.folder.info_path))

    @cached_property
    def localizer(self) -> Localizer:
        """The run's localizer, made when it is first needed: to draw steps again."""
        from wsl.run.runner import build_localizer

        return build_localizer(self.config)


class _Data(Options):
    """The part of a configuration that names the dataset."""

    model_config = ConfigDict(extra="ignore")
    data: DataOptions


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

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from wsl import load_config, run_dataset
    >>> from wsl.demo.draw import write_dataset
    >>> with TemporaryDirectory() as folder:
    ...     write_dataset(Path(folder, "data"), count=1, seed=0)
    ...     config = load_config("demo", {"data.root": f"{folder}/data", "classes.top_k": 1})
    ...     _ = run_dataset(config, Path(folder, "run"))
    ...     for prediction in open_run(Path(folder, "run")).folder.predictions():
    ...         print(prediction.image_id, prediction.status, len(prediction.localizations))
    DEMO_val_00000001 ok 1
    """
    folder = RunFolder(path)
    info = folder.read_info()
    source = str(folder.info_path)
    own = [override for override in overrides if override.startswith("data.")]
    data = build_options(_Data, {"data": info.config.get("data")}, own, source=source).data
    opened = OpenedRun(folder, info, open_dataset(data, info.as_categories), tuple(overrides))
    if len(own) < len(overrides):
        _ = opened.config  # refuses what is no key
    return opened
