"""A run that was made before, opened again with its configuration and its dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from wsl.config import RunConfig, build_config
from wsl.data.categories import Categories
from wsl.data.images import load_image
from wsl.data.open import open_dataset
from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.localize.localizer import Localizer
from wsl.report.runs import ReportRun, Steps, quality_by_image
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.runner import build_localizer
from wsl.score.diagnosis import Judged, diagnose
from wsl.score.ilsvrc import score_ilsvrc
from wsl.score.protocols import SCORED_COLUMNS, tuning_notes

__all__ = ["OpenedRun", "open_run", "report_run"]


@dataclass(frozen=True)
class OpenedRun:
    """A run with what it was made of.

    Attributes
    ----------
    folder : RunFolder
    info : RunInfo
    config : RunConfig
        That of the run, with the overrides.
    dataset : Dataset
    """

    folder: RunFolder
    info: RunInfo
    config: RunConfig
    dataset: Dataset

    @cached_property
    def localizer(self) -> Localizer:
        """The run's localizer, made when it is first needed: to draw steps again."""
        return build_localizer(self.config)


def open_run(path: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Open a run's folder and the dataset it was made of.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        ``key=value``, such as ``data.root=…`` where the dataset has moved.

    Raises
    ------
    RunError, ConfigError, DataError
        If the folder is not a run, an override is wrong, or the dataset cannot be opened.
    """
    folder = RunFolder(path)
    info = folder.read_info()
    config = build_config(info.config, overrides, source=str(folder.info_path))
    ids = info.categories["ids"]
    categories = Categories(tuple(info.categories["names"]), None if ids is None else tuple(ids))
    return OpenedRun(folder, info, config, open_dataset(config.data, categories))


def report_run(opened: OpenedRun, *, pictures: bool = True) -> ReportRun:
    """Score a run and gather what its report shows.

    Parameters
    ----------
    opened : OpenedRun
    pictures : bool
        Whether the report has pictures; their steps are computed again by the run's localizer.

    Raises
    ------
    ScoreError
        If the run cannot be scored.
    """
    predictions = opened.folder.read(columns=[*SCORED_COLUMNS, "quality"]).to_pandas()
    judged: Judged = "gt_known" if predictions["is_ground_truth"].any() else "top1"
    info = opened.info
    scores = score_ilsvrc(predictions, opened.dataset)
    # Runs of the ground-truth class alone have no first guesses, and say so by this figure's lack.
    guessed = "localization_error_top1" not in scores.omitted and judged != "top1"
    notes = tuning_notes(info.config, opened.dataset)
    return ReportRun(
        name=opened.folder.path.name,
        scores=replace(scores, notes=(*scores.notes, *notes)),
        categories=opened.dataset.categories,
        diagnosis=diagnose(predictions, opened.dataset, judged=judged),
        guesses=diagnose(predictions, opened.dataset, judged="top1") if guessed else None,
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
    """Compute the steps of an image again, for the class whose box is scored."""
    truth = predictions[predictions["is_ground_truth"].astype("boolean").fillna(False)]
    chosen = truth if len(truth) else predictions[predictions["rank"] == 1]
    labels = dict(zip(chosen["image_id"], chosen["label"].astype(int), strict=True))
    position = {image_id: index for index, image_id in enumerate(opened.dataset.image_ids)}

    def steps(image_id: str) -> Steps:
        sample = opened.dataset.sample(position[image_id])
        pixels = load_image(sample.path, max_pixels=opened.config.data.max_pixels)
        if image_id not in labels:
            return Steps(pixels, gt_boxes=_gt_boxes(sample))
        (trace,) = opened.localizer.trace(pixels, classes=[labels[image_id]], image_id=image_id)
        found = trace.localization
        return Steps(pixels, trace.saliency, trace.seeds, found.mask, found.box, _gt_boxes(sample))

    return steps


def _gt_boxes(sample: Sample) -> tuple[tuple[float, float, float, float], ...]:
    if sample.annotation is None:
        raise ScoreError(f"image {sample.image_id!r} has no annotation")
    return tuple(
        instance.box
        for instance in sample.annotation.instances
        if sample.label is None or instance.label == sample.label
    )
