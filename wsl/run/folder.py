"""A run's folder: what it is, which chunks are done, and whose it is.

::

    RUN/run.json                         what the run is: see `RunInfo`
    RUN/predictions/part-00000.parquet   one file per chunk of images (`wsl.run.rows`)
    RUN/maps/part-00000.npz              the maps of a chunk, where they were asked for
    RUN/predictions/.part-00001.0-64.…   images that are kept of a chunk (`wsl.run.chunk`)
    RUN/.lock, .lock-0-of-4, .info.lock  who works here (`wsl.run.lock`)

A part file is there whole or not at all, and its name is fixed by the chunk, so that whatever
happens to a run, starting it again does the chunks that are missing and no other. A part file that
is damaged afterwards is told by its checksums when the run is started again, and made again; it is
never scored, for whoever reads it gets a `RunError`.

The folder may lie in a store (``s3://…``; see `wsl.storage`), but there it has no locks. A second
run of other settings is refused there, too, by ``run.json``, which is made once. One of the same
settings is harmless: it writes the same part files, each of them whole, and ``run.json`` has the
counts and timings of whoever changed it last.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

__all__ = ["RunFolder", "kept_images"]

_NUMBER = re.compile(r"\.?part-(\d+)\.")
_PIECE = re.compile(r"\.part-(\d+)\.(\d+)-(\d+)\.parquet")
_READERS = 8  # threads that look at many part files; the time goes into waiting for the disk

Result = TypeVar("Result")


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path : Path or str
        Local, or a place in a store such as ``s3://bucket/run``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = as_path(path)

    @property
    def info_path(self) -> Path:
        """Where ``run.json`` is."""
        return self.path / "run.json"

    def part_path(self, chunk: int, piece: range | None = None) -> Path:
        """Where the predictions of a chunk, or of a piece of it, are or will be."""
        return self.path / "predictions" / f"{_stem(chunk, piece)}.parquet"

    def maps_path(self, chunk: int, piece: range | None = None) -> Path:
        """Where the maps of a chunk, or of a piece of it, are or will be."""
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
        """Hold the folder, or a shard of it, against other processes; it must exist.

        Raises
        ------
        RunError
            If another process holds it.
        """
        return run_lock(self.path, shard or Shard())

    def check(self) -> None:
        """Check that what is there is a run or nothing.

        Raises
        ------
        RunError
            If it is something else, or a run whose ``run.json`` is damaged.
        """
        with _written(self.path):
            if self.info_path.exists():
                self.read_info()
            elif self.path.exists() and any(_is_strange(path) for path in self.path.iterdir()):
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
        """Make the folder this run's, or make sure that it is.

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
        self.make()
        with _written(self.path), info_lock(self.path):
            for path in self.path.glob(".*.tmp"):
                if is_temporary(path, self.info_path.name):
                    path.unlink(missing_ok=True)
            # Two runs that begin at once in a store, which has no lock: one is refused below.
            with suppress(FileExistsError):
                if not self.info_path.exists():
                    write_json(self.info_path, asdict(info), new=True)
                    return info
        from wsl.run.same import check_same  # options of all stages, and with them torch

        found = self.read_info()
        check_same(self.path, found, info)
        return found

    def update(self, change: Callable[[RunInfo], RunInfo]) -> RunInfo:
        """Change ``run.json``, one process at a time; return what stands there now.

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
        """Part files that are there, in the order of their chunks."""
        return sorted((self.path / "predictions").glob("part-*.parquet"), key=_chunk_of)

    def missing_chunks(self, count: int, shard: Shard | None = None) -> list[int]:
        """Return the chunks of `count` (or of a shard of them) whose part file is not there."""
        there = {path.name for path in self.parts()}
        chunks = (shard or Shard()).chunks(count)
        return [chunk for chunk in chunks if self.part_path(chunk).name not in there]

    def discard(self, chunk: int, piece: range | None = None) -> None:
        """Remove the files of a chunk, or of a piece of it, which are missing then."""
        with _written(self.path):
            # This one first: as long as it is there, the others count as whole.
            self.part_path(chunk, piece).unlink(missing_ok=True)
            self.maps_path(chunk, piece).unlink(missing_ok=True)

    def pieces(self) -> dict[int, list[range]]:
        """Positions of the images that are kept of each unfinished chunk (`wsl.run.chunk`)."""
        there = {path.name for path in self.parts()}
        found: dict[int, list[range]] = {}
        for path in (self.path / "predictions").glob(".part-*.parquet"):
            name = _PIECE.fullmatch(path.name)
            if name and f"part-{name[1]}.parquet" not in there:
                found.setdefault(int(name[1]), []).append(range(int(name[2]), int(name[3])))
        return {chunk: _without_gaps(found[chunk]) for chunk in sorted(found)}

    def clear_temporary(self, shard: Shard | None = None) -> None:
        """Remove what earlier starts have left of a shard's chunks and is of no use.

        That is half-written files, and pieces behind a gap or of a chunk that is done.
        """
        mine, pieces = shard or Shard(), self.pieces()
        kept = {
            path
            for chunk in pieces
            for piece in pieces[chunk]
            for path in (self.part_path(chunk, piece), self.maps_path(chunk, piece))
        }
        with _written(self.path):
            for folder in ("predictions", "maps"):
                for path in (self.path / folder).glob(".part-*"):
                    if path not in kept and _chunk_of(path) % mine.count == mine.index:
                        path.unlink(missing_ok=True)

    def clear_damaged_pieces(
        self, shard: Shard | None = None, *, maps: bool
    ) -> Iterator[tuple[int, RunError]]:
        """Remove what is damaged of a shard's pieces and those behind; yield chunks and errors."""
        mine = shard or Shard()
        for chunk, pieces in self.pieces().items():
            error = None
            for piece in pieces if chunk % mine.count == mine.index else ():
                error = error or self._damage(chunk, piece, maps=maps, thorough=True)
                if error is not None:
                    self.discard(chunk, piece)
            if error is not None:
                yield chunk, error

    def damaged_chunks(
        self, sizes: Mapping[int, int], *, maps: bool, thorough: bool = False
    ) -> Iterator[tuple[int, RunError]]:
        """Yield the chunks that are there and damaged, with what is wrong.

        Parameters
        ----------
        sizes : mapping of int to int
            The chunks to look at, and how many images each has.
        maps : bool
            Whether a chunk must have maps.
        thorough : bool
            Read the maps, too, against their checksums, and not only their directory.
        """
        there = {path.name for path in self.parts()}
        chunks = [chunk for chunk in sizes if self.part_path(chunk).name in there]
        found = _in_threads(
            lambda chunk: self._damage(chunk, images=sizes[chunk], maps=maps, thorough=thorough),
            chunks,
        )
        return ((chunk, error) for chunk, error in zip(chunks, found, strict=True) if error)

    def _damage(
        self,
        chunk: int,
        piece: range | None = None,
        *,
        images: int | None = None,
        maps: bool,
        thorough: bool,
    ) -> RunError | None:
        """Say what is wrong with the files of a chunk, or of a piece of it."""
        try:
            counts = check_part(
                self.part_path(chunk, piece), images=len(piece or ()) if images is None else images
            )
            if maps:
                check_maps(self.maps_path(chunk, piece), counts, thorough=thorough)
        except RunError as error:
            return error
        return None

    def counts(self, chunks: Iterable[int] | None = None) -> dict[int, PartCounts | RunError]:
        """Count what chunks hold, by chunk; the error of one that cannot be read.

        Parameters
        ----------
        chunks : iterable of int, optional
            Part files that are there; all of them by default.
        """
        wanted = [_chunk_of(path) for path in self.parts()] if chunks is None else list(chunks)

        def count(chunk: int) -> PartCounts | RunError:
            try:
                return read_counts(self.part_path(chunk))
            except RunError as error:
                return error

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
    """Say which run's folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write the run folder {path}: {error}") from error


def _is_strange(path: Path) -> bool:
    """Whether a file is none of those that stand in a run's folder before ``run.json`` does."""
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
    with ThreadPoolExecutor(_READERS, thread_name_prefix="wsl-look") as pool:
        yield from pool.map(function, chunks)
