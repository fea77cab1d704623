"""The stages of a run, one image or one batch at a time: decode, explain, segment.

Engines put them together: the local one in threads, the Ray engine on many machines; tuning takes
the maps alone. What a batch is made of is decided here, so that all give the same numbers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from wsl.data.images import DECODING_BYTES, load_image
from wsl.data.sample import Dataset, Sample
from wsl.errors import DataError, RunError, WslError
from wsl.localize.image_maps import ImageMaps
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Prediction
from wsl.run.chunk import FinishedImage
from wsl.run.maps import stored_map
from wsl.run.memory import MemoryBudget
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.pool import TimeLimitError, WorkerPool, worker_count
from wsl.saliency.class_maps import ClassMaps
from wsl.saliency.views import Views

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image with its views."""

    sample: Sample
    size: tuple[int, int]
    views: Views
    pixels: NDArray[np.uint8] | None
    """None where there was no room to keep them."""

    def explained(self) -> DecodedImage:
        """Let go of the classifier's inputs, but for their geometries."""
        return replace(self, views=replace(self.views, groups=(), for_classes=None, members=()))


def chunk_range(chunk: int, size: int, count: int) -> range:
    """Positions of a chunk's images among the `count` of the dataset."""
    return range(chunk * size, min((chunk + 1) * size, count))


@dataclass
class Timings:
    """Busy seconds of the stages, summed over their threads, and the wall's."""

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


