"""Content of ``run.json``.

Nothing heavy is imported, so that a command on a folder that is no run ends at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wsl.data.categories import Categories
from wsl.errors import RunError
from wsl.storage import read_json

SCHEMA = 1
_MAX_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class RunInfo:
    """Content of ``run.json``."""

    config: dict[str, Any]
    """The effective configuration, defaults included."""
    dataset: dict[str, Any]
    """``name``, ``count`` (images) and ``fingerprint`` (of the list of images)."""
    categories: dict[str, Any]
    """``names`` and ``ids`` (or null) of the classifier's categories, in the order of labels, and
    ``members`` of groups of classes (or null)."""
    model: dict[str, Any]
    """``name``, ``fingerprint`` (of the weights) and ``device``; of an average also ``members``, a
    list of the same."""
    versions: dict[str, str]
    """Versions of the packages that made the run."""
    counts: dict[str, int] = field(default_factory=dict)
    """``images``, ``ok``, ``failed``, ``localizations``; empty until the run is complete."""
    timings: dict[str, float] = field(default_factory=dict)
    """Busy seconds of each stage, and ``wall``, over all starts; see `wsl.run.engines.local`."""
    schema: int = SCHEMA

    @cached_property
    def as_categories(self) -> Categories:
        """The classifier's categories."""
        ids, members = self.categories["ids"], self.categories.get("members")
        return Categories(
            tuple(self.categories["names"]),
            None if ids is None else tuple(ids),
            None if members is None else tuple(map(tuple, members)),
        )


def read_info(folder: Path, name: str = "run.json") -> RunInfo:
    """Read ``run.json`` of a run's folder, or a file like it.

    Raises
    ------
    RunError
        If there is none, or it is not a run's.
    """
    path = folder / name
    try:
        content = read_json(path, max_bytes=_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} is not a run: it has no {name}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RunError(f"{path} must have schema {SCHEMA}, but is of another version")
    try:
        info = RunInfo(**content)
        _check(info)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is not a run's: {error}") from error
    return info


def _check(info: RunInfo) -> None:
    """Check that required values are present and of the right type."""
    for name in ("config", "dataset", "categories", "model", "versions", "counts", "timings"):
        if not isinstance(getattr(info, name), dict):
            raise TypeError(f"{name} must be an object")
    for place, key, kind in (
        (info.dataset, "name", str),
        (info.dataset, "count", int),
        (info.dataset, "fingerprint", str),
        (info.model, "name", str),
        (info.model, "device", str),
        (info.model, "fingerprint", str),
        (info.categories, "names", list),
        (info.categories, "ids", list | None),
    ):
        if key not in place or not isinstance(place[key], kind):
            raise TypeError(f"{key} must be a {kind}, but is {place.get(key)!r}")
    known = info.as_categories
    if not all(isinstance(text, str) for text in [*known.names, *(known.ids or ())]):
        raise TypeError("names and ids of categories must be strings")
