"""The local engine: decoding, saliency and segmentation overlapped, one part file per chunk.

::

    decode threads ──► classifier and saliency ──► segmentation threads ──► writer thread
      images, views      batches, calling thread     one task an image        one part a chunk

Queues between the stages are bounded, so memory does not grow with the dataset and the slowest
stage sets the pace. Batches never cross a chunk's border: a chunk's result is the same whether the
run was interrupted before it or not.

Decoding and segmentation have a time limit per image (``run.time_limit``): an image that exceeds it
is a failed row, its thread is given up and another takes its place (`wsl.run.pool`). The
classifier's work has none: a device that hangs stops the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from itertools import islice

import cv2

from wsl.data.sample import Dataset
from wsl.errors import RunError
from wsl.localize.image_maps import Explained
from wsl.localize.prediction import Prediction
from wsl.progress import Progress
from wsl.run.folder import RunFolder
from wsl.run.maps import write_maps
from wsl.run.pool import WorkerPool, worker_count
from wsl.run.rows import write_part
from wsl.run.stages import (
    Decoded,
    Finished,
    Stages,
    Step,
    Timings,
    chunk_range,
    explain_ahead,
    failure,
    finished,
)

__all__ = ["LocalEngine", "write_chunk"]

# Chunks begun and not yet written.
_OPEN_CHUNKS = 3
# Beyond so many threads that hang, something larger is wrong than an image.
_MAX_HANGING = 64
# Seconds that the end of a run that failed waits for its threads; they are daemons.
_PATIENCE = 10.0


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
        cv2.setNumThreads(1)  # the segmentation threads fill the cores
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
        explained = explain_ahead(
            *(self.stages, self.dataset, map(self._indices, chunks)), self._decoders, self.timings
        )
        for number in chunks:
            self._open.acquire()
            indices = self._indices(number)
            chunk = _Chunk(number, len(indices))
            for index, step in islice(explained, len(indices)):
                self._check()
                self._submit(chunk, index - indices.start, step)
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

    def _submit(self, chunk: _Chunk, position: int, step: Step) -> None:
        """Have an image segmented in a thread."""
        if isinstance(step, Prediction):
            self._put(chunk, position, finished(step))
            return
        image, found = step
        self._room.acquire()
        future = self._refiners.submit(self._segment, image, found)
        size = (image.pixels.shape[0], image.pixels.shape[1])
        future.add_done_callback(
            partial(self._segmented, chunk, position, image.sample.image_id, size)
        )

    def _segment(self, image: Decoded, found: Explained) -> Finished:
        begin = time.perf_counter()
        try:
            maps = self.stages.image_maps(image, found)
            return self.stages.segment(image.sample, image.pixels, maps)
        finally:
            self.timings.add("refine", begin)

    def _segmented(
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
