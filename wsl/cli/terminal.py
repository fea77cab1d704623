"""Progress on a terminal: a bar with pace, time left and failures; plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

_FIRST_LINE = 10.0  # seconds
_LEAST_SECONDS = 2.0  # of measuring, before a pace is stated
_WINDOW = 120.0  # seconds over which it is measured


class Pace:
    """How fast units are finished, measured over the last two minutes.

    Units come in bursts, a batch at a time, and the first of them late, behind all that is made
    once. So the time counts from the first burst, whose units do not.

    Parameters
    ----------
    unit : str
        What is counted, in the plural.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bursts: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Note that `done` units are finished at the time `now`, in seconds."""
        if self._bursts and now - self._bursts[-1][0] < 0.1:
            self._bursts[-1] = (self._bursts[-1][0], done)
            return
        self._bursts.append((now, done))
        while len(self._bursts) > 10 and now - self._bursts[0][0] > _WINDOW:
            self._bursts.popleft()

    def per_second(self, now: float) -> float | None:
        """Units per second; None as long as nothing can be said."""
        if not self._bursts:
            return None
        (first, before), (last, done) = self._bursts[0], self._bursts[-1]
        if last - first < _LEAST_SECONDS:
            return None
        # What comes later than the pace would have it makes the pace lower.
        return min((done - before) / (last - first), (done - before + 1) / (now - first))

    def text(self, now: float, left: int) -> str:
        """Pace and time left in words; empty as long as nothing can be said."""
        rate = self.per_second(now)
        if rate is None:
            return ""
        unit = self._unit.removesuffix("s")
        pace = f"{rate:.1f} {self._unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit}"
        return f"{pace}, {duration(left / rate)} left" if left else pace


def duration(seconds: float) -> str:
    """Time in words, in its two largest units.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.4, 59.6, 3599, 7500, 100_000)]
    ['1 s', '1 min', '1 h', '2 h 5 min', '1 day 4 h']
    """
    if seconds < 10 * 60:
        whole, small = divmod(max(round(seconds), 1), 60)
        units = (f"{whole} min", f"{small} s")
    elif seconds < 24 * 3600 - 30:
        whole, small = divmod(round(seconds / 60), 60)
        units = (f"{whole} h", f"{small} min")
    else:
        whole, small = divmod(round(seconds / 3600), 24)
        units = (f"{whole} day{'s' * (whole > 1)}", f"{small} h")
    return " ".join(unit for unit, count in zip(units, (whole, small), strict=True) if count)


class ProgressBar:
    """Shows how far a long piece of work is; see `wsl.progress.Progress`.

    On a terminal a bar; elsewhere a line on standard error after ten seconds, then ever less often,
    and at the end. Nothing where nothing is to do.

    Parameters
    ----------
    what : str
        The work, such as ``"localize"``.
    unit : str
        What is counted, in the plural.
    after : float
        Seconds of work after which a terminal gets a bar: shorter work is done without a word.
    """

    def __init__(self, what: str, *, unit: str = "images", after: float = 0.0) -> None:
        self._what, self._unit, self._after = what, unit, after
        self._lock = threading.Lock()
        self._total = self._done = self._before = self._failed = 0
        self._begin = time.monotonic()
        self._next_line = _FIRST_LINE
        self._pace = Pace(unit)
        self._task: TaskID | None = None
        self._timer: threading.Timer | None = None
        self._bar = Progress(
            SpinnerColumn(finished_text=""),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
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
        self._total, self._done, self._before, self._failed = total, done, done, 0
        self._begin, self._next_line = time.monotonic(), _FIRST_LINE
        self._pace = Pace(self._unit)
        if self._bar.console.is_terminal and done < total:
            if not self._after:
                self._show()
                return
            self._timer = threading.Timer(self._after, self._show_late)
            self._timer.daemon = True
            self._timer.start()

    def advance(self, count: int, failed: int) -> None:
        """`count` more units are finished, `failed` of them without success."""
        with self._lock:
            self._done += count
            self._failed += failed
            now = time.monotonic()
            self._pace.add(now, self._done)
            if self._task is not None:
                self._update(self._pace.text(now, self._total - self._done))
            elif now - self._begin >= self._next_line:
                self._next_line = (now - self._begin) * 1.1 + _FIRST_LINE
                self._say_line(self._pace.text(now, self._total - self._done))

    def stop(self) -> None:
        """End, and say how far it came and how long it took."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            spent = time.monotonic() - self._begin
            if self._done > self._before and spent >= self._after:
                if self._task is not None:
                    self._update(f"in {duration(spent)}")
                else:
                    self._say_line(f"in {duration(spent)}")
            if self._task is not None:
                self._bar.stop()
                self._bar.remove_task(self._task)
                self._task = None
            self._total = self._done = self._before = 0

    def _show(self) -> None:
        self._task = self._bar.add_task(
            self._what, total=self._total, completed=self._done, pace="", failed=""
        )
        self._bar.start()

    def _show_late(self) -> None:
        with self._lock:
            if self._timer is not None:  # not stopped meanwhile
                self._show()

    def _update(self, pace: str) -> None:
        if self._task is not None:
            failed = f"{self._failed:,} failed" if self._failed else ""
            self._bar.update(self._task, completed=self._done, pace=pace, failed=failed)

    def _say_line(self, pace: str) -> None:
        parts = [
            f"{self._what}: {self._done:,} of {self._total:,} {self._unit}",
            pace,
            f"{self._failed:,} failed" if self._failed else "",
        ]
        print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)


def print_table(table: RenderableType) -> None:
    """Print a table, or anything that rich can render, on standard output."""
    Console().print(table)
