"""What the workers of a Ray cluster do: explain a chunk's images, and segment them.

`Explainer` is the actor that has the classifier, `segment_chunk` the task that writes a chunk's
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

from wsl.data.sample import Dataset, Sample
from wsl.errors import RunError
from wsl.localize.image_maps import ImageMaps
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions
from wsl.localize.prediction import Prediction
from wsl.models.average import AnyClassifier, change_members, members_of
from wsl.models.classifier import Classifier, pick_device
from wsl.models.options import Precision
from wsl.run.chunk import FinishedImage, write_chunk
from wsl.run.folder import RunFolder
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.pool import WorkerPool, worker_count
from wsl.run.stages import (
    Stages,
    Step,
    Timings,
    chunk_range,
    explain_ahead,
    failure,
)


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """What every worker needs, sent once."""

    folder: str
    classifier: AnyClassifier  # on the CPU; of the tasks that segment, without its module
    precisions: tuple[Precision, ...]  # of its members
    localizer: LocalizerOptions
    classes: ClassOptions
    options: RunOptions
    max_pixels: int

    def stages(self, classifier: AnyClassifier | None = None) -> Stages:
        """Make the stages, with a classifier that is on its device already."""
        return Stages(
            Localizer(classifier or self.classifier, self.localizer),
            classes=self.classes,
            options=self.options,
            max_pixels=self.max_pixels,
        )


@dataclass(frozen=True, eq=False)
class _MappedImage:
    """An image as it goes from an actor to a task: its maps without its pixels."""

    sample: Sample
    size: tuple[int, int]
    maps: ImageMaps


def plan_of(stages: Stages, folder: RunFolder) -> WorkPlan:
    """Pack up what workers need; the caller's classifier stays where it is."""
    classifier = stages.localizer.classifier
    return WorkPlan(
        folder=str(folder.path.absolute()),
        classifier=change_members(classifier, lambda member: _moved(member, "cpu", "float32")),
        precisions=tuple(member.precision for member in members_of(classifier)),
        localizer=stages.localizer.options,
        classes=stages.classes,
        options=stages.options,
        max_pixels=stages.max_pixels,
    )


def _moved(classifier: Classifier, device: str, precision: Precision) -> Classifier:
    """Copy a classifier to a device."""
    target = pick_device(device)
    module = copy.deepcopy(classifier.module).to(target)
    return replace(classifier, module=module, device=target, precision=precision)


def without_module(classifier: AnyClassifier) -> AnyClassifier:
    """Return a classifier that has its categories only."""
    return change_members(classifier, lambda member: replace(member, module=nn.Identity()))


class Explainer:
    """An actor: decodes the images of a chunk and computes their maps."""

    def __init__(self, plan: Any, dataset: Any, gpus: float) -> None:
        import ray

        cv2.setNumThreads(1)
        self.plan: WorkPlan = ray.get(plan)
        self.dataset: Dataset = ray.get(dataset)
        precisions = iter(self.plan.precisions)
        self.stages = self.plan.stages(
            change_members(
                self.plan.classifier,
                lambda member: (
                    _moved(member, "cuda", next(precisions))
                    if gpus
                    else _moved(member, "cpu", "float32")
                ),
            )
        )
        options = self.plan.options
        self.decoders = WorkerPool(
            worker_count(options.workers), name="wsl-decode", time_limit=options.time_limit
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the maps of a chunk, the only row of `batch`."""
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

    def _chunk(self, chunk: int, timings: Timings) -> list[_MappedImage | Prediction]:
        indices = chunk_range(chunk, self.plan.options.chunk_size, len(self.dataset))
        steps = explain_ahead(self.stages, self.dataset, [indices], self.decoders, timings)
        images = {index: self._mapped(step) for index, step in steps}
        return [images[index] for index in indices]

    def _mapped(self, step: Step) -> _MappedImage | Prediction:
        if isinstance(step, Prediction):
            return step
        image, found = step
        return _MappedImage(image.sample, image.size, self.stages.image_maps(image, found))


def segment_chunk(batch: dict[str, Any], plan: Any) -> dict[str, Any]:
    """Segment a chunk's images and write its files: a task."""
    import ray

    cv2.setNumThreads(1)
    found: WorkPlan = ray.get(plan)
    (chunk,) = batch["chunk"].tolist()
    (payload,) = batch["images"]
    stages = found.stages()
    begin = time.perf_counter()
    worker = WorkerPool(1, name="wsl-segment", time_limit=found.options.time_limit)
    images: list[FinishedImage] = []
    for image in pickle.loads(payload):  # from an actor of the same run
        if isinstance(image, Prediction):
            images.append(FinishedImage(image))
        else:
            images.append(
                _result(worker.submit(stages.segment, image.sample, image.size, image.maps), image)
            )
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


def _result(future: Future[FinishedImage], image: _MappedImage) -> FinishedImage:
    error = future.exception()
    if error is None:
        done: FinishedImage = future.result()
        return done
    return FinishedImage(failure(image.sample.image_id, error, size=image.size, stage="refine it"))
