"""The protocols by name: what each needs of a run, and how it is fed.

A run's own boxes and masks are judged by `ilsvrc` and `mask_iou`; its maps (or another tool's, from
a folder of ``.npy`` files) by `max_box_acc`, `heatmap` and `pointing`. Images are taken one at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.config import Options
from wsl.data.sample import Annotation, Dataset, Sample
from wsl.errors import AnnotationError, ScoreError, choices_hint
from wsl.masks import Mask, decode_rle
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.rows import SCALARS
from wsl.run.tuned_on import TunedOn
from wsl.score.maps import maps_from_folder
from wsl.score.protocols.coco import score_coco_masks
from wsl.score.protocols.diagnosis import diagnose
from wsl.score.protocols.heatmap import HeatmapScorer, Rule
from wsl.score.protocols.ilsvrc import read_blacklist, score_ilsvrc
from wsl.score.protocols.mask_iou import score_masks
from wsl.score.protocols.max_box_acc import MaxBoxAcc, prepare_map
from wsl.score.protocols.pointing import PointingGame
from wsl.score.protocols.pxap import PxAP
from wsl.score.result import Scores

__all__ = ["PROTOCOLS", "Protocol", "ScoreOptions", "score_run", "tuning_notes"]

Protocol = Literal[
    "ilsvrc", "diagnosis", "max_box_acc", "pxap", "heatmap", "mask_iou", "coco", "pointing"
]


class ScoreOptions(Options):
    """How a run is scored."""

    center_side: float = Field(0.75, gt=0, le=1)
    """Side of the centered box that stands beside the run, as a proportion of the image's side."""
    center_chosen: str = "fixed in advance"
    """How that side was chosen, for the reader of the estimates."""
    allow_partial: bool = False
    """Score a run that is not complete (`ilsvrc`)."""
    blacklist: Path | None = None
    """File of positions (1-based) in the list of images to leave out (`ilsvrc`)."""
    maps: Path | None = None
    """Folder of ``IMAGE_ID.npy`` in [0, 1] to judge in place of the run's own maps."""
    step: float = Field(0.001, gt=0, lt=1)
    """Distance of the thresholds tried (`max_box_acc`) and width of the bins (`pxap`)."""
    rule: Rule = "value"
    """From a map to a box: threshold by value, energy, or multiples of the mean (`heatmap`)."""
    threshold: float | None = None
    """A threshold (`max_box_acc`) or alpha (`heatmap`) chosen on other images; null takes the best
    of the scored images, which the result calls an oracle."""
    chosen_on: str = "other images"
    """Where a given threshold was chosen, for the reader of the estimates."""
    seed: int = 0
    """Of the bootstrap."""


@dataclass(frozen=True, eq=False)
class _Judged:
    """One annotated image whose ground-truth class has a map."""

    sample: Sample
    annotation: Annotation
    label: int
    size: tuple[int, int]
    map_: NDArray[np.floating]


def score_run(
    protocol: str, folder: RunFolder, dataset: Dataset, options: ScoreOptions | None = None
) -> Scores:
    """Score a run by a protocol.

    Parameters
    ----------
    protocol : str
        A name in `PROTOCOLS`.
    folder : RunFolder
    dataset : Dataset
        What the run was made of, with annotations.
    options : ScoreOptions, optional

    Raises
    ------
    ScoreError
        If there is no such protocol, or the run has not what it needs.
    """
    if protocol not in PROTOCOLS:
        raise ScoreError(f"there is no protocol {protocol!r}. {choices_hint(protocol, PROTOCOLS)}")
    scores = PROTOCOLS[protocol](folder, dataset, options or ScoreOptions())
    notes = tuning_notes(folder.read_info().config, dataset)
    return replace(scores, dataset=dataset.name, notes=(*scores.notes, *notes))


def tuning_notes(config: Mapping[str, Any], dataset: Dataset) -> tuple[str, ...]:
    """Say whether a run's settings were chosen on the scored images; nothing if untuned.

    Parameters
    ----------
    config : mapping
        The run's effective configuration.
    dataset : Dataset
        What is scored.
    """
    tuned_on = config.get("tuned_on")
    return (TunedOn(**tuned_on).note(dataset),) if tuned_on else ()


