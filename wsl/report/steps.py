"""The steps of a run's images, read from the run or computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from wsl.boxes import Box
from wsl.data.images import load_image
from wsl.data.sample import Sample
from wsl.localize.image_maps import working_size
from wsl.localize.prediction import Localization, Prediction
from wsl.localize.seeds import quantile_seeds, smooth_map
from wsl.report.runs import Steps
from wsl.run.maps import open_maps
from wsl.run.opened import OpenedRun
from wsl.run.rows import read_predictions, read_table


class StoredSteps:
    """Gives the steps of an image for the class whose box is scored: its label, or the first class.

    Mask and box are the run's, the map too where the run has stored it (``run.maps``), and seeds
    are taken from the map. The part file of the last image stays in memory.
    """

    def __init__(self, opened: OpenedRun) -> None:
        self._opened = opened
        self._parts = opened.folder.parts()
        self._part = {
            image_id: part
            for part in self._parts
            for image_id in read_table([part], columns=["image_id"])["image_id"].to_pylist()
        }
        self._sample = {image_id: at for at, image_id in enumerate(opened.dataset.image_ids)}
        self._read = lru_cache(maxsize=1)(_by_id)

    def image(self, image_id: str) -> Steps:
        """Return the image with its annotation alone."""
        sample = self._opened.dataset.sample(self._sample[image_id])
        pixels = load_image(sample.path, max_pixels=self._opened.config.data.max_pixels)
        return Steps(pixels, gt_boxes=_gt_boxes(sample))

    def localization(self, image_id: str) -> Localization | None:
        """Return the localization whose box is scored; None if there is none."""
        found = self._read(self._part[image_id])[image_id].localizations
        return next(
            (one for one in found if one.is_ground_truth),
            next((one for one in found if one.rank == 1), None),
        )

    def __call__(self, image_id: str) -> Steps:
        """Return the steps of an image."""
        steps, one = self.image(image_id), self.localization(image_id)
        if one is None:
            return steps
        options = self._opened.config.localize
        path = self._opened.folder.path / "maps" / f"{self._part[image_id].stem}.npz"
        with open_maps(path) as maps:
            saliency = maps.get(image_id, one.label, working_size(one.size, options.working_size))
        seeds = None
        if saliency is not None:
            smoothed = smooth_map(saliency, options.seeds.smoothing)
            seeds = quantile_seeds(smoothed, options.seeds)
        return replace(steps, saliency=saliency, seeds=seeds, mask=one.mask, box=one.box)


def _by_id(part: Path) -> dict[str, Prediction]:
    return {prediction.image_id: prediction for prediction in read_predictions(part)}


def steps_of(opened: OpenedRun) -> Callable[[str], Steps]:
    """Return a function from image ids to steps: stored if the run has maps, else computed."""
    stored = StoredSteps(opened)
    if opened.config.run.maps:
        return stored

    def steps(image_id: str) -> Steps:
        found, one = stored.image(image_id), stored.localization(image_id)
        if one is None:
            return found
        (again,) = opened.localizer(found.image, classes=[one.label], image_id=image_id)
        found = replace(found, saliency=again.saliency, seeds=again.seeds)
        return replace(found, mask=again.mask, box=again.box)

    return steps


def _gt_boxes(sample: Sample) -> tuple[Box, ...]:
    return tuple(
        instance.box
        for instance in (sample.annotation.instances if sample.annotation else ())
        if sample.label is None or instance.label == sample.label
    )
