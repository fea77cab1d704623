"""The dataset of stored maps: annotations, without a run or a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from wsl.config.layers import build_options
from wsl.data.categories import Categories
from wsl.data.open import DataOptions, open_dataset
from wsl.data.options import ReaderOptions
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.data.readers.wsol import WsolOptions, class_count
from wsl.data.sample import Dataset
from wsl.errors import ConfigError


class _OwnClasses(Categories):
    """Whatever classes a dataset has, in the order in which they are asked for."""

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {}

    def find(self, key: str) -> int:
        """Return the number of a class."""
        return self._numbers.setdefault(key.casefold(), len(self._numbers))


def open_annotated(data_format: str, root: Path | None, overrides: Sequence[str] = ()) -> Dataset:
    """Open a dataset with its own classes as categories.

    Parameters
    ----------
    data_format : str
        As ``data.format``.
    root : Path or None
        As ``data.root``.
    overrides : sequence of str
        Other options of the data, ``data.key=value``.

    Raises
    ------
    ConfigError, DataError
        If an option is wrong, or the dataset cannot be opened.
    """
    wrong = [override for override in overrides if not override.startswith("data.")]
    if wrong:
        raise ConfigError(f"without a run, --set takes data.… and score.…, but got {wrong[0]!r}")
    given: dict[str, Any] = {"format": data_format} | ({} if root is None else {"root": root})
    own = [override.removeprefix("data.") for override in overrides]
    options = build_options(DataOptions, given, own, source="data")
    return open_dataset(options, _categories(options))


def _categories(options: ReaderOptions) -> Categories:
    """Return categories that the format's reader takes for the dataset's own."""
    if isinstance(options, IlsvrcOptions):
        return Categories.from_file(options.folder / "LOC_synset_mapping.txt")
    if isinstance(options, WsolOptions):
        return Categories.numbered(class_count(options.annotations.absolute(), options.split))
    return _OwnClasses(())
