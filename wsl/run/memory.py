"""A bound on the memory of decoded images."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray


class MemoryBudget:
    """Bytes of decoded images that may wait, and that may be worked on, at the same time.

    Parameters
    ----------
    waiting : int
        For images between two stages. Those that find no room are decoded again when they are
        needed, so that no stage ever waits for another.
    working : int
        For images in a stage. One image is always let in, however large.
    """

    def __init__(self, *, waiting: int = 2**28, working: int = 2**29) -> None:
        self._waiting_limit = waiting
        self._working_limit = working
        self._waiting = self._working = 0
        self._changed = threading.Condition(threading.RLock())

    def hold(self, pixels: NDArray[np.uint8]) -> bool:
        """Count an array for as long as it lives, and return True; False if there is no room."""
        with self._changed:
            if self._waiting + pixels.nbytes > self._waiting_limit:
                return False
            self._waiting += pixels.nbytes
        weakref.finalize(pixels, self._release, pixels.nbytes).atexit = False
        return True

    def _release(self, size: int) -> None:
        with self._changed:
            self._waiting -= size

    @contextmanager
    def work(self, size: int) -> Iterator[None]:
        """Wait until there is room for `size` bytes, and have them taken in the block."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._working or self._working + size <= self._working_limit
            )
            self._working += size
        try:
            yield
        finally:
            with self._changed:
                self._working -= size
                self._changed.notify_all()
