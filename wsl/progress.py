"""How a long piece of work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of every image (or other unit) that is finished; the command line draws bars from it."""

    def start(self, total: int, done: int) -> None:
        """Begin: `total` units, of which `done` were there before."""

    def advance(self, count: int, failed: int) -> None:
        """`count` more units are finished, `failed` of them without success."""


class NoProgress:
    """Tells nobody."""

    def start(self, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, count: int, failed: int) -> None:
        """Do nothing."""
