"""From a run's folder to what its report shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pandas as pd

from wsl.data.images import load_image
from wsl.data.sample import Sample
from wsl.errors import ScoreError
from wsl.localize.image_maps import working_size
from wsl.localize.prediction import Prediction
from wsl.localize.seeds import quantile_seeds, smooth_map
from wsl.report.runs import ReportRun, Steps, quality_by_image
from wsl.run.info import RunInfo
from wsl.run.maps import open_maps
from wsl.run.opened import OpenedRun
from wsl.run.rows import SCALARS, read_predictions, read_table
from wsl.score.protocol import tuning_notes
from wsl.score.protocols.diagnosis import Diagnosis, DiagnosisOptions, Metric, diagnose
from wsl.score.protocols.ilsvrc import IlsvrcOptions, score_ilsvrc

__all__ = ["report_run"]


def report_run(
    opened: OpenedRun, options: IlsvrcOptions | None = None, *, pictures: bool = True
) -> ReportRun:
    """Score a run and gather what its report shows.

    Parameters
    ----------
    opened : OpenedRun
    options : IlsvrcOptions
        How it is scored.
    pictures : bool
        Whether the report has pictures: of the maps and masks that the run has stored
        (``run.maps``), or, without maps, computed again by the run's localizer.

    Raises
    ------
    ScoreError
        If the run cannot be scored.
    """
    predictions = opened.folder.read(SCALARS).to_pandas()
    info = opened.info
    options = options or IlsvrcOptions()
    boxes = options.boxes(info.config)
    scores = score_ilsvrc(predictions, opened.dataset, options, boxes)
    metric: Metric = "top1" if "gt_known_0.5" in scores.omitted else "gt_known"
    # A run of the ground-truth class alone has no top-1 predictions, hence not this estimate.
    has_top1 = "localization_error_top1" not in scores.omitted and metric != "top1"
    notes = tuning_notes(info.config, opened.dataset)

    def kinds(metric: Metric) -> Diagnosis:
        same = options.model_dump(exclude={"protocol"})
        return diagnose(predictions, opened.dataset, DiagnosisOptions(metric=metric, **same), boxes)

    return ReportRun(
        name=opened.folder.path.name,
        scores=replace(scores, notes=(*scores.notes, *notes)),
        categories=opened.dataset.categories,
        diagnosis=kinds(metric),
        top1_diagnosis=kinds("top1") if has_top1 else None,
        quality=quality_by_image(predictions),
        steps=_steps_of(opened, predictions) if pictures else None,
        facts=_facts(info),
        config=info.config,
        versions=info.versions,
        timings=info.timings,
    )


def _facts(info: RunInfo) -> dict[str, Any]:
    return {
        "classifier": info.model["name"],
        "device": info.model["device"],
        "dataset": info.dataset["name"],
        "images": info.dataset["count"],
    }


def _steps_of(opened: OpenedRun, predictions: pd.DataFrame) -> Callable[[str], Steps]:
    """Give the steps of an image, for the class whose box is scored.

    From the maps and masks that the run has stored, or computed again where it has no maps.
    """
    truth = predictions[predictions["is_ground_truth"].astype("boolean").fillna(False)]
    chosen = truth if len(truth) else predictions[predictions["rank"] == 1]
    labels = dict(zip(chosen["image_id"], chosen["label"].astype(int), strict=True))
    position = {image_id: index for index, image_id in enumerate(opened.dataset.image_ids)}
    stored = _StoredSteps(opened) if opened.config.run.maps else None

    def steps(image_id: str) -> Steps:
        sample = opened.dataset.sample(position[image_id])
        pixels = load_image(sample.path, max_pixels=opened.config.data.max_pixels)
        found = Steps(pixels, gt_boxes=_gt_boxes(sample))
        if image_id not in labels:
            return found
        if stored is not None:
            return stored.add(found, image_id, labels[image_id])
        (one,) = opened.localizer(pixels, classes=[labels[image_id]], image_id=image_id)
        return replace(found, saliency=one.saliency, seeds=one.seeds, mask=one.mask, box=one.box)

    return steps


class _StoredSteps:
    """The steps of a run that has stored its maps; the chunk of the last image stays in memory."""

    def __init__(self, opened: OpenedRun) -> None:
        self._folder, self._options = opened.folder, opened.config.localize
        self._chunk = {
            image_id: chunk
            for chunk, part in enumerate(self._folder.parts())
            for image_id in read_table([part], columns=["image_id"])["image_id"].to_pylist()
        }
        self._read = lru_cache(maxsize=1)(self._read_chunk)

    def _read_chunk(self, chunk: int) -> dict[str, Prediction]:
        part = self._folder.parts()[chunk]
        return {prediction.image_id: prediction for prediction in read_predictions(part)}

    def add(self, steps: Steps, image_id: str, label: int) -> Steps:
        """Add map, seeds, mask and box of a class."""
        chunk = self._chunk[image_id]
        found = self._read(chunk)[image_id].localizations
        one = next(each for each in found if each.label == label)
        path = self._folder.path / "maps" / f"{self._folder.parts()[chunk].stem}.npz"
        at = working_size(one.size, self._options.working_size)
        with open_maps(path) as maps:
            saliency = maps.get(image_id, label, at)
        seeds = None
        if saliency is not None:
            smoothed = smooth_map(saliency, self._options.seeds.smoothing)
            seeds = quantile_seeds(smoothed, self._options.seeds)
        return replace(steps, saliency=saliency, seeds=seeds, mask=one.mask, box=one.box)


def _gt_boxes(sample: Sample) -> tuple[tuple[float, float, float, float], ...]:
    if sample.annotation is None:
        raise ScoreError(f"image {sample.image_id!r} has no annotation")
    return tuple(
        instance.box
        for instance in sample.annotation.instances
        if sample.label is None or instance.label == sample.label
    )