def _ilsvrc(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    return score_ilsvrc(
        folder.read(columns=SCALARS).to_pandas(),
        dataset,
        center_side=options.center_side,
        center_chosen=options.center_chosen,
        allow_partial=options.allow_partial,
        blacklist=read_blacklist(options.blacklist) if options.blacklist else (),
        seed=options.seed,
    )


def _diagnosis(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    return diagnose(folder.read(columns=SCALARS).to_pandas(), dataset)


def _maxbox(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    scorer = MaxBoxAcc(
        step=options.step,
        threshold=options.threshold,
        chosen_on=options.chosen_on,
        center_side=options.center_side,
        center_chosen=options.center_chosen,
        seed=options.seed,
    )
    for judged in _judged_maps(folder, dataset, options):
        name = judged.sample.image_id
        boxes = judged.annotation.boxes(judged.label)
        scorer.add(prepare_map(judged.map_, name=name), boxes, judged.size, name=name)
    return scorer.scores()


def _pxap(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    scorer = PxAP(
        step=options.step,
        center_side=options.center_side,
        center_chosen=options.center_chosen,
        seed=options.seed,
    )
    for judged in _judged_maps(folder, dataset, options):
        name, annotation = judged.sample.image_id, judged.annotation
        masks = _instance_masks(annotation, judged.label, judged.size, name)
        ignored = annotation.ignore_mask
        ignore = None if ignored is None else decode_rle(ignored, judged.size)
        scorer.add(prepare_map(judged.map_, name=name), masks, ignore=ignore, name=name)
    return scorer.scores()


def _heatmap(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    scorer = HeatmapScorer(
        options.rule,
        alpha=options.threshold,
        chosen_on=options.chosen_on,
        center_side=options.center_side,
        center_chosen=options.center_chosen,
        seed=options.seed,
    )
    for judged in _judged_maps(folder, dataset, options):
        boxes = judged.annotation.boxes(judged.label)
        scorer.add(judged.map_, boxes, judged.size, name=judged.sample.image_id)
    return scorer.scores()


def _pointing(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    scorer = PointingGame(seed=options.seed)
    for judged in _judged_maps(folder, dataset, options):
        annotation, name = judged.annotation, judged.sample.image_id
        instances = [i for i in annotation.instances if i.label == judged.label]
        regions = (
            _instance_masks(annotation, judged.label, judged.size, name)
            if all(instance.mask for instance in instances)
            else annotation.boxes(judged.label)
        )
        scorer.add(judged.map_, regions, judged.size, label=judged.label, name=name)
    return scorer.scores()


def _masks(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    return score_masks(
        _mask_pairs(folder, dataset),
        center_side=options.center_side,
        center_chosen=options.center_chosen,
        seed=options.seed,
    )


def _coco(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Scores:
    predictions = folder.read(columns=[*SCALARS, "mask"]).to_pandas()
    return score_coco_masks(predictions, dataset, seed=options.seed)


PROTOCOLS: dict[str, Callable[[RunFolder, Dataset, ScoreOptions], Scores]] = {
    "ilsvrc": _ilsvrc,
    "diagnosis": _diagnosis,
    "max_box_acc": _maxbox,
    "pxap": _pxap,
    "heatmap": _heatmap,
    "mask_iou": _masks,
    "coco": _coco,
    "pointing": _pointing,
}
"""All protocols, each with the function that scores a run by it (SCORING: sections 1 to 4)."""


def _judged_maps(folder: RunFolder, dataset: Dataset, options: ScoreOptions) -> Iterator[_Judged]:
    """Yield the images that have an annotation and a map of their ground-truth class."""
    sizes = _image_sizes(folder)
    position = {image_id: index for index, image_id in enumerate(dataset.image_ids)}
    for image_id, label, map_ in _maps(folder, dataset, options):
        if image_id not in position:
            raise ScoreError(f"the map of {image_id!r} is of no image of {dataset.name}")
        sample = _sample(dataset, position[image_id])
        if sample is None or sample.annotation is None or sample.label is None:
            continue
        size = sizes.get(image_id) or sample.annotation.size
        if size is None:
            raise ScoreError(f"image {image_id!r} has no prediction that states its size")
        if label in (sample.label, None):
            yield _Judged(sample, sample.annotation, sample.label, size, map_)


def _maps(
    folder: RunFolder, dataset: Dataset, options: ScoreOptions
) -> Iterator[tuple[str, int | None, NDArray[np.floating]]]:
    """Yield image id, class (None: the ground truth's) and map, from the run or from a folder."""
    if options.maps is not None:
        for image_id, map_ in maps_from_folder(options.maps, dataset.image_ids):
            yield image_id, None, map_
        return
    paths = sorted((folder.path / "maps").glob("part-*.npz"))
    if not paths:
        raise ScoreError(
            f"{folder.path} has no maps: run with run.maps=true, or name a folder of .npy files"
        )
    for path in paths:
        for image_id, label, stored in read_maps(path):
            yield image_id, label, stored.astype(np.float64)


def _image_sizes(folder: RunFolder) -> dict[str, tuple[int, int]]:
    table = folder.read(columns=["image_id", "height", "width"])
    return {
        row["image_id"]: (row["height"], row["width"])
        for row in table.to_pylist()
        if row["height"] is not None
    }


def _sample(dataset: Dataset, index: int) -> Sample | None:
    """Read a sample; None if its annotation cannot be read."""
    try:
        return dataset.sample(index)
    except AnnotationError:
        return None


def _instance_masks(
    annotation: Annotation, label: int, size: tuple[int, int], name: str
) -> list[Mask]:
    instances = [i for i in annotation.instances if i.label == label and not i.ignore]
    if not all(instance.mask for instance in instances):
        raise ScoreError(f"image {name!r} has boxes alone, and this protocol needs masks")
    return [decode_rle(instance.mask or "", size) for instance in instances]


def _mask_pairs(folder: RunFolder, dataset: Dataset) -> Iterator[tuple[str, Mask | None, Mask]]:
    """Yield the predicted mask of each image's ground-truth class, and its instances' union."""
    columns = ["image_id", "height", "width", "label", "is_ground_truth", "mask"]
    predicted = {
        row["image_id"]: row
        for row in folder.read(columns=columns).to_pylist()
        if row["is_ground_truth"] or row["label"] is None
    }
    for index, image_id in enumerate(dataset.image_ids):
        sample, row = _sample(dataset, index), predicted.get(image_id)
        if sample is None or sample.annotation is None or sample.label is None or row is None:
            continue
        size = (row["height"], row["width"]) if row["height"] else sample.annotation.size
        if size is None:
            raise ScoreError(f"image {image_id!r} could not be read, and its size is not stated")
        true = np.zeros(size, dtype=bool)
        for mask in _instance_masks(sample.annotation, sample.label, size, image_id):
            true |= mask
        found = None if row["mask"] is None else decode_rle(row["mask"], size)
        yield image_id, found, true
