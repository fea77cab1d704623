"""Progress of a run, read from its folder: also while it is running, and on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wsl.errors import RunError
from wsl.run.folder import RunFolder, kept_images
from wsl.run.rows import PartCounts
from wsl.run.shard import Shard


@dataclass(frozen=True)
class RunStatus:
    """Progress of a run, or of a shard of it."""

    path: Path
    sizes: Mapping[int, int]
    """Number of images of each chunk."""
    missing: tuple[int, ...]
    """Chunks that are not done."""
    damaged: tuple[int, ...]
    """Chunks whose part file cannot be opened. (Damage further inside is found when the run is
    started again and all files are read.)"""
    failed: dict[int, int]
    """Number of failed images of each chunk that has any."""
    done: PartCounts
    """Counts of all chunks that are done."""
    kept: dict[int, list[range]]
    """Positions of the finished images of chunks that are not done."""

    @classmethod
    def of(cls, folder: RunFolder, sizes: Mapping[int, int]) -> Self:
        """Read the progress of some chunks."""
        done = folder.done()
        found = folder.counts(chunk for chunk in sizes if chunk in done)
        whole = {chunk: one for chunk, one in found.items() if isinstance(one, PartCounts)}
        return cls(
            path=folder.path,
            sizes=sizes,
            missing=tuple(chunk for chunk in sizes if chunk not in done),
            damaged=tuple(chunk for chunk in found if chunk not in whole),
            failed={chunk: one.failed for chunk, one in whole.items() if one.failed},
            done=sum(whole.values(), PartCounts()),
            kept=folder.pieces(sizes),
        )

    @property
    def images(self) -> int:
        """Number of all images."""
        return sum(self.sizes.values())

    @property
    def finished(self) -> int:
        """Number of images that will not be done again."""
        return self.done.images + kept_images(self.kept)

    @property
    def complete(self) -> bool:
        """Whether all chunks are done."""
        return not self.missing and not self.damaged

    def lines(self) -> list[str]:
        """Lines of text for a terminal."""
        finished = len(self.sizes) - len(self.missing) - len(self.damaged)
        lines = [
            f"{self.path}: {self.finished:,} of {self.images:,} images done, "
            f"{finished:,} of {len(self.sizes):,} chunks"
        ]
        if self.missing:
            lines.append(f"not done: {_chunks(self.missing)}")
        if self.damaged:
            lines.append(f"damaged: {_chunks(self.damaged)}")
        if self.failed:
            listed = [f"{chunk} ({count})" for chunk, count in self.failed.items()]
            lines.append(
                f"failed: {self.done.failed:,} images, by chunk: {', '.join(_few(listed))}"
            )
        return lines


def read_status(path: Path | str) -> RunStatus:
    """Read the progress of a run.

    Raises
    ------
    RunError
        If the folder holds no run.
    """
    folder = RunFolder(path)
    info = folder.read_info()
    options = info.config.get("run")
    size = options.get("chunk_size") if isinstance(options, dict) else None
    if not isinstance(size, int) or size < 1:
        raise RunError(f"{folder.info_path}: run.chunk_size must be at least 1, but is {size!r}")
    return RunStatus.of(folder, Shard().chunk_sizes(info.dataset["count"], size))


def _chunks(numbers: Sequence[int]) -> str:
    word = "chunk" if len(numbers) == 1 else f"{len(numbers):,} chunks,"
    return f"{word} {_ranges(numbers)}"


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers as text, consecutive ones as ranges.

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
