"""Progress on a terminal: a bar with rate, time left and failures; plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["ProgressBar", "print_table"]

_SECONDS_BETWEEN_LINES = 10.0


class ProgressBar:
    """Shows how far a long piece of work is; see `wsl.progress.Progress`.

    On a terminal a bar, elsewhere a line on standard error every ten seconds and at the end.

    Parameters
    ----------
    what : str
        The work, such as ``"localize"``.
    unit : str
        What is counted, in the plural.
    """

    def __init__(self, what: str, *, unit: str = "images") -> None:
        self._what, self._unit = what, unit
        self._lock = threading.Lock()
        self._total = self._done = self._before = self._failed = 0
        self._begin = self._said = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failed]}"),
            console=Console(stderr=True),
            transient=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, total: int, done: int) -> None:
        """Begin: `total` units, of which `done` were there before."""
        self._total, self._done, self._before = total, done, done
        self._begin = self._said = time.monotonic()
        if self._bar.console.is_terminal:
            self._task = self._bar.add_task(
                self._what, total=total, completed=done, rate="", failed=""
            )
            self._bar.start()

    def advance(self, count: int, failed: int) -> None:
        """`count` more units are finished, `failed` of them without success."""
        with self._lock:
            self._done += count
            self._failed += failed
            if self._task is not None:
                self._bar.update(
                    self._task,
                    completed=self._done,
                    rate=f"{self._rate():.1f}/s",
                    failed=f"{self._failed} failed" if self._failed else "",
                )
            elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
                self._say_line()

    def stop(self) -> None:
        """End; without a terminal, say how far it came."""
        with self._lock:
            if self._task is not None:
                self._bar.stop()
            elif self._total:
                self._say_line()
            self._total = 0

    def _rate(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._begin, 1e-9)

    def _say_line(self) -> None:
        self._said = time.monotonic()
        rate = self._rate()
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        failed = f", {self._failed} failed" if self._failed else ""
        print(
            f"{self._what}: {self._done:,} of {self._total:,} {self._unit}, {rate:.1f}/s, "
            f"{left:.0f} s left{failed}",
            file=sys.stderr,
            flush=True,
        )


def print_table(table: RenderableType) -> None:
    """Print a table, or anything that rich can render, on standard output."""
    Console().print(table)
