"""A run's folder: which run it holds, and which of its chunks are done.

::

    RUN/run.json                         what the run is: see `RunInfo`
    RUN/predictions/part-00000.parquet   one file per chunk of images (`wsl.run.rows`)
    RUN/maps/part-00000.npz              the maps of a chunk, where they were asked for
    RUN/predictions/.part-00001.0-64.…   images that are kept of a chunk (`wsl.run.chunk`)
    RUN/.lock, .lock-0-of-4, .info.lock  locks of the processes that work here (`wsl.run.lock`)

A part file is written whole or not at all, and its name is fixed by the chunk: however a run ended,
the next start does the missing chunks and no others. A part file that is damaged later does not
match its checksums: reading it raises a `RunError`, and the next start makes it again.

The folder may be in a store (``s3://…``; see `wsl.storage`), where there are no locks. A second run
with other settings is refused there, too, because ``run.json`` is created only once. One with the
same settings does no harm: it writes the same part files, each of them whole.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from wsl.errors import RunError
from wsl.localize.prediction import Prediction
from wsl.run.info import RunInfo, read_info
from wsl.run.lock import info_lock, is_lock, run_lock
from wsl.run.maps import check_maps
from wsl.run.rows import (
    PartCounts,
    check_part,
    read_counts,
    read_predictions,
    read_table,
)
from wsl.run.shard import Shard
from wsl.storage import as_path, is_temporary, write_json

_NUMBER = re.compile(r"\.?part-(\d+)\.")
_PIECE = re.compile(r"\.part-(\d+)\.(\d+)-(\d+)\.parquet")
_READERS = 8  # threads that read many part files: most of the time is waiting for the disk

Result = TypeVar("Result")


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path : Path or str
        Local, or in a store, such as ``s3://bucket/run``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = as_path(path)

    @property
    def info_path(self) -> Path:
        """Path of ``run.json``."""
        return self.path / "run.json"

    def part_path(self, chunk: int, piece: range | None = None) -> Path:
        """Path of the predictions of a chunk, or of a piece of it."""
        return self.path / "predictions" / f"{_stem(chunk, piece)}.parquet"

    def maps_path(self, chunk: int, piece: range | None = None) -> Path:
        """Path of the maps of a chunk, or of a piece of it."""
        return self.path / "maps" / f"{_stem(chunk, piece)}.npz"

    def read_info(self) -> RunInfo:
        """Read ``run.json``.

        Raises
        ------
        RunError
            If there is none, or it is not a run's.
        """
        return read_info(self.path)

    def write_info(self, info: RunInfo) -> None:
        """Write ``run.json``, whole or not at all."""
        write_json(self.info_path, asdict(info))

    def lock(self, shard: Shard | None = None) -> AbstractContextManager[None]:
        """Lock the folder, or a shard of it, which must exist.

        Raises
        ------
        RunError
            If another process has locked it.
        """
        return run_lock(self.path, shard or Shard())

    def check(self) -> None:
        """Check that the folder holds a run or nothing.

        Raises
        ------
        RunError
            If it holds something else, or ``run.json`` is damaged.
        """
        with _written(self.path):
            # Listed first: what another process writes meanwhile comes after its run.json.
            strange = self.path.exists() and any(map(_is_strange, self.path.iterdir()))
            if self.info_path.exists():
                self.read_info()
            elif strange:
                raise RunError(f"{self.path} exists, is not empty, and is not a run")

    def make(self) -> None:
        """Make the folder.

        Raises
        ------
        RunError
            As `check`, or if it cannot be written.
        """
        self.check()
        with _written(self.path):
            (self.path / "predictions").mkdir(parents=True, exist_ok=True)

    def begin(self, info: RunInfo) -> RunInfo:
        """Write ``run.json``, or check that the folder holds the same run.

        Returns
        -------
        RunInfo
            As on disk: `info`, or that of an earlier start of the same run.

        Raises
        ------
        RunMismatchError
            If the folder holds a run of another configuration, dataset or classifier.
        RunError
            If it holds something else, or cannot be written.
        """
        self.make()
        with _written(self.path), info_lock(self.path):
            for path in self.path.glob(".*.tmp"):
                if is_temporary(path, self.info_path.name):
                    path.unlink(missing_ok=True)
            # In a store, which has no locks, two runs may begin at once: one is refused below.
            with suppress(FileExistsError):
                if not self.info_path.exists():
                    write_json(self.info_path, asdict(info), new=True)
                    return info
        from wsl.run.same import check_same  # options of all stages, and with them torch

        found = self.read_info()
        check_same(self.path, found, info)
        return found

    def update(self, change: Callable[[RunInfo], RunInfo]) -> RunInfo:
        """Change ``run.json``, one process at a time, and return the new content.

        Raises
        ------
        RunError
            If it cannot be read or written.
        """
        with _written(self.path), info_lock(self.path):
            info = change(self.read_info())
            self.write_info(info)
        return info

    def add_timings(self, spent: Mapping[str, float]) -> RunInfo:
        """Add seconds to those of ``run.json``."""
        return self.update(
            lambda info: dataclasses.replace(
                info,
                timings={
                    name: info.timings.get(name, 0.0) + spent.get(name, 0.0)
                    for name in dict.fromkeys([*info.timings, *spent])
                },
            )
        )

    def parts(self) -> list[Path]:
        """Existing part files, in the order of their chunks."""
        return sorted((self.path / "predictions").glob("part-*.parquet"), key=_chunk_of)

    def done(self) -> set[int]:
        """Chunks whose part file is there."""
        return {_chunk_of(path) for path in self.parts()}

    def discard(self, chunk: int, piece: range | None = None) -> None:
        """Remove the files of a chunk, or of a piece of it."""
        with _written(self.path):
            # This one first: as long as it exists, the chunk counts as done.
            self.part_path(chunk, piece).unlink(missing_ok=True)
            self.maps_path(chunk, piece).unlink(missing_ok=True)

    def pieces(self, chunks: Container[int]) -> dict[int, list[range]]:
        """Find what is kept of unfinished chunks (`wsl.run.chunk`): positions of images.

        Parameters
        ----------
        chunks : container of int
            Those to look for.
        """
        done = self.done()
        found: dict[int, list[range]] = {}
        for path in (self.path / "predictions").glob(".part-*.parquet"):
            name, chunk = _PIECE.fullmatch(path.name), _chunk_of(path)
            if name and chunk in chunks and chunk not in done:
                found.setdefault(chunk, []).append(range(int(name[2]), int(name[3])))
        return {chunk: _without_gaps(found[chunk]) for chunk in sorted(found)}

    def clear(
        self, sizes: Mapping[int, int], *, maps: bool, thorough: bool = False
    ) -> Iterator[RunError]:
        """Remove unusable leftovers of earlier starts.

        These are damaged and half-written files, and pieces after a damaged or missing one.

        Parameters
        ----------
        sizes : mapping of int to int
            The chunks, and how many images each has.
        maps : bool
            Whether a chunk must have maps.
        thorough : bool
            Read the maps of finished chunks, too, against their checksums, and not only their
            directory.

        Yields
        ------
        RunError
            What is wrong with a file that was damaged.
        """
        there = self.done()
        done = [chunk for chunk in sizes if chunk in there]

        def damage(chunk: int) -> RunError | None:
            return self._damage(chunk, None, sizes[chunk], maps=maps, thorough=thorough)

        for chunk, error in zip(done, _in_threads(damage, done), strict=True):
            if error is not None:
                self.discard(chunk)
                yield error
        kept: set[Path] = set()
        for chunk, pieces in self.pieces(sizes).items():
            for piece in pieces:
                error = self._damage(chunk, piece, len(piece), maps=maps, thorough=True)
                if error is not None:
                    yield error
                    break
                kept |= {self.part_path(chunk, piece), self.maps_path(chunk, piece)}
        self.clear_hidden(sizes, kept)

    def clear_hidden(self, chunks: Container[int], kept: Container[Path] = ()) -> None:
        """Remove the half-written files and the pieces of some chunks, but for those `kept`."""
        with _written(self.path):
            for folder in ("predictions", "maps"):
                for path in (self.path / folder).glob(".part-*"):
                    if _chunk_of(path) in chunks and path not in kept:
                        path.unlink(missing_ok=True)

    def _damage(
        self, chunk: int, piece: range | None, images: int, *, maps: bool, thorough: bool
    ) -> RunError | None:
        """Say what is wrong with the files of a chunk, or of a piece of it."""
        try:
            counts = check_part(self.part_path(chunk, piece), images=images)
            if maps:
                check_maps(self.maps_path(chunk, piece), counts, thorough=thorough)
        except RunError as error:
            return error
        return None

    def counts(self, chunks: Iterable[int]) -> dict[int, PartCounts | RunError]:
        """Count what finished chunks hold; the error of one that cannot be read."""

        def count(chunk: int) -> PartCounts | RunError:
            try:
                return read_counts(self.part_path(chunk))
            except RunError as error:
                return error

        wanted = list(chunks)
        return dict(zip(wanted, _in_threads(count, wanted), strict=True))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of all part files; see `wsl.run.rows`.

        Parameters
        ----------
        columns : sequence of str, optional
            All by default; `wsl.run.rows.SCALARS` are those that scores need.

        Raises
        ------
        RunError
            If there are none, or a file is damaged.
        """
        return read_table(self._some_parts(), columns=columns)

    def predictions(self) -> Iterator[Prediction]:
        """Yield the images of all part files, in the dataset's order.

        Raises
        ------
        RunError
            As `read`.
        """
        for part in self._some_parts():
            yield from read_predictions(part)

    def _some_parts(self) -> list[Path]:
        parts = self.parts()
        if not parts:
            raise RunError(f"{self.path} holds no predictions yet")
        return parts


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn an OSError into a RunError that names the run's folder."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write the run folder {path}: {error}") from error


def _is_strange(path: Path) -> bool:
    """Whether a file is none of those that a run's folder has before ``run.json``."""
    if path.name == "predictions" and path.is_dir():
        return any(path.iterdir())
    return not (is_lock(path) or is_temporary(path))


def _chunk_of(path: Path) -> int:
    found = _NUMBER.match(path.name)
    return int(found[1]) if found else -1


def kept_images(pieces: Mapping[int, Iterable[range]]) -> int:
    """Count the images of `RunFolder.pieces`."""
    return sum(len(piece) for chunk in pieces.values() for piece in chunk)


def _stem(chunk: int, piece: range | None) -> str:
    if piece is None:
        return f"part-{chunk:05d}"
    return f".part-{chunk:05d}.{piece.start}-{piece.stop}"


def _without_gaps(pieces: list[range]) -> list[range]:
    """Return the pieces that follow one another from the chunk's first image."""
    kept: list[range] = []
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.stop)):
        if piece.start == (kept[-1].stop if kept else 0):
            kept.append(piece)
    return kept


def _in_threads(function: Callable[[int], Result], chunks: list[int]) -> Iterator[Result]:
    with ThreadPoolExecutor(_READERS, thread_name_prefix="wsl-read") as pool:
        yield from pool.map(function, chunks)
