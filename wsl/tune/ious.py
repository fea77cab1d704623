"""IoU of every candidate on every tuning image: computed in threads, kept on disk.

``DIR/ious/block-00000.npz`` and so on hold what was computed since the block before: for each
candidate, under its digest, (n, 3) numbers: the image's position in the list, the IoU of the box,
and that of the mask (NaN where the true mask is not known). Every block is written whole or not at
all; starting again computes what no block holds.
"""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.boxes import box_iou
from wsl.data.sample import Sample
from wsl.errors import RunError
from wsl.localize.refiners.base import rng_seed
from wsl.localize.segment import Segmentation, segment
from wsl.masks import Mask, mask_iou
from wsl.progress import Progress
from wsl.run.pool import worker_count
from wsl.score.images import ScoredImage
from wsl.storage import open_file, whole_file
from wsl.tune.maps import MapStore
from wsl.tune.space import Candidate

# Blocks are written this often: the most that an interruption costs.
_SECONDS_PER_BLOCK = 20.0


@dataclass(frozen=True, eq=False)
class Ious:
    """IoU with the truth, image by image."""

    box: NDArray[np.float64]
    """Shape (N,). IoU of the box with the instance that it meets best; 0 without a box."""
    mask: NDArray[np.float64]
    """Shape (N,). IoU of the mask with the union of the instances' masks; NaN where these are not
    known."""


@dataclass(frozen=True, eq=False)
class TrueMask:
    """The annotated pixels of an image's class."""

    mask: Mask
    counted: Mask
    """Shape (H, W). The object, and the pixels that count."""

    @classmethod
    def of(cls, sample: Sample, size: tuple[int, int]) -> TrueMask | None:
        """Unite the masks of the label's instances; None if the dataset has boxes alone."""
        annotation = sample.annotation
        if annotation is None or not any(one.mask for one in annotation.instances):
            return None
        label = -1 if sample.label is None else sample.label
        image = ScoredImage(sample.image_id, label, annotation, size)
        return cls(image.foreground(), ~image.ignored())

    def iou(self, mask: Mask) -> float:
        """IoU with a mask over the pixels that count."""
        return mask_iou(mask & self.counted, self.mask)


class IouTable:
    """IoU by candidate and image.

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
        self._folder = store.path / "ious"
        self._positions: list[int] = store.positions.tolist()
        # Of an image that cannot be processed the IoU is 0, whatever the settings.
        self._failed = {at for at in self._positions if store.failure(at) is not None}
        self._known: dict[str, dict[int, NDArray[np.float64]]] = {}
        self._waiting: dict[str, list[NDArray[np.float64]]] = {}
        self._written = time.monotonic()
        blocks = sorted(self._folder.glob("block-*.npz"))
        for path in blocks:
            self._read(path)
        self._next = len(blocks)

    def ious(self, candidate: Candidate) -> Ious:
        """IoU of a candidate that was computed, in the order of ``store.truth``."""
        known = self._known[candidate.digest]
        zero = np.zeros(2)
        rows = np.array([known.get(position, zero) for position in self._positions])
        return Ious(rows[:, 0], rows[:, 1])

    def compute(self, candidates: Sequence[Candidate], progress: Progress) -> None:
        """Compute what is missing of some candidates.

        Raises
        ------
        RunError
            If a candidate fails on an image: nothing is skipped, and what was computed is kept.
        """
        unique = {one.digest: one for one in candidates}
        missing = {at: self._missing(unique, at) for at in self._positions}
        total = len(candidates) * len(self._positions)
        progress.start(total, total - sum(map(len, missing.values())))
        threads_of_cv2 = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the threads fill the cores by themselves
        stop = threading.Event()
        pool = ThreadPoolExecutor(worker_count(self._store.config.run.workers))
        try:
            tasks = [
                pool.submit(self._of_image, position, wanted, stop)
                for position, wanted in missing.items()
                if wanted
            ]
            for task in as_completed(tasks):
                rows = task.result()
                self._put(rows)
                for digest, row in rows.items():
                    self._waiting.setdefault(digest, []).append(row)
                progress.advance(len(rows), 0)
                if time.monotonic() - self._written > _SECONDS_PER_BLOCK:
                    self._write()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(threads_of_cv2)
            self._write()

    def _missing(self, candidates: dict[str, Candidate], position: int) -> list[Candidate]:
        if position in self._failed:
            for digest in candidates:
                self._known.setdefault(digest, {})
            return []
        return [
            one
            for digest, one in candidates.items()
            if position not in self._known.setdefault(digest, {})
        ]

    def _of_image(
        self, position: int, candidates: Sequence[Candidate], stop: threading.Event
    ) -> dict[str, NDArray[np.float64]]:
        """Rows of one image by the candidates' digests; fewer if it is to stop."""
        store = self._store
        pixels, sample = store.pixels(position), store.dataset.sample(position)
        boxes = store.boxes(position)
        true = TrueMask.of(sample, (pixels.shape[0], pixels.shape[1]))
        rows: dict[str, NDArray[np.float64]] = {}
        for candidate in candidates:
            if stop.is_set():
                break
            found = self._segment(position, pixels, sample, candidate)
            box = 0.0 if found.box is None else float(box_iou([found.box], boxes).max())
            mask = np.nan if true is None else true.iou(found.mask)
            rows[candidate.digest] = np.array([position, box, mask])
        return rows

    def _segment(
        self, position: int, pixels: NDArray[np.uint8], sample: Sample, candidate: Candidate
    ) -> Segmentation:
        store = self._store
        label = -1 if sample.label is None else sample.label
        maps = store.maps_of(position, candidate.options)
        random_seed = rng_seed(sample.image_id, label, store.config.seed)
        try:
            return segment(pixels, maps, candidate.options, random_seed=random_seed)
        except Exception as error:
            raise RunError(
                f"candidate {candidate.text} fails on image {sample.image_id!r}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _put(self, rows: dict[str, NDArray[np.float64]]) -> None:
        for digest, row in rows.items():
            self._known.setdefault(digest, {})[int(row[0])] = row[1:]

    def _read(self, path: Path) -> None:
        try:
            with open_file(path) as file, np.load(file, allow_pickle=False) as block:
                for digest in block.files:
                    for row in block[digest]:
                        self._put({digest: row})
        except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} cannot be read; remove it to make it again: {error}") from error

    def _write(self) -> None:
        self._written = time.monotonic()
        self._store.check_there()
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
