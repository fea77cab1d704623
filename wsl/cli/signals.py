"""Ctrl-C and SIGTERM: the first ends a command in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wsl.cli.common import INTERRUPTED, say

_STOPS = (signal.SIGINT, signal.SIGTERM)


class StopSignal(BaseException):
    """A signal asks the command to stop: KeyboardInterrupt, but of a kind that typer lets pass."""


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise a StopSignal at the first signal, and exit with status 130 at the second.

    A thread counts the signals, so that the second one ends the process even while the main thread
    is in a library's code, where Python cannot interrupt it. Signals that are ignored stay so.
    """
    before = {number: signal.getsignal(number) for number in _STOPS}
    taken = {number for number, handler in before.items() if handler is not signal.SIG_IGN}
    read, write = os.pipe()
    os.set_blocking(write, False)
    old = signal.set_wakeup_fd(write)
    for number in taken:
        signal.signal(number, _stop)
    threading.Thread(target=_count, args=(read, taken), name="wsl-signals", daemon=True).start()
    try:
        yield
    except StopSignal:
        before = dict.fromkeys(_STOPS, _exit)  # while Python ends
        raise
    finally:
        signal.set_wakeup_fd(old)
        os.close(write)
        for number in taken:
            signal.signal(number, before[number])


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _stop(number: int, frame: FrameType | None) -> None:
    raise StopSignal


def _count(read: int, taken: set[signal.Signals]) -> None:
    stops = 0
    while numbers := os.read(read, 64):
        for number in numbers:
            stops += number in taken
        if stops > 1:
            os._exit(INTERRUPTED)
        if stops == 1:
            say("wsl: stopping; press Ctrl-C again to stop at once")
    os.close(read)
