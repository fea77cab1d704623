"""The local engine: decoding, gradients and GrabCut overlapped, one part file per chunk.

::

    decode threads ──► classifier and gradients ──► GrabCut threads ──► writer thread
      images, views      batches, calling thread      one task an image     one part a chunk

Queues between the stages are bounded, so memory does not grow with the dataset and the slowest
stage sets the pace. Batches never reach over a chunk's border: a chunk's result is the same
whether the run was interrupted before it or not.

Decoding and GrabCut have a time limit per image (``run.time_limit``): an image that exceeds it is
a failed row, its thread is given up and another takes its place (`wsl.run.pool`). The classifier's
work has none: a device that hangs stops the run.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import cv2

from wsl.data.sample import Dataset
from wsl.errors import RunError
from wsl.localize.localizer import Explained
from wsl.localize.prediction import Prediction
from wsl.run.folder import RunFolder
from wsl.run.maps import write_maps
from wsl.run.pool import WorkerPool
from wsl.run.progress import Progress
from wsl.run.rows import write_part
from wsl.run.stages import Decoded, Finished, Stages, chunk_range, failure, finished

__all__ = ["LocalEngine", "Timings", "worker_count", "write_chunk"]

# Chunks begun and not yet written.
_OPEN_CHUNKS = 3
# Beyond so many threads that hang, something larger is wrong than an image.
_MAX_HANGING = 64
# Seconds that the end of a run that failed waits for its threads; they are daemons.
_PATIENCE = 10.0


def worker_count(workers: int | None) -> int:
    """Return how many threads a stage gets: `workers`, or one per core this process may use."""
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class Timings:
    """Busy seconds of the stages, summed over their threads, and the wall's.

    Attributes
    ----------
    decode, saliency, refine, write, wall : float
    """

    decode: float = 0.0
    saliency: float = 0.0
    refine: float = 0.0
    write: float = 0.0
    wall: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, stage: str, since: float) -> None:
        """Add the time since `since` (of `time.perf_counter`) to a stage."""
        with self._lock:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - since)

    def to_dict(self) -> dict[str, float]:
        """Seconds by stage."""
        return {
            name: getattr(self, name) for name in ("decode", "saliency", "refine", "write", "wall")
        }


class _Chunk:
    """The images of a chunk as they are finished, in any order."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self._images: list[Finished | None] = [None] * size
        self._left = size
        self._lock = threading.Lock()

    def put(self, position: int, image: Finished) -> bool:
        """Take an image; True for the last one."""
        with self._lock:
            self._images[position] = image
            self._left -= 1
            return self._left == 0

    def images(self) -> list[Finished]:
        """All images, in the dataset's order."""
        return [image for image in self._images if image is not None]


