"""Tuning from beginning to end: the maps, then the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsl.data.open import open_dataset
from wsl.errors import RunError
from wsl.models.average import AnyClassifier
from wsl.progress import NoProgress, Progress
from wsl.run.config import RunConfig
from wsl.run.runner import build_localizer
from wsl.run.tuned_on import TunedOn
from wsl.score.estimates import Estimate
from wsl.tune.center import CENTER_SIDES, center_ious
from wsl.tune.ious import Ious, IouTable
from wsl.tune.maps import MapStore
from wsl.tune.options import TuneOptions
from wsl.tune.result import Trial, TuningResult, estimates, objective_value
from wsl.tune.search import coordinate_descent, grid_search
from wsl.tune.space import Candidate, Choices, SearchSpace, make_candidate


def store_maps(
    config: RunConfig,
    space: SearchSpace,
    out: Path | str,
    options: TuneOptions | None = None,
    *,
    classifier: AnyClassifier | None = None,
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
    classifier : Classifier or ClassifierAverage, optional
        Any classifier, in place of what the configuration names.
    progress : Progress, optional
        Counts images.

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
    sizes = dict.fromkeys(size for candidate in first for size in candidate.options.map_sizes)
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
        Counts refinements: one image by one candidate.

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
    search = _Search(store, options, progress or NoProgress())
    if options.search == "grid":
        chosen = grid_search(space, search)
    else:
        chosen = coordinate_descent(space, search, passes=options.passes)
    trials = search.trials()
    digest = make_candidate(store.config, chosen).digest
    center, side = _center(store, options)
    image_ids = store.dataset.image_ids
    failures = [(image_ids[at], store.failure(at)) for at in store.positions.tolist()]
    return TuningResult(
        options=options,
        space=space,
        trials=trials,
        best=next(one for one in trials if one.candidate.digest == digest),
        center=center,
        center_side=side,
        failures=tuple((image_id, why) for image_id, why in failures if why is not None),
        excluded=len(store.truth.excluded),
        tuned_on=TunedOn(
            images=str(store.images_path),
            dataset=store.dataset.name,
            objective=options.objective,
            candidates=len(trials),
            center_side=side,
        ).filled(),
    )


class _Search:
    """Evaluates choices, and remembers them in the order in which they were tried."""

    def __init__(self, store: MapStore, options: TuneOptions, progress: Progress) -> None:
        self._store, self._options, self._progress = store, options, progress
        self._table = IouTable(store)
        self._found: dict[str, tuple[Candidate, Ious]] = {}

    def __call__(self, tried: Sequence[Choices]) -> list[float]:
        candidates = [make_candidate(self._store.config, choices) for choices in tried]
        self._table.compute(candidates, self._progress)
        for one in candidates:
            self._found.setdefault(one.digest, (one, self._table.ious(one)))
        return [self._value(self._found[one.digest][1]) for one in candidates]

    def _value(self, ious: Ious) -> float:
        objective = self._options.objective
        if objective == "mask_iou" and np.isnan(ious.mask).any():
            name = self._store.dataset.name
            raise RunError(f"mask_iou needs the masks of all images, but {name} lacks some")
        return objective_value(ious, objective)

    def trials(self) -> tuple[Trial, ...]:
        seed = self._options.seed
        return tuple(Trial(one, estimates(ious, seed=seed)) for one, ious in self._found.values())


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
    objective = options.objective
    ious = center_ious(
        store.dataset,
        store.truth,
        max_pixels=store.config.data.max_pixels,
        masks=objective == "mask_iou",
    )
    best = max(CENTER_SIDES, key=lambda side: (objective_value(ious[side], objective), -side))
    curve = [
        (side, next(one for one in estimates(found, seed=options.seed) if one.name == objective))
        for side, found in ious.items()
    ]
    return tuple(curve), best
