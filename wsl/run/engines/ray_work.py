"""What the workers of a Ray cluster do: look at a chunk's images, and refine them.

`Explainer` is the actor that has the classifier, `refine_chunk` the task that writes a chunk's
files; `wsl.run.engines.ray` puts them together. Nothing here imports Ray before it runs.
"""

from __future__ import annotations

import copy
import pickle
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from torch import nn

from wsl.data.geometry import Geometry, average_maps
from wsl.data.images import load_image
from wsl.data.sample import Dataset, Sample
from wsl.errors import RunError
from wsl.localize.localizer import Explained, Localizer
from wsl.localize.options import LocalizerOptions
from wsl.localize.prediction import Prediction
from wsl.localize.refiners.grabcut import working_size
from wsl.models.classifier import Classifier, pick_device
from wsl.models.options import Precision
from wsl.run.engines.local import Timings, worker_count, write_chunk
from wsl.run.folder import RunFolder
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.pool import WorkerPool
from wsl.run.stages import Decoded, Finished, Stages, chunk_range, failure, finished
from wsl.saliency.views import Views

__all__ = ["Explainer", "WorkPlan", "plan_of", "refine_chunk", "without_module"]


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """What every worker needs, sent once."""

    folder: str
    classifier: Classifier  # on the CPU; of the tasks that refine, without its module
    precision: Precision
    localizer: LocalizerOptions
    classes: ClassOptions
    options: RunOptions
    max_pixels: int

    def stages(self, classifier: Classifier | None = None) -> Stages:
        """Make the stages, with a classifier that is on its device already."""
        return Stages(
            Localizer(classifier or self.classifier, self.localizer),
            classes=self.classes,
            options=self.options,
            max_pixels=self.max_pixels,
        )


@dataclass(frozen=True, eq=False)
class _Looked:
    """An image as it goes from an actor to a task: without its pixels."""

    sample: Sample
    size: tuple[int, int]
    geometries: tuple[Geometry, ...]
    explained: Explained


def plan_of(stages: Stages, folder: RunFolder) -> WorkPlan:
    """Pack up what workers need; the caller's classifier stays where it is."""
    classifier = stages.localizer.classifier
    return WorkPlan(
        folder=str(folder.path.absolute()),
        classifier=replace(
            classifier,
            module=copy.deepcopy(classifier.module).to("cpu"),
            device=pick_device("cpu"),
            precision="float32",
        ),
        precision=classifier.precision,
        localizer=stages.localizer.options,
        classes=stages.classes,
        options=stages.options,
        max_pixels=stages.max_pixels,
    )


def without_module(classifier: Classifier) -> Classifier:
    """Return a classifier that has its categories only."""
    return replace(classifier, module=nn.Identity())


