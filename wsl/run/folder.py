"""A run's folder: what it is, which chunks are done, and whose it is.

::

    RUN/run.json                         what the run is: see `RunInfo`
    RUN/predictions/part-00000.parquet   one file per chunk of images (`wsl.run.records`)
    RUN/maps/part-00000.npz              the maps of a chunk, where they were asked for

A part file is there whole or not at all, and its name is fixed by the chunk, so that whatever
happens to a run, starting it again does the chunks that are missing and no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from wsl.errors import RunError, RunMismatchError
from wsl.run.records import read_part

__all__ = ["RunFolder", "RunInfo", "write_json"]

_SCHEMA = 1


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
        Busy seconds of each stage, and ``wall``, over all starts; see `wsl.run.engine`.
    schema : int
    """

    config: dict[str, Any]
    dataset: dict[str, Any]
    categories: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    schema: int = _SCHEMA


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def info_path(self) -> Path:
        """Where ``run.json`` is."""
        return self.path / "run.json"

    def part_path(self, chunk: int) -> Path:
        """Where the predictions of a chunk are, or will be."""
        return self.path / "predictions" / f"part-{chunk:05d}.parquet"

    def maps_path(self, chunk: int) -> Path:
        """Where the maps of a chunk are, or will be."""
        return self.path / "maps" / f"part-{chunk:05d}.npz"

    def read_info(self) -> RunInfo:
        """Read ``run.json``.

        Raises
        ------
        RunError
            If there is none, or it is not a run's.
        """
        try:
            content = json.loads(self.info_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run: it has no run.json") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.info_path} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
            raise RunError(
                f"{self.info_path} must have schema {_SCHEMA}, but is of another version"
            )
        try:
            return RunInfo(**content)
        except TypeError as error:
            raise RunError(f"{self.info_path} is not a run's: {error}") from error

    def write_info(self, info: RunInfo) -> None:
        """Write ``run.json``, whole or not at all."""
        write_json(self.info_path, asdict(info))

    def begin(self, info: RunInfo) -> RunInfo:
        """Make the folder, or make sure that it belongs to this very run.

        Returns
        -------
        RunInfo
            What stands on disk: `info`, or that of an earlier start of the same run.

        Raises
        ------
        RunMismatchError
            If the folder holds a run of another configuration, dataset or classifier.
        RunError
            If it holds something else, or cannot be written.
        """
        if self.info_path.exists():
            found = self.read_info()
            _check_same(self.path, found, info)
            return found
        try:
            if self.path.exists() and any(self.path.iterdir()):
                raise RunError(f"{self.path} exists, is not empty, and is not a run")
            (self.path / "predictions").mkdir(parents=True, exist_ok=True)
            self.write_info(info)
        except OSError as error:
            raise RunError(f"cannot write the run folder {self.path}: {error}") from error
        return info

    def parts(self) -> list[Path]:
        """Part files that are there, in the order of their chunks."""
        return sorted((self.path / "predictions").glob("part-*.parquet"))

    def missing_chunks(self, count: int) -> list[int]:
        """Return the chunks of `count` whose part file is not there."""
        there = {path.name for path in self.parts()}
        return [chunk for chunk in range(count) if self.part_path(chunk).name not in there]

    def read(self, *, columns: list[str] | None = None) -> pa.Table:
        """Predictions of all part files in one table.

        Raises
        ------
        RunError
            If there are none, or one is damaged.
        """
        tables = list(self.iter_parts(columns=columns))
        if not tables:
            raise RunError(f"{self.path} holds no predictions yet")
        return pa.concat_tables(tables)

    def iter_parts(self, *, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Predictions one part file at a time."""
        return (read_part(path, columns=columns) for path in self.parts())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _check_same(path: Path, found: RunInfo, wanted: RunInfo) -> None:
    differences = [
        f"{key} was {old!r} and is {new!r}"
        for key, old, new in _differences(found.config, wanted.config)
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


# How the work is spread does not change results and may change between starts.
_FREE = {"run.workers", "model.device"}


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
