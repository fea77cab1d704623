"""The local engine: decoding, saliency and segmentation overlapped, one part file per chunk.

::

    decode threads ──► classifier and saliency ──► segmentation threads ──► writer thread
      images, views      batches, calling thread     one task an image        one part a chunk

Queues between the stages are bounded, so memory does not grow with the dataset and the slowest
stage sets the pace. Batches never cross a chunk's border: a chunk's result is the same whether the
run was interrupted before it or not. The finished images of a chunk are kept every ten seconds
and when a run ends early (`wsl.run.chunk`).

Decoding and segmentation have a time limit per image (``run.time_limit``): an image that exceeds it
is a failed row, its thread is given up and another takes its place (`wsl.run.pool`). The
classifier's work has none: a device that hangs stops the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from itertools import islice

import cv2

from wsl.data.sample import Dataset
from wsl.errors import RunError, WslError
from wsl.localize.prediction import Prediction
from wsl.progress import Progress
from wsl.run.chunk import Chunk, FinishedImage
from wsl.run.folder import RunFolder
from wsl.run.pool import WorkerPool, worker_count
from wsl.run.stages import (
    DecodedImage,
    Stages,
    Step,
    Timings,
    chunk_range,
    explain_ahead,
    failure,
)
from wsl.saliency.class_maps import ClassMaps

# Chunks begun and not yet written.
_OPEN_CHUNKS = 3
# If more threads hang, the fault is not in single images.
_MAX_HANGING = 64
# Seconds that an interrupted run has to segment the images whose maps are computed.
_PATIENCE = 10.0
# Seconds between pieces of unfinished chunks.
_KEEP_EVERY = 10.0


class LocalEngine:
    """Runs chunks of a dataset through a localizer on this machine.

    Parameters
    ----------
    stages : Stages
    dataset : Dataset
    folder : RunFolder
    progress : Progress
    pieces : mapping of int to sequence of range
        What is kept of unfinished chunks (`RunFolder.pieces`).
    """

    def __init__(
        self,
        stages: Stages,
        dataset: Dataset,
        folder: RunFolder,
        *,
        progress: Progress,
        pieces: Mapping[int, Sequence[range]] | None = None,
    ) -> None:
        self.stages = stages
        self.dataset = dataset
        self.folder = folder
        self.progress = progress
        self.timings = Timings()
        self._pieces = pieces or {}
        self._chunks: dict[int, Chunk] = {}
        self._workers = worker_count(stages.options.workers)
        self._room = threading.BoundedSemaphore(2 * stages.part_images + self._workers)
        self._open = threading.BoundedSemaphore(_OPEN_CHUNKS)
        self._error: BaseException | None = None

    def run(self, chunks: Sequence[int]) -> None:
        """Do some chunks. However this ends, finished images are kept.

        Raises
        ------
        RunError
            If too many threads hang, the device's memory is too small for an image, or a
            part file cannot be written.
        """
        begin = time.perf_counter()
        threads_of_cv2 = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the segmentation threads fill the cores
        limit = self.stages.options.time_limit
        self._decoders = WorkerPool(self._workers, name="wsl-decode", time_limit=limit)
        self._refiners = WorkerPool(self._workers, name="wsl-refine", time_limit=limit)
        self._writer = WorkerPool(1, name="wsl-write")
        ended = False
        try:
            self._run(chunks)
            ended = True
        finally:
            self._decoders.close(cancel=True, patience=None if ended else 0)
            self._refiners.close(patience=None if ended else _PATIENCE)
            self._writer.close()
            self._keep()
            cv2.setNumThreads(threads_of_cv2)
            self.timings.add("wall", begin)

    def _run(self, chunks: Sequence[int]) -> None:
        explained = explain_ahead(
            *(self.stages, self.dataset, map(self._missing, chunks)), self._decoders, self.timings
        )
        kept = time.monotonic()
        for number in chunks:
            self._open.acquire()
            chunk = self._chunks[number] = self._chunk(number)
            if chunk.complete:
                self._writer.submit(self._write, chunk)
            for index, step in islice(explained, len(self._missing(number))):
                self._check()
                self._submit(chunk, index - self._indices(number).start, step)
                if time.monotonic() - kept > _KEEP_EVERY:
                    self._writer.submit(self._keep)
                    kept = time.monotonic()
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
                "not answer, or the machine is overloaded"
            )

    def _indices(self, chunk: int) -> range:
        return chunk_range(chunk, self.stages.options.chunk_size, len(self.dataset))

    def _missing(self, chunk: int) -> range:
        """Positions in the dataset of the images that no piece has."""
        kept = sum(len(piece) for piece in self._pieces.get(chunk, ()))
        return self._indices(chunk)[kept:]

    def _chunk(self, number: int) -> Chunk:
        return Chunk(
            self.folder,
            number,
            len(self._indices(number)),
            batch_images=self.stages.batch_images,
            maps=self.stages.options.maps,
            pieces=self._pieces.get(number, ()),
        )

    def _submit(self, chunk: Chunk, position: int, step: Step) -> None:
        """Have an image segmented in a thread."""
        if isinstance(step, Prediction):
            self._put(chunk, position, FinishedImage(step), in_batch=False)
            return
        image, found = step
        self._room.acquire()
        future = self._refiners.submit(self._segment, image, found)
        future.add_done_callback(
            partial(self._segmented, chunk, position, image.sample.image_id, image.size)
        )

    def _segment(self, image: DecodedImage, found: ClassMaps) -> FinishedImage:
        begin = time.perf_counter()
        try:
            maps = self.stages.image_maps(image, found)
            return self.stages.segment(image.sample, image.size, maps, image.pixels)
        finally:
            self.timings.add("refine", begin)

    def _segmented(
        self,
        chunk: Chunk,
        position: int,
        image_id: str,
        size: tuple[int, int],
        future: Future[FinishedImage],
    ) -> None:
        self._room.release()
        try:
            result = future.result()
        except CancelledError:  # the run has ended early
            return
        except BaseException as error:
            result = FinishedImage(failure(image_id, error, size=size, stage="refine it"))
        self._put(chunk, position, result, in_batch=True)

    def _put(self, chunk: Chunk, position: int, image: FinishedImage, *, in_batch: bool) -> None:
        """Count an image; with the last one, have its chunk written."""
        if chunk.put(position, image, in_batch=in_batch):
            self._writer.submit(self._write, chunk)
        self.progress.advance(1, int(image.failed))

    def _write(self, chunk: Chunk) -> None:
        begin = time.perf_counter()
        try:
            if self._error is None:
                chunk.write()
                del self._chunks[chunk.number]
        except OSError as error:
            self._error = RunError(f"cannot write the run folder {self.folder.path}: {error}")
        except BaseException as error:
            self._error = error
        finally:
            self.timings.add("write", begin)
            self._open.release()

    @property
    def lost(self) -> int:
        """Images that are finished and not kept."""
        return sum(chunk.lost for chunk in self._chunks.values())

    def _keep(self) -> None:
        """Keep what is finished of the unfinished chunks, if it can be written."""
        begin = time.perf_counter()
        with suppress(WslError):
            for chunk in list(self._chunks.values()):
                chunk.keep()
        self.timings.add("write", begin)