class Explainer:
    """An actor: decodes the images of a chunk and looks at them with the classifier."""

    def __init__(self, plan: Any, dataset: Any, gpus: float) -> None:
        import ray

        cv2.setNumThreads(1)
        self.plan: WorkPlan = ray.get(plan)
        self.dataset: Dataset = ray.get(dataset)
        device = pick_device("cuda" if gpus else "cpu")
        classifier = self.plan.classifier
        self.stages = self.plan.stages(
            replace(
                classifier,
                module=copy.deepcopy(classifier.module).to(device),
                device=device,
                precision=self.plan.precision if device.type == "cuda" else "float32",
            )
        )
        options = self.plan.options
        self.decoders = WorkerPool(
            worker_count(options.workers), name="wsl-decode", time_limit=options.time_limit
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Look at the images of a chunk, the only row of `batch`."""
        (chunk,) = batch["chunk"].tolist()
        timings = Timings()
        images = self._chunk(chunk, timings)
        payload = pickle.dumps(images, protocol=5)
        return {
            "chunk": batch["chunk"],
            "images": np.array([payload], dtype=object),
            "decode": np.array([timings.decode]),
            "saliency": np.array([timings.saliency]),
        }

    def _chunk(self, chunk: int, timings: Timings) -> list[_Looked | Prediction]:
        """Look at the images of a chunk, in batches of those that the local engine has."""
        size = self.plan.options.chunk_size
        indices = chunk_range(chunk, size, len(self.dataset))
        ahead = 2 * self.stages.batch_images
        waiting = {index: self._decode(index, timings) for index in indices[:ahead]}
        images: list[_Looked | Prediction] = []
        places: list[int] = []
        batch: list[Decoded] = []
        for index in indices:
            image = self._decoded(index, waiting.pop(index))
            if index + ahead in indices:
                waiting[index + ahead] = self._decode(index + ahead, timings)
            if isinstance(image, Prediction):
                images.append(image)
                continue
            places.append(len(images))
            images.append(Prediction.failed(image.sample.image_id, "not looked at yet"))
            batch.append(image)
            if len(batch) == self.stages.batch_images:
                self._look(batch, places, images, timings)
                batch, places = [], []
        if batch:
            self._look(batch, places, images, timings)
        return images

    def _decode(self, index: int, timings: Timings) -> Future[Decoded | Prediction]:
        def decode() -> Decoded | Prediction:
            begin = time.perf_counter()
            try:
                image: Decoded | Prediction = self.stages.decode(self.dataset, index)
                return image
            finally:
                timings.add("decode", begin)

        return self.decoders.submit(decode)

    def _decoded(self, index: int, future: Future[Decoded | Prediction]) -> Decoded | Prediction:
        error = future.exception()
        if error is not None:
            return failure(self.dataset.image_ids[index], error, stage="read it")
        image: Decoded | Prediction = future.result()
        return image

    def _look(
        self,
        batch: list[Decoded],
        places: list[int],
        images: list[_Looked | Prediction],
        timings: Timings,
    ) -> None:
        begin = time.perf_counter()
        longer_side = self.plan.localizer.localize.grabcut.working_size
        for place, image, explained in zip(places, batch, self.stages.explain(batch), strict=True):
            images[place] = _without_pixels(image, explained, longer_side)
        timings.add("saliency", begin)


def _without_pixels(image: Decoded, explained: Explained, longer_side: int | None) -> _Looked:
    """Leave the pixels of an image behind, and bring its maps to the size that is smaller to send.

    The average of the views at the working size is what the local engine computes, too, so that
    it does not matter where that is done.
    """
    size = (image.pixels.shape[0], image.pixels.shape[1])
    at = working_size(size, longer_side)
    geometries = image.views.geometries
    if at[0] * at[1] < sum(map_.shape[1] * map_.shape[2] for map_ in explained.input_maps):
        averaged = [
            average_maps([map_[position] for map_ in explained.input_maps], geometries, size=at)
            for position in range(len(explained.classes))
        ]
        stacked = np.stack(averaged) if averaged else np.zeros((0, *at), np.float32)
        explained = replace(explained, input_maps=(stacked,))
        geometries = (Geometry.squash(size, at),)
    return _Looked(image.sample, size, geometries, explained)


def refine_chunk(batch: dict[str, Any], plan: Any) -> dict[str, Any]:
    """Refine a chunk's images and write its files: a task."""
    import ray

    cv2.setNumThreads(1)
    found: WorkPlan = ray.get(plan)
    (chunk,) = batch["chunk"].tolist()
    (payload,) = batch["images"]
    stages = found.stages()
    begin = time.perf_counter()
    worker = WorkerPool(1, name="wsl-refine", time_limit=found.options.time_limit)
    images: list[Finished] = []
    for image in pickle.loads(payload):  # from an actor of the same run
        if isinstance(image, Prediction):
            images.append(finished(image))
        else:
            images.append(_refined(worker.submit(_refine, stages, image), image))
    worker.close()
    refined = time.perf_counter()
    folder = RunFolder(found.folder)
    try:
        write_chunk(folder, chunk, images, maps=found.options.maps)
    except OSError as error:
        raise RunError(f"cannot write the run folder {folder.path}: {error}") from error
    return {
        "chunk": batch["chunk"],
        "images": np.array([len(images)]),
        "failed": np.array([sum(image.failed for image in images)]),
        "decode": batch["decode"],
        "saliency": batch["saliency"],
        "refine": np.array([refined - begin]),
        "write": np.array([time.perf_counter() - refined]),
    }


def _refine(stages: Stages, image: _Looked) -> Finished:
    sample = image.sample
    try:
        pixels = load_image(sample.path, max_pixels=stages.max_pixels)
        if pixels.shape[:2] != image.size:
            raise RunError(f"{sample.path} has changed while the run went on")
    except Exception as error:
        return finished(failure(sample.image_id, error, size=image.size))
    return stages.refine(Decoded(sample, pixels, Views((), image.geometries)), image.explained)


def _refined(future: Future[Finished], image: _Looked) -> Finished:
    error = future.exception()
    if error is None:
        done: Finished = future.result()
        return done
    return finished(failure(image.sample.image_id, error, size=image.size, stage="refine it"))