class Stages:
    """The stages with what they need.

    Parameters
    ----------
    localizer : Localizer
    classes : ClassOptions
    options : RunOptions
    max_pixels : int
        Images with more are failures.
    """

    def __init__(
        self,
        localizer: Localizer,
        *,
        classes: ClassOptions,
        options: RunOptions,
        max_pixels: int,
    ) -> None:
        self.localizer = localizer
        self.classes = classes
        self.options = options
        self.max_pixels = max_pixels
        self.memory = MemoryBudget()
        self._named = [localizer.classifier.categories.index(name) for name in classes.names]
        self.batch_images = max(1, options.batch_size // localizer.view_count)
        # Of a batch, so many images are worked on at a time, and held while they wait.
        self.part_images = min(self.batch_images, localizer.images_at_once or self.batch_images)
        self._fitting = self.batch_images

    def decode(self, dataset: Dataset, index: int) -> DecodedImage | Prediction:
        """Read an image and cut its views; a failed prediction if that cannot be done."""
        image_id = dataset.image_ids[index]
        try:
            sample = dataset.sample(index, annotated=False)
            if self.classes.select == "ground_truth" and sample.label is None:
                raise DataError("the image has no label, which classes.select: ground_truth needs")
            with ExitStack() as taken:
                pixels = load_image(
                    sample.path,
                    max_pixels=self.max_pixels,
                    admit=lambda size: taken.enter_context(self.memory.work(size)),
                )
                views = self.localizer.views(pixels)
                kept = pixels if self.memory.hold(pixels) else None
            return DecodedImage(sample, (pixels.shape[0], pixels.shape[1]), views, kept)
        except Exception as error:
            return failure(image_id, error)

    def explain(self, batch: Sequence[DecodedImage]) -> list[ClassMaps]:
        """Compute the maps of a batch of images.

        Where the device's memory is too small for the batch, it is halved until it fits, from then
        on for all batches; results differ in the last bits at most.

        Raises
        ------
        RunError
            If not even one image fits.
        """
        found: list[ClassMaps] = []
        while len(found) < len(batch):
            part = batch[len(found) : len(found) + self._fitting]
            explained = self._explain_if_it_fits(part)
            if explained is None:
                self._halve(len(part))
            else:
                found += explained
        return found

    def _explain_if_it_fits(self, batch: Sequence[DecodedImage]) -> list[ClassMaps] | None:
        try:
            return self.localizer.explain(
                [image.views for image in batch],
                [self._wanted(image.sample) for image in batch],
                first=[self._first(image.sample) for image in batch],
            )
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            # The error holds on to the batch's tensors: the next try is made outside of here.
            return None

    def _halve(self, images: int) -> None:
        device = self.localizer.classifier.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if images == 1:
            raise RunError(
                f"{device} has too little memory for a single image "
                f"({self.localizer.view_count} views): free it, or choose a smaller network, "
                "fewer views, or another device"
            )
        self._fitting = images // 2
        log.warning(
            "%s is out of memory with a batch of %d images: going on with %d",
            device,
            images,
            self._fitting,
        )

    def _first(self, sample: Sample) -> int:
        """How many of the classifier's first classes are wanted."""
        if self.classes.select == "auto":
            return int(sample.label is None)
        return self.classes.top_k if self.classes.select in ("top_k", "both") else 0

    def _wanted(self, sample: Sample) -> Sequence[int]:
        """Classes of one image that are wanted whatever their rank."""
        if self.classes.select == "named":
            return self._named
        if self.classes.select in ("auto", "ground_truth", "both") and sample.label is not None:
            return (sample.label,)
        return ()

    def image_maps(self, image: DecodedImage, found: ClassMaps) -> ImageMaps:
        """Lay one image's maps on the image."""
        return self.localizer.image_maps(found, image.views)

    def segment(
        self,
        sample: Sample,
        size: tuple[int, int],
        maps: ImageMaps,
        pixels: NDArray[np.uint8] | None = None,
    ) -> FinishedImage:
        """From one image's maps to its rows; an image whose pixels were not kept is read again."""
        try:
            with self.memory.work(DECODING_BYTES * size[0] * size[1]):
                if pixels is None:
                    pixels = load_image(sample.path, max_pixels=self.max_pixels)
                if pixels.shape[:2] != size:
                    raise RunError(f"{sample.path} changed during the run")
                found = self.localizer.localize(
                    pixels,
                    maps,
                    image_id=sample.image_id,
                    top_k=self.classes.top_k,
                    label=sample.label,
                )
            packed = tuple(one.packed() for one in found)
        except Exception as error:
            return FinishedImage(failure(sample.image_id, error, size=size))
        stored = {
            one.label: stored_map(one.saliency, self.options.map_dtype)
            for one in found
            if self.options.maps and one.saliency is not None
        }
        return FinishedImage(Prediction(sample.image_id, size, packed), stored)


Step = Prediction | tuple[DecodedImage, ClassMaps]
"""An image with its maps, or why it failed."""


def explain_ahead(
    stages: Stages,
    dataset: Dataset,
    chunks: Iterable[Sequence[int]],
    decoders: WorkerPool,
    timings: Timings,
) -> Iterator[tuple[int, Step]]:
    """Decode images in threads, a little ahead, and explain them batch by batch.

    A map's last bits depend on the batch it was computed in, and on the CPU on the part of the
    batch. All that needs maps takes them from here, so that batches and parts are the same.

    Parameters
    ----------
    stages : Stages
    dataset : Dataset
    chunks : iterable of sequence of int
        Positions in the dataset. A batch never crosses the border of a chunk.
    decoders : WorkerPool
    timings : Timings

    Yields
    ------
    (int, Step)
        Position and image; chunk by chunk, within a chunk failed images may come early.
    """
    chunks = list(chunks)
    decoded = _decode_ahead(stages, dataset, chain.from_iterable(chunks), decoders, timings)
    for chunk in chunks:
        part: list[tuple[int, DecodedImage]] = []
        in_batch = 0
        for number, index in enumerate(chunk, start=1):
            image = next(decoded)
            if isinstance(image, Prediction):
                yield index, image
            else:
                part.append((index, image))
                in_batch += 1
            whole = in_batch == stages.batch_images or number == len(chunk)
            if len(part) == stages.part_images or (part and whole):
                begin = time.perf_counter()
                explained = stages.explain([image for _, image in part])
                timings.add("saliency", begin)
                done = [(position, image.explained()) for position, image in part]
                part = []
                for (position, image), found in zip(done, explained, strict=True):
                    yield position, (image, found)
            if whole:
                in_batch = 0


def _decode_ahead(
    stages: Stages,
    dataset: Dataset,
    indices: Iterable[int],
    decoders: WorkerPool,
    timings: Timings,
) -> Iterator[DecodedImage | Prediction]:
    def decode(index: int) -> DecodedImage | Prediction:
        begin = time.perf_counter()
        try:
            return stages.decode(dataset, index)
        finally:
            timings.add("decode", begin)

    def result(index: int, future: Future[DecodedImage | Prediction]) -> DecodedImage | Prediction:
        error = future.exception()
        if error is None:
            return future.result()
        return failure(dataset.image_ids[index], error, stage="read it")

    ahead = 2 * stages.part_images + worker_count(stages.options.workers)
    waiting: deque[tuple[int, Future[DecodedImage | Prediction]]] = deque()
    for index in indices:
        waiting.append((index, decoders.submit(decode, index)))
        if len(waiting) > ahead:
            yield result(*waiting.popleft())
    while waiting:
        yield result(*waiting.popleft())


def failure(
    image_id: str,
    error: BaseException,
    *,
    size: tuple[int, int] | None = None,
    stage: str = "work on it",
) -> Prediction:
    """Say why an image failed; an unforeseen error is logged with its traceback."""
    if isinstance(error, WslError):
        reason = str(error)
    elif isinstance(error, TimeLimitError):
        reason = f"to {stage} {error} (run.time_limit)"
    else:
        log.warning("%s: unexpected error", image_id, exc_info=error)
        reason = f"unexpected {type(error).__name__}: {error}"
    return Prediction.failed(image_id, reason, size=size)


def _is_out_of_memory(error: RuntimeError) -> bool:
    # cuBLAS and cuDNN, which allocate by themselves, say so in words only.
    return isinstance(error, torch.OutOfMemoryError) or "_STATUS_ALLOC_FAILED" in str(error)
