"""The boxes of every candidate on every tuning image: made in threads, kept on disk.

``DIR/boxes/block-00000.npz`` and so on hold what was made since the block before: for each
candidate, under its digest, (n, 5) numbers: the image's position in the list, and its box, NaN for
no box. Every block is there whole or not at all; starting again makes what no block holds.
"""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.errors import RunError
from wsl.localize.refiners.base import rng_seed
from wsl.localize.segment import segment
from wsl.progress import Progress
from wsl.run.pool import worker_count
from wsl.storage import whole_file
from wsl.tune.maps import MapStore
from wsl.tune.space import Candidate

__all__ = ["BoxTable"]

# What an interruption may cost, at the most; blocks are written this often.
_SECONDS_PER_BLOCK = 20.0


class BoxTable:
    """Boxes by candidate and image.

    Parameters
    ----------
    store : MapStore
        With all maps that the candidates need.

    Raises
    ------
    RunError
        If a block on disk is damaged.
    """

    def __init__(self, store: MapStore) -> None:
        self._store = store
        self._folder = store.path / "boxes"
        self._positions = store.positions
        self._boxes: dict[str, NDArray[np.float64]] = {}
        self._done: dict[str, NDArray[np.bool_]] = {}
        self._waiting: dict[str, list[NDArray[np.float64]]] = {}
        self._written = time.monotonic()
        self._failed = [at for at in self._positions.tolist() if store.failure(at) is not None]
        blocks = sorted(self._folder.glob("block-*.npz"))
        for path in blocks:
            self._read(path)
        self._next = len(blocks)

    def boxes(self, candidate: Candidate) -> NDArray[np.float64]:
        """Boxes of a candidate that was made, in the order of ``store.truth``: (N, 4).

        Half-open; NaN where there is none, or where the image could not be processed.
        """
        return self._boxes[candidate.digest][self._positions]

    def make(self, candidates: Sequence[Candidate], progress: Progress) -> None:
        """Make what is missing of some candidates.

        Raises
        ------
        RunError
            If a candidate fails on an image: nothing is skipped, and what was made is kept.
        """
        unique = {candidate.digest: candidate for candidate in candidates}
        missing = {at: self._missing(unique, at) for at in self._positions.tolist()}
        total = len(candidates) * len(self._positions)
        progress.start(total, total - sum(map(len, missing.values())))
        threads_of_cv2 = cv2.getNumThreads()
        cv2.setNumThreads(1)  # refinements fill the cores by themselves
        stop = threading.Event()
        pool = ThreadPoolExecutor(worker_count(self._store.config.run.workers))
        try:
            tasks = [
                pool.submit(self._make_image, at, wanted, stop)
                for at, wanted in missing.items()
                if wanted
            ]
            self._collect(tasks, progress)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(threads_of_cv2)
            self._write()

    def _collect(
        self,
        tasks: Sequence[Future[tuple[int, list[tuple[str, NDArray[np.float64]]]]]],
        progress: Progress,
    ) -> None:
        for task in as_completed(tasks):
            position, found = task.result()
            for digest, box in found:
                self._put(digest, np.array([[position, *box]]))
                self._waiting.setdefault(digest, []).append(np.array([position, *box]))
            progress.advance(len(found), 0)
            if time.monotonic() - self._written > _SECONDS_PER_BLOCK:
                self._write()

    def _make_image(
        self, position: int, candidates: Sequence[Candidate], stop: threading.Event
    ) -> tuple[int, list[tuple[str, NDArray[np.float64]]]]:
        """Boxes of one image by several candidates, read once; none if it is to stop."""
        pixels = self._store.pixels(position)
        found = []
        for candidate in candidates:
            if stop.is_set():
                break
            found.append((candidate.digest, self._box(position, pixels, candidate)))
        return position, found

    def _box(
        self, position: int, pixels: NDArray[np.uint8], candidate: Candidate
    ) -> NDArray[np.float64]:
        store, image_id = self._store, self._store.dataset.image_ids[position]
        label = int(store.truth.labels[np.searchsorted(self._positions, position)])
        saliency = store.map_(position, candidate.options.working_size)
        random_seed = rng_seed(image_id, label, store.config.seed)
        try:
            box = segment(pixels, saliency, candidate.options, random_seed=random_seed).box
        except Exception as error:
            raise RunError(
                f"candidate {candidate.text} fails on image {image_id!r}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return np.full(4, np.nan) if box is None else np.array(box, dtype=np.float64)

    def _missing(self, candidates: dict[str, Candidate], position: int) -> list[Candidate]:
        for digest in candidates:
            if digest not in self._boxes:
                self._add(digest)
        return [one for digest, one in candidates.items() if not self._done[digest][position]]

    def _add(self, digest: str) -> None:
        self._boxes[digest] = np.full((len(self._store.dataset), 4), np.nan)
        self._done[digest] = np.zeros(len(self._store.dataset), dtype=bool)
        # An image that cannot be processed has no box, whatever the settings.
        self._done[digest][self._failed] = True

    def _put(self, digest: str, rows: NDArray[np.float64]) -> None:
        if digest not in self._boxes:
            self._add(digest)
        at = rows[:, 0].astype(np.int64)
        self._boxes[digest][at], self._done[digest][at] = rows[:, 1:], True

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as block:
                for digest in block.files:
                    self._put(digest, block[digest])
        except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} cannot be read; remove it to make it again: {error}") from error

    def _write(self) -> None:
        self._written = time.monotonic()
        if not self._waiting:
            return
        path = self._folder / f"block-{self._next:05d}.npz"
        while path.exists():  # after a damaged block was removed
            self._next += 1
            path = self._folder / f"block-{self._next:05d}.npz"
        stacked: dict[str, Any] = {digest: np.stack(rows) for digest, rows in self._waiting.items()}
        with whole_file(path) as file:
            np.savez(file, **stacked)
        self._waiting = {}
