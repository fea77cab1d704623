"""The stages of a run, one image or one batch at a time: decode, explain, refine.

Engines put them together: the local one in threads, the Ray engine on many machines. What a batch
is made of is decided here, so that both give the same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wsl.data.images import load_image
from wsl.data.sample import Dataset, Sample
from wsl.errors import DataError, RunError, WslError
from wsl.localize.localizer import Explained, Localizer
from wsl.localize.prediction import Prediction
from wsl.run.maps import map_key, stored_map
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.pool import TimeLimitError
from wsl.run.rows import prediction_rows
from wsl.saliency.views import Views

__all__ = ["Decoded", "Finished", "Stages", "chunk_range", "failure", "finished"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded image on its way."""

    sample: Sample
    pixels: NDArray[np.uint8]
    views: Views


@dataclass(frozen=True, eq=False)
class Finished:
    """What is left of an image for the writer: its rows, and its maps where they are stored."""

    rows: list[dict[str, Any]]
    maps: dict[str, NDArray[np.float16]]
    failed: bool


def chunk_range(chunk: int, size: int, count: int) -> range:
    """Positions of a chunk's images among the `count` of the dataset."""
    return range(chunk * size, min((chunk + 1) * size, count))


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
        self._named = [localizer.classifier.categories.index(name) for name in classes.names]
        self.batch_images = max(1, options.batch_size // localizer.view_count)
        self._fitting = self.batch_images

    def decode(self, dataset: Dataset, index: int) -> Decoded | Prediction:
        """Read an image and cut its views; a failed prediction if that cannot be done."""
        image_id = dataset.image_ids[index]
        try:
            sample = dataset.sample(index, annotated=False)
            if self.classes.select == "ground_truth" and sample.label is None:
                raise DataError("the image has no label, which classes.select: ground_truth needs")
            pixels = load_image(sample.path, max_pixels=self.max_pixels)
            return Decoded(sample, pixels, self.localizer.views(pixels))
        except Exception as error:
            return failure(image_id, error)

    def explain(self, batch: Sequence[Decoded]) -> list[Explained]:
        """Look at a batch of images with the classifier.

        Where the device's memory is too small for the batch, it is halved until it fits, from then
        on for all batches; results differ in the last bits at most.

        Raises
        ------
        RunError
            If not even one image fits.
        """
        found: list[Explained] = []
        while len(found) < len(batch):
            part = batch[len(found) : len(found) + self._fitting]
            explained = self._explain_if_it_fits(part)
            if explained is None:
                self._halve(len(part))
            else:
                found += explained
        return found

    def _explain_if_it_fits(self, batch: Sequence[Decoded]) -> list[Explained] | None:
        try:
            return self.localizer.explain(
                [image.views for image in batch],
                [self._wanted(image.sample) for image in batch],
                first=self.classes.top_k if self.classes.select in ("top_k", "both") else 0,
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
                "fewer views, or another device. Finished chunks are kept"
            )
        self._fitting = images // 2
        log.warning(
            "%s is out of memory with a batch of %d images: going on with %d",
            device,
            images,
            self._fitting,
        )

    def _wanted(self, sample: Sample) -> Sequence[int]:
        """Classes of one image that are wanted whatever their rank."""
        if self.classes.select == "named":
            return self._named
        if self.classes.select in ("ground_truth", "both") and sample.label is not None:
            return (sample.label,)
        return ()

    def refine(self, image: Decoded, explained: Explained) -> Finished:
        """From one image's maps to its rows."""
        sample, size = image.sample, (image.pixels.shape[0], image.pixels.shape[1])
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
            rows = prediction_rows(Prediction(sample.image_id, size, found))
        except Exception as error:
            return finished(failure(sample.image_id, error, size=size))
        maps = {}
        if self.options.maps:
            maps = {
                map_key(sample.image_id, trace.localization.label): stored_map(trace.saliency)
                for trace in traces
            }
        return Finished(rows, maps, failed=False)


def finished(prediction: Prediction) -> Finished:
    """Rows of a failed prediction."""
    return Finished(prediction_rows(prediction), {}, failed=prediction.status == "failed")


def failure(
    image_id: str,
    error: BaseException,
    *,
    size: tuple[int, int] | None = None,
    stage: str = "work on it",
) -> Prediction:
    """Say why an image failed; what wsl did not foresee is logged with its traceback."""
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
