"""What ``run.json`` says of a run, and whether a folder's run is the one that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsl.errors import RunMismatchError
from wsl.run.config import RunConfig

__all__ = ["SCHEMA", "RunInfo", "check_info", "check_same"]

SCHEMA = 1


@dataclass(frozen=True)
class RunInfo:
    """What ``run.json`` says.

    Attributes
    ----------
    config : dict
        The effective configuration, defaults included.
    dataset : dict
        ``name``, ``count`` (images) and ``fingerprint`` (of the list of images).
    categories : dict
        ``names`` and ``ids`` (or null) of the classifier's categories, in the order of labels.
    model : dict
        ``name``, ``fingerprint`` (of the weights) and ``device``.
    versions : dict
        Of the packages that made the run.
    counts : dict
        ``images``, ``ok``, ``failed``, ``localizations``; empty until the run is complete.
    timings : dict
        Busy seconds of each stage, and ``wall``, over all starts; see `wsl.run.engines.local`.
    schema : int
    """

    config: dict[str, Any]
    dataset: dict[str, Any]
    categories: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    schema: int = SCHEMA


def check_info(info: RunInfo) -> None:
    """Check that what others rely on is there, and of its type.

    Raises
    ------
    TypeError, ValueError
    """
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
    names, ids = info.categories["names"], info.categories["ids"]
    if not all(isinstance(text, str) for text in [*names, *(ids or ())]):
        raise TypeError("names and ids of categories must be texts")
    if ids is not None and len(ids) != len(names):
        raise ValueError(
            f"there must be one id per name, but there are {len(ids)} and {len(names)}"
        )


def check_same(path: Path, found: RunInfo, wanted: RunInfo) -> None:
    """Check that a run in a folder is the one that is wanted there.

    Raises
    ------
    RunMismatchError
        If it has other settings, images or weights; the message names each.
    """
    differences = [
        f"{key} was {old!r} and is {new!r}"
        for key, old, new in _differences(_completed(found.config), wanted.config)
    ]
    for what, old, new in (
        ("list of images", found.dataset["fingerprint"], wanted.dataset["fingerprint"]),
        ("classifier's weights", found.model["fingerprint"], wanted.model["fingerprint"]),
    ):
        if old != new:
            differences.append(f"the {what} is another ({old[:12]} and {new[:12]})")
    if differences:
        raise RunMismatchError(
            f"{path} holds another run: {'; '.join(differences)}. "
            "Choose another folder, or the same settings to continue that run"
        )


def _completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the defaults of settings that there were not yet when a run was begun.

    A new setting's default is what was done before there was the setting.
    """
    try:
        return RunConfig.model_validate(config).model_dump(mode="json")
    except ValueError:  # of another version altogether: the differences will say
        return config


# How the work is spread does not change results and may change between starts.
_FREE = {"run.workers", "run.time_limit", "model.device"}


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*old, *new]):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{name}.")
        elif before != after and name not in _FREE:
            yield name, before, after
