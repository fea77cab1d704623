"""Tuning from beginning to end: the maps, then the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsl.data.open import open_dataset
from wsl.models.classifier import Classifier
from wsl.progress import NoProgress, Progress
from wsl.run.config import RunConfig
from wsl.run.runner import build_localizer
from wsl.run.tuned_on import TunedOn
from wsl.score.estimates import Estimate
from wsl.score.inputs import best_instances
from wsl.tune.boxes import BoxTable
from wsl.tune.center import CENTER_SIDES, center_ious
from wsl.tune.maps import MapStore
from wsl.tune.options import TuneOptions
from wsl.tune.result import (
    Tried,
    TuningResult,
    known_estimates,
    objective_value,
)
from wsl.tune.search import coordinate_descent, grid_search
from wsl.tune.space import Candidate, Choices, SearchSpace, make_candidate

__all__ = ["store_maps", "tune"]


def store_maps(
    config: RunConfig,
    space: SearchSpace,
    out: Path | str,
    options: TuneOptions | None = None,
    *,
    classifier: Classifier | None = None,
    progress: Progress | None = None,
) -> MapStore:
    """Compute the saliency maps that the search needs, once; what is on disk is kept.

    Parameters
    ----------
    config : RunConfig
        The configuration to improve; its data are the tuning images.
    space : SearchSpace
    out : Path or str
        Folder: new, empty, or of the same images, maps and classifier.
    options : TuneOptions, optional
    classifier : Classifier, optional
        Any classifier, in place of the one that ``config.model`` names.
    progress : Progress, optional
        Told of images.

    Raises
    ------
    ConfigError
        If settings cannot be used: with a grid any combination, else any value by itself.
    RunMismatchError
        If the folder holds another tuning.
    RunError, DataError, ModelError
        If the folder, the dataset or the classifier cannot be used.
    """
    first = _first_candidates(config, space, options or TuneOptions())
    sizes = dict.fromkeys(candidate.options.working_size for candidate in first)
    localizer = build_localizer(config, classifier)
    dataset = open_dataset(config.data, localizer.classifier.categories)
    store = MapStore.open(out, config, localizer, dataset, sizes)
    store.compute(progress or NoProgress())
    return store


def tune(
    store: MapStore,
    space: SearchSpace,
    options: TuneOptions | None = None,
    *,
    progress: Progress | None = None,
) -> TuningResult:
    """Search the settings of refinement that are best on the stored images.

    Parameters
    ----------
    store : MapStore
        What `store_maps` returned for the same space and options.
    space : SearchSpace
    options : TuneOptions, optional
    progress : Progress, optional
        Told of refinements: one image by one candidate.

    Returns
    -------
    TuningResult
        The estimates are those that a run with these settings scores on these images.

    Raises
    ------
    ConfigError
        If values cannot be used together.
    RunError
        If a candidate fails on an image; what was made is kept.
    """
    options = options or TuneOptions()
    judge = _Judge(store, options, progress or NoProgress())
    if options.search == "grid":
        chosen = grid_search(space, judge)
    else:
        chosen = coordinate_descent(space, judge, passes=options.passes)
    tried = judge.tried()
    best = tried[list(judge.ious).index(make_candidate(store.config, chosen).digest)]
    center, side = _center(store, options)
    image_ids = store.dataset.image_ids
    failures = [(image_ids[at], store.failure(at)) for at in store.positions.tolist()]
    return TuningResult(
        options=options,
        space=space,
        tried=tried,
        best=best,
        center=center,
        center_side=side,
        failures=tuple((image_id, why) for image_id, why in failures if why is not None),
        excluded=len(store.truth.excluded),
        tuned_on=TunedOn.of(
            store.dataset,
            objective=options.objective,
            candidates=len(tried),
            center_side=side,
        ),
    )


class _Judge:
    """Evaluates choices, and remembers them in the order in which they were tried."""

    def __init__(self, store: MapStore, options: TuneOptions, progress: Progress) -> None:
        self._store, self._options, self._progress = store, options, progress
        self._table = BoxTable(store)
        self._candidates: dict[str, Candidate] = {}
        self.ious: dict[str, NDArray[np.float64]] = {}

    def __call__(self, tried: Sequence[Choices]) -> list[float]:
        candidates = [make_candidate(self._store.config, choices) for choices in tried]
        self._table.make(candidates, self._progress)
        for candidate in candidates:
            if candidate.digest not in self.ious:
                self._candidates[candidate.digest] = candidate
                self.ious[candidate.digest] = self._iou(candidate)
        objective = self._options.objective
        return [objective_value(self.ious[one.digest], objective) for one in candidates]

    def tried(self) -> tuple[Tried, ...]:
        seed = self._options.seed
        return tuple(
            Tried(self._candidates[digest], known_estimates(iou, seed=seed))
            for digest, iou in self.ious.items()
        )

    def _iou(self, candidate: Candidate) -> NDArray[np.float64]:
        boxes = self._table.boxes(candidate)
        return best_instances(boxes, np.arange(len(boxes)), self._store.truth)[0]


def _first_candidates(
    config: RunConfig, space: SearchSpace, options: TuneOptions
) -> list[Candidate]:
    """Name the settings that are sure to be tried, all of them if it is a grid."""
    choices: list[Choices] = [{}]
    if options.search == "grid":
        choices += space.combinations()
    else:
        choices += [{key: value} for key, values in space.values.items() for value in values]
    return [make_candidate(config, one) for one in choices]


def _center(
    store: MapStore, options: TuneOptions
) -> tuple[tuple[tuple[float, Estimate], ...], float]:
    """Estimates of centered boxes by side, and the best side."""
    ious = center_ious(store.dataset, store.truth, max_pixels=store.config.data.max_pixels)
    objective = options.objective
    best = max(CENTER_SIDES, key=lambda side: (objective_value(ious[side], objective), -side))
    curve = tuple((side, _objective_estimate(iou, options)) for side, iou in ious.items())
    return curve, best


def _objective_estimate(iou: NDArray[np.float64], options: TuneOptions) -> Estimate:
    estimates = known_estimates(iou, seed=options.seed)
    return next(estimate for estimate in estimates if estimate.name == options.objective)
