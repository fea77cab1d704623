"""How far a run is, from its folder alone: also while others work in it, on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsl.errors import RunError
from wsl.run.folder import RunFolder, kept_images
from wsl.run.rows import PartCounts

__all__ = ["RunStatus", "read_status"]


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes
    ----------
    path : Path
    chunks : int
        How many there are in all.
    images : int
        How many there are in all.
    missing : tuple of int
        Chunks that are not done.
    damaged : tuple of int
        Chunks whose part file's end cannot be read. (Damage further up shows when the run is
        started again: then all of it is read.)
    failed : dict of int to int
        Failed images by chunk, where there are any.
    done : PartCounts
        Of all chunks that are done.
    kept : int
        Images that are finished of chunks that are not done.
    """

    path: Path
    chunks: int
    images: int
    missing: tuple[int, ...]
    damaged: tuple[int, ...]
    failed: dict[int, int]
    done: PartCounts
    kept: int = 0

    @property
    def finished(self) -> int:
        """Images that will not be done again."""
        return self.done.images + self.kept

    def lines(self) -> list[str]:
        """Say it in words."""
        finished = self.chunks - len(self.missing) - len(self.damaged)
        lines = [
            f"{self.path}: {finished:,} of {self.chunks:,} chunks done, "
            f"{self.finished:,} of {self.images:,} images, "
            f"{self.done.localizations:,} localizations"
        ]
        if self.missing:
            lines.append(f"missing: {len(self.missing):,} chunks: {_ranges(self.missing)}")
        if self.damaged:
            lines.append(f"damaged: {len(self.damaged):,} chunks: {_ranges(self.damaged)}")
        if self.failed:
            listed = [f"{chunk} ({count})" for chunk, count in self.failed.items()]
            lines.append(
                f"failed: {self.done.failed:,} images, by chunk: {', '.join(_few(listed))}"
            )
        return lines


def read_status(path: Path | str) -> RunStatus:
    """Look at a run's folder.

    Raises
    ------
    RunError
        If it is not a run.
    """
    folder = RunFolder(path)
    info = folder.read_info()
    images = int(info.dataset["count"])
    options = info.config.get("run")
    size = options.get("chunk_size") if isinstance(options, dict) else None
    if not isinstance(size, int) or size < 1:
        raise RunError(f"{folder.info_path}: run.chunk_size must be at least 1, but is {size!r}")
    chunks = -(-images // size)
    missing = folder.missing_chunks(chunks)
    there = sorted(set(range(chunks)) - set(missing))
    found = folder.counts(there)
    whole = {chunk: one for chunk, one in found.items() if isinstance(one, PartCounts)}
    return RunStatus(
        path=folder.path,
        chunks=chunks,
        images=images,
        missing=tuple(missing),
        damaged=tuple(chunk for chunk, one in found.items() if isinstance(one, RunError)),
        failed={chunk: one.failed for chunk, one in whole.items() if one.failed},
        done=sum(whole.values(), PartCounts()),
        kept=kept_images(folder.pieces()),
    )


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers in words, neighbors together.

    Examples
    --------
    >>> _ranges([0, 2, 3, 4, 9])
    '0, 2-4, 9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [f"{first}-{last}" if last > first else str(first) for first, last in runs]
    return ", ".join(_few(texts))


def _few(texts: Sequence[str], *, shown: int = 20) -> list[str]:
    return [*texts[:shown], *(["…"] if len(texts) > shown else [])]