class LocalEngine:
    """Runs chunks of a dataset through a localizer on this machine.

    Parameters
    ----------
    stages : Stages
    dataset : Dataset
    folder : RunFolder
    progress : Progress
    """

    def __init__(
        self, stages: Stages, dataset: Dataset, folder: RunFolder, *, progress: Progress
    ) -> None:
        self.stages = stages
        self.dataset = dataset
        self.folder = folder
        self.progress = progress
        self.timings = Timings()
        self._workers = worker_count(stages.options.workers)
        self._room = threading.BoundedSemaphore(2 * stages.batch_images + self._workers)
        self._open = threading.BoundedSemaphore(_OPEN_CHUNKS)
        self._error: BaseException | None = None

    def run(self, chunks: Sequence[int]) -> None:
        """Do some chunks. Whatever ends this early, the part files that are there are whole.

        Raises
        ------
        RunError
            If threads hang in great number, the device's memory is too small for an image, or a
            part file cannot be written.
        """
        begin = time.perf_counter()
        threads_of_cv2 = cv2.getNumThreads()
        cv2.setNumThreads(1)  # GrabCut's tasks fill the cores by themselves
        limit = self.stages.options.time_limit
        self._decoders = WorkerPool(self._workers, name="wsl-decode", time_limit=limit)
        self._refiners = WorkerPool(self._workers, name="wsl-refine", time_limit=limit)
        self._writer = WorkerPool(1, name="wsl-write")
        patience: float | None = _PATIENCE
        try:
            self._run(chunks)
            patience = None
        finally:
            self._decoders.close(cancel=True, patience=patience)
            self._refiners.close(cancel=True, patience=patience)
            self._writer.close()
            cv2.setNumThreads(threads_of_cv2)
            self.timings.add("wall", begin)

    def _run(self, chunks: Sequence[int]) -> None:
        # Decoding runs two batches ahead, and as many images may wait for refinement.
        decoded = self._decode_ahead(chunks, 2 * self.stages.batch_images)
        for number in chunks:
            self._open.acquire()
            size = len(self._indices(number))
            chunk = _Chunk(number, size)
            batch: list[tuple[int, Decoded]] = []
            for position, item in enumerate(islice(decoded, size)):
                self._check()
                if isinstance(item, Prediction):
                    self._put(chunk, position, finished(item))
                    continue
                batch.append((position, item))
                if len(batch) == self.stages.batch_images:
                    self._explain_and_submit(chunk, batch)
                    batch = []
            if batch:
                self._explain_and_submit(chunk, batch)
        for _ in range(_OPEN_CHUNKS):  # all are free when all chunks are written
            self._open.acquire()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        hanging = self._decoders.hanging + self._refiners.hanging
        if hanging > _MAX_HANGING:
            raise RunError(
                f"{hanging} threads hang for longer than run.time_limit: the images' drive does "
                "not answer, or the machine is overloaded. Finished chunks are kept"
            )

    def _indices(self, chunk: int) -> range:
        return chunk_range(chunk, self.stages.options.chunk_size, len(self.dataset))

    def _decode_ahead(self, chunks: Sequence[int], ahead: int) -> Iterator[Decoded | Prediction]:
        """Yield the images of all chunks in order; threads decode at most `ahead` in advance."""
        waiting: deque[tuple[int, Future[Decoded | Prediction]]] = deque()
        for chunk in chunks:
            for index in self._indices(chunk):
                waiting.append((index, self._decoders.submit(self._decode, index)))
                if len(waiting) > ahead:
                    yield self._decoded(*waiting.popleft())
        while waiting:
            yield self._decoded(*waiting.popleft())

    def _decode(self, index: int) -> Decoded | Prediction:
        begin = time.perf_counter()
        try:
            return self.stages.decode(self.dataset, index)
        finally:
            self.timings.add("decode", begin)

    def _decoded(self, index: int, future: Future[Decoded | Prediction]) -> Decoded | Prediction:
        error = future.exception()
        if error is None:
            return future.result()
        return failure(self.dataset.image_ids[index], error, stage="read it")

    def _explain_and_submit(self, chunk: _Chunk, batch: list[tuple[int, Decoded]]) -> None:
        begin = time.perf_counter()
        explained = self.stages.explain([image for _, image in batch])
        self.timings.add("saliency", begin)
        for (position, image), found in zip(batch, explained, strict=True):
            self._room.acquire()
            future = self._refiners.submit(self._refine, image, found)
            size = (image.pixels.shape[0], image.pixels.shape[1])
            future.add_done_callback(
                partial(self._refined, chunk, position, image.sample.image_id, size)
            )

    def _refine(self, image: Decoded, explained: Explained) -> Finished:
        begin = time.perf_counter()
        try:
            return self.stages.refine(image, explained)
        finally:
            self.timings.add("refine", begin)

    def _refined(
        self,
        chunk: _Chunk,
        position: int,
        image_id: str,
        size: tuple[int, int],
        future: Future[Finished],
    ) -> None:
        self._room.release()
        try:
            result = future.result()
        except CancelledError:  # the run has ended early
            return
        except BaseException as error:
            result = finished(failure(image_id, error, size=size, stage="refine it"))
        self._put(chunk, position, result)

    def _put(self, chunk: _Chunk, position: int, image: Finished) -> None:
        """Count an image; with the last one, have its chunk written."""
        if chunk.put(position, image):
            self._writer.submit(self._write, chunk)
        self.progress.advance(1, int(image.failed))

    def _write(self, chunk: _Chunk) -> None:
        begin = time.perf_counter()
        try:
            if self._error is None:
                write_chunk(
                    self.folder, chunk.number, chunk.images(), maps=self.stages.options.maps
                )
        except OSError as error:
            self._error = RunError(
                f"cannot write the run folder {self.folder.path}: {error}. Finished chunks are "
                "kept: start the same command again to go on"
            )
        except BaseException as error:
            self._error = error
        finally:
            self.timings.add("write", begin)
            self._open.release()


def write_chunk(folder: RunFolder, chunk: int, images: Sequence[Finished], *, maps: bool) -> None:
    """Write the files of a chunk."""
    if maps:
        write_maps(
            folder.maps_path(chunk),
            {key: map_ for image in images for key, map_ in image.maps.items()},
        )
    # Last, for a part file says that the whole chunk is done.
    write_part(folder.part_path(chunk), [row for image in images for row in image.rows])
