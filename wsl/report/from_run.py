"""Content of a report from a run's folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wsl.report.runs import ReportRun, StepsOf, quality_by_image
from wsl.run.info import RunInfo
from wsl.run.opened import OpenedRun
from wsl.run.rows import SCALARS
from wsl.score.protocol import tuning_notes
from wsl.score.protocols.diagnosis import Diagnosis, DiagnosisOptions, Metric, diagnose
from wsl.score.protocols.ilsvrc import IlsvrcOptions, score_ilsvrc


def report_run(
    opened: OpenedRun, options: IlsvrcOptions | None = None, *, pictures: bool = True
) -> ReportRun:
    """Score a run and collect the content of its report.

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
        steps=_steps_of(opened) if pictures else None,
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


def _steps_of(opened: OpenedRun) -> StepsOf:
    from wsl.report.steps import steps_of  # imports torch, which nothing else here needs

    return steps_of(opened)
