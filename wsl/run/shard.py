"""Every n-th chunk of a run, for fleets of processes that share nothing but the run's folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wsl.errors import ConfigError

_FORM = re.compile(r"(\d+)/(\d+)", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """The chunks of one process: those whose number modulo `count` is `index`."""

    index: int = 0
    """Number of this process, from 0."""
    count: int = 1
    """How many processes share the run."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"a shard must be i/n with 0 <= i < n, but is {self.index}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``, such as ``0/16`` to ``15/16``.

        Raises
        ------
        ConfigError
            If it is anything else.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ConfigError(f"a shard must be i/n, such as 0/16, but is {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def chunk_sizes(self, images: int, chunk_size: int) -> dict[int, int]:
        """Return the number of images of each of this shard's chunks, of `images` in all.

        Examples
        --------
        >>> Shard(1, 2).chunk_sizes(images=14, chunk_size=4)
        {1: 4, 3: 2}
        """
        starts = range(self.index * chunk_size, images, self.count * chunk_size)
        return {start // chunk_size: min(chunk_size, images - start) for start in starts}
