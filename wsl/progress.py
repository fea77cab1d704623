"""Progress of long work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the number of finished images, or other units; the command line draws bars."""

    def start(self, total: int, done: int) -> None:
        """Begin: `total` units, of which `done` were finished before."""

    def advance(self, count: int, failed: int) -> None:
        """`count` more units are finished, `failed` of them without success."""


class NoProgress:
    """Shows nothing."""

    def start(self, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, count: int, failed: int) -> None:
        """Do nothing."""
