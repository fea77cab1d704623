"""The local engine: decoding, gradients and GrabCut overlapped, one part file per chunk.

::

    decode threads ──► classifier and gradients ──► GrabCut threads ──► writer thread
      images, views      batches, calling thread      one task an image     one part a chunk

Queues between the stages are bounded, so memory does not grow with the dataset and the slowest
stage sets the pace. Batches never reach over a chunk's border: a chunk's result is the same
whether the run was interrupted before it or not.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.data.images import load_image
from wsl.data.sample import Dataset, Sample
from wsl.errors import DataError, WslError
from wsl.localize.localizer import Explained, Localizer, Trace
from wsl.localize.prediction import Prediction
from wsl.run.folder import RunFolder
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.progress import Progress
from wsl.run.records import map_key, prediction_rows, stored_map, write_maps, write_part
from wsl.saliency.views import Views

__all__ = ["LocalEngine", "Timings", "worker_count"]

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, eq=False)
class _Image:
    """A decoded image on its way."""

    sample: Sample
    pixels: NDArray[np.uint8]
    views: Views


@dataclass(frozen=True, eq=False)
class _Done:
    """What is left of an image for the writer: its rows, and its maps where they are stored."""

    rows: list[dict[str, Any]]
    maps: dict[str, NDArray[np.float16]]


class LocalEngine:
    """Runs chunks of a dataset through a localizer on this machine.

    Parameters
    ----------
    localizer : Localizer
    dataset : Dataset
    folder : RunFolder
    classes : ClassOptions
    options : RunOptions
    max_pixels : int
        Images with more are failures.
    progress : Progress
    """

    def __init__(
        self,
        localizer: Localizer,
        dataset: Dataset,
        folder: RunFolder,
        *,
        classes: ClassOptions,
        options: RunOptions,
        max_pixels: int,
        progress: Progress,
    ) -> None:
        self.localizer = localizer
        self.dataset = dataset
        self.folder = folder
        self.classes = classes
        self.options = options
        self.max_pixels = max_pixels
        self.progress = progress
        self.timings = Timings()
        self._named = [localizer.classifier.categories.index(name) for name in classes.names]
        self._workers = worker_count(options.workers)

    def run(self, chunks: Sequence[int]) -> None:
        """Do some chunks. Whatever ends this early, the part files that are there are whole."""
        begin = time.perf_counter()
        threads_of_cv2 = cv2.getNumThreads()
        cv2.setNumThreads(1)  # GrabCut's tasks fill the cores by themselves
        decoders = ThreadPoolExecutor(self._workers, thread_name_prefix="wsl-decode")
        refiners = ThreadPoolExecutor(self._workers, thread_name_prefix="wsl-refine")
        writer = ThreadPoolExecutor(1, thread_name_prefix="wsl-write")
        try:
            self._run(chunks, decoders, refiners, writer)
        finally:
            for pool in (decoders, refiners, writer):
                pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(threads_of_cv2)
            self.timings.add("wall", begin)

    def _run(
        self,
        chunks: Sequence[int],
        decoders: ThreadPoolExecutor,
        refiners: ThreadPoolExecutor,
        writer: ThreadPoolExecutor,
    ) -> None:
        batch_images = max(1, self.options.batch_size // self.localizer.view_count)
        # Decoding runs two batches ahead, and as many images may wait for refinement.
        decoded = self._decode_ahead(chunks, decoders, 2 * batch_images)
        room = threading.BoundedSemaphore(2 * batch_images + self._workers)
        written: deque[Future[None]] = deque()
        for chunk in chunks:
            results: list[Future[_Done]] = []
            batch: list[tuple[_Image, Future[_Done]]] = []
            for item in islice(decoded, len(self._indices(chunk))):
                result: Future[_Done] = Future()
                results.append(result)
                if isinstance(item, Prediction):
                    self._finish(result, item)
                    continue
                batch.append((item, result))
                if len(batch) == batch_images:
                    self._explain_and_submit(batch, refiners, room)
                    batch = []
            if batch:
                self._explain_and_submit(batch, refiners, room)
            written.append(writer.submit(self._write, chunk, results))
            while written and written[0].done():
                written.popleft().result()
        for write in written:
            write.result()

    def image_count(self, chunks: Sequence[int]) -> int:
        """Count the images of some chunks."""
        return sum(len(self._indices(chunk)) for chunk in chunks)

    def _indices(self, chunk: int) -> range:
        size = self.options.chunk_size
        return range(chunk * size, min((chunk + 1) * size, len(self.dataset)))

    def _decode_ahead(
        self, chunks: Sequence[int], decoders: ThreadPoolExecutor, ahead: int
    ) -> Iterator[_Image | Prediction]:
        """Yield the images of all chunks in order; threads decode at most `ahead` in advance."""
        waiting: deque[Future[_Image | Prediction]] = deque()
        for chunk in chunks:
            for index in self._indices(chunk):
                waiting.append(decoders.submit(self._decode, index))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _decode(self, index: int) -> _Image | Prediction:
        begin = time.perf_counter()
        image_id = self.dataset.image_ids[index]
        try:
            sample = self.dataset.sample(index, annotated=False)
            if self.classes.select == "ground_truth" and sample.label is None:
                raise DataError("the image has no label, which classes.select: ground_truth needs")
            pixels = load_image(sample.path, max_pixels=self.max_pixels)
            return _Image(sample, pixels, self.localizer.views(pixels))
        except Exception as error:
            return Prediction.failed(image_id, _reason(error, image_id))
        finally:
            self.timings.add("decode", begin)

    def _explain_and_submit(
        self,
        batch: list[tuple[_Image, Future[_Done]]],
        refiners: ThreadPoolExecutor,
        room: threading.BoundedSemaphore,
    ) -> None:
        begin = time.perf_counter()
        explained = self.localizer.explain(
            [image.views for image, _ in batch],
            [self._wanted(image.sample) for image, _ in batch],
            first=self.classes.top_k if self.classes.select in ("top_k", "both") else 0,
        )
        self.timings.add("saliency", begin)
        for (image, result), found in zip(batch, explained, strict=True):
            room.acquire()
            refiners.submit(self._refine, image, found, result).add_done_callback(
                lambda _: room.release()
            )

    def _wanted(self, sample: Sample) -> Sequence[int]:
        """Classes of one image that are wanted whatever their rank."""
        if self.classes.select == "named":
            return self._named
        if self.classes.select in ("ground_truth", "both") and sample.label is not None:
            return (sample.label,)
        return ()

    def _refine(self, image: _Image, explained: Explained, result: Future[_Done]) -> None:
        begin = time.perf_counter()
        sample, size = image.sample, (image.pixels.shape[0], image.pixels.shape[1])
        traces: list[Trace] = []
        try:
            traces = self.localizer.localize(
                image.pixels,
                image.views,
                explained,
                image_id=sample.image_id,
                top_k=self.classes.top_k,
                label=sample.label,
            )
            found = tuple(trace.localization for trace in traces)
            prediction = Prediction(sample.image_id, size, found)
        except Exception as error:
            reason = _reason(error, sample.image_id)
            prediction = Prediction.failed(sample.image_id, reason, size=size)
        self.timings.add("refine", begin)
        self._finish(result, prediction, traces)

    def _finish(
        self, result: Future[_Done], prediction: Prediction, traces: Sequence[Trace] = ()
    ) -> None:
        """Hand an image's rows to the writer, and count it."""
        maps = {}
        if self.options.maps:
            maps = {
                map_key(prediction.image_id, trace.localization.label): stored_map(trace.saliency)
                for trace in traces
            }
        result.set_result(_Done(prediction_rows(prediction), maps))
        self.progress.advance(1, int(prediction.status == "failed"))

    def _write(self, chunk: int, results: Sequence[Future[_Done]]) -> None:
        done = [result.result() for result in results]
        begin = time.perf_counter()
        if self.options.maps:
            write_maps(
                self.folder.maps_path(chunk),
                {key: map_ for image in done for key, map_ in image.maps.items()},
            )
        # Last, for a part file says that the whole chunk is done.
        write_part(self.folder.part_path(chunk), [row for image in done for row in image.rows])
        self.timings.add("write", begin)


def _reason(error: Exception, image_id: str) -> str:
    """Say why an image failed; what wsl did not foresee is logged with its traceback."""
    if isinstance(error, WslError):
        return str(error)
    log.warning("%s: unexpected error", image_id, exc_info=error)
    return f"unexpected {type(error).__name__}: {error}"
