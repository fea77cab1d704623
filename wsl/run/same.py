"""Check that the run in a folder is the wanted one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wsl.errors import RunMismatchError
from wsl.run.config import RunConfig
from wsl.run.info import RunInfo


def check_same(path: Path, found: RunInfo, wanted: RunInfo, *, what: str = "run") -> None:
    """Check that a run (or a tuning) in a folder is the one that is wanted there.

    Raises
    ------
    RunMismatchError
        If it has other settings, images or weights; the message names each.
    """
    differences = [
        f"{key} was {old!r} and is {new!r}"
        for key, old, new in _differences(_completed(found.config), wanted.config)
    ]
    for name, old, new in (
        ("list of images", found.dataset["fingerprint"], wanted.dataset["fingerprint"]),
        *_weights(found.model, wanted.model),
    ):
        if old != new:
            differences.append(f"the {name} is another ({old[:12]} and {new[:12]})")
    if differences:
        raise RunMismatchError(
            f"{path} holds another {what}: {'; '.join(differences)}. "
            f"Choose another folder, or the same settings to continue that {what}"
        )


def _weights(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name the weights of a classifier, or of each member of an average, with fingerprints."""
    before, after = old.get("members", ()), new.get("members", ())
    if len(before) != len(after) or not after:
        yield "classifier's weights", old["fingerprint"], new["fingerprint"]
        return
    for number, (own, other) in enumerate(zip(before, after, strict=True)):
        yield f"weights of models.{number}", own["fingerprint"], other["fingerprint"]


def _completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the defaults of settings that did not exist when a run was begun.

    A new setting's default is what was done before the setting existed.
    """
    try:
        return RunConfig.model_validate(config).model_dump(mode="json")
    except ValueError:  # of another version altogether: the differences will say
        return config


# How the work is spread does not change results and may change between starts.
_FREE = {"run.workers", "run.time_limit", "model.device", "models.device", "tuned_on.images"}


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*old, *new]):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{name}.")
        elif name == "models" and len(before or ()) == len(after or ()):
            for own, other in zip(before or (), after or (), strict=True):
                yield from _differences(own, other, f"{name}.")
        elif before != after and name not in _FREE:
            yield name, before, after
