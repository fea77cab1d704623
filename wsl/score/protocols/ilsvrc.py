"""The ILSVRC rules: classification error, localization error, GT-known localization.

A prediction is a class and a box. It is right if the class is right and the box has an IoU of at
least 0.5 with any instance of that class; an image is right at top-k if any of its first k
predictions is (Russakovsky et al. 2015, sec. 4.1 and 4.2, and the challenge's development kit).
GT-known localization asks for the box of the ground-truth class only, whatever was predicted.

No box is wrong and never a zero box; an image that could not be processed is wrong; boxes are
neither rounded nor clipped nor scaled. Images without a usable annotation are excluded and named.
The kit knows no instances to be ignored: those that a dataset marks so are left out.

References
----------
O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 115 (2015).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.run.rows import SCALARS
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.image_list import ImageList, check_listed
from wsl.score.inputs import PredictionRows, SampleList, read_annotations
from wsl.score.matching import RIGHT_IOU, TOPS, MatchedImages, match_images
from wsl.score.protocol import ScoreOptions, needs_run
from wsl.score.result import Scores
from wsl.storage import read_text

GT_KNOWN_IOUS = (0.3, 0.5, 0.7)
_ORDER = [
    *(f"classification_error_top{k}" for k in TOPS),
    *(f"localization_error_top{k}" for k in TOPS),
    *(f"gt_known_{at}" for at in GT_KNOWN_IOUS),
    "mean_iou",
]


class BoxOptions(ScoreOptions):
    """Options of the protocols that score a run's boxes."""

    allow_other_sizes: bool = False
    """Score images although their annotation states another size than they have, as a few of the
    challenge's do. Boxes are compared as they are."""
    blacklist: Path | None = None
    """File of 1-based positions in the list of images, one per line, that are left out, as in the
    development kits since 2014."""


class IlsvrcOptions(BoxOptions):
    """Options of the protocol ``ilsvrc``."""

    summary: ClassVar[str] = "boxes: the challenge's errors, and GT-known localization"
    reference: ClassVar[str] = "Russakovsky et al., IJCV 2015"

    protocol: Literal["ilsvrc"] = "ilsvrc"

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the boxes of a run."""
        predictions = needs_run(folder, self.protocol).read(SCALARS).to_pandas()
        return score_ilsvrc(predictions, dataset, self, boxes)


def read_blacklist(path: Path | str) -> tuple[int, ...]:
    """Read the positions of images that later development kits leave out.

    Parameters
    ----------
    path : Path or str
        A text file with one 1-based position in the list of images per line.

    Raises
    ------
    ScoreError
        If the file cannot be read, or a line is not a positive integer.
    """
    try:
        lines = read_text(Path(path)).split()
    except (OSError, ValueError) as error:
        raise ScoreError(f"cannot read the blacklist {path}: {error}") from error
    wrong = [line for line in lines if not (line.isdecimal() and int(line) > 0)]
    if wrong:
        raise ScoreError(f"{path} must hold one position from 1 on per line, but has {wrong[0]!r}")
    return tuple(int(line) for line in lines)


def score_ilsvrc(
    predictions: pd.DataFrame,
    samples: Dataset | Iterable[Sample],
    options: IlsvrcOptions | None = None,
    boxes: TrivialBoxes | None = None,
) -> Scores:
    """Score a run's predictions by the ILSVRC rules.

    Parameters
    ----------
    predictions : DataFrame
        One row per image and class, as a run stores them: ``image_id, width, height, status,
        label, rank, in_top_k, is_ground_truth, x0, y0, x1, y1``. Boxes are half-open, NaN where
        there is none; an image that failed is one row with the status ``failed``.
    samples : Dataset or iterable of Sample
        The images' labels and annotations.
    options : IlsvrcOptions
    boxes : TrivialBoxes
        The baselines.

    Returns
    -------
    Scores
        Estimates: ``classification_error_top1``, ``…_top5``, ``localization_error_top1``,
        ``…_top5``, ``gt_known_0.3``, ``…_0.5``, ``…_0.7`` (proportions of right images) and
        ``mean_iou`` (of the ground-truth class's box with its best instance), all of the same n
        images. Those that the run cannot give are omitted: top-k errors of a run of fewer classes,
        GT-known localization of a run that did not localize every image's own class.
        ``per_image`` has one row per scored image, in the dataset's order: ``image_id, status,
        height, width, label, instances`` (how many boxes of its class); ``predicted,
        predicted_score, predicted_iou`` (the top-1 prediction, and the IoU of its box with the best
        instance of the ground-truth class, also where the prediction is of another class);
        ``class_right_top1, box_right_top1, class_right_top5, box_right_top5`` (the image is right
        by the rule); ``gt_rank, gt_iou, gt_x0, gt_y0, gt_x1, gt_y1`` (the ground-truth class) and
        ``best_x0, best_y0, best_x1, best_y1`` (the instance that its box meets best);
        ``whole_iou, center_iou`` (the baselines). What the run does not hold is missing; the IoU of
        no box is 0.

    Raises
    ------
    ScoreError
        If a prediction's image is not in the dataset, an image of the dataset has no prediction
        and `allow_partial` is false, an image has another size than its annotation states and
        `allow_other_sizes` is false, predictions contradict themselves or were made with other
        labels, or no image can be scored.
    """
    options = options or IlsvrcOptions()
    images, listed, notes = match_run(predictions, samples, options, boxes)
    boxes, omitted = boxes or TrivialBoxes(), _omitted(images)

    def of_box(which: int) -> tuple[Estimate, ...]:
        iou = (images.whole_iou, images.center_iou)[which]
        return _estimates(images, iou, omitted, fixed_box=True, seed=options.seed)

    return listed.described(
        Scores(
            protocol=options.protocol,
            estimates=_estimates(
                images, images.gt_iou, omitted, fixed_box=False, seed=options.seed
            ),
            baselines=boxes.baselines(of_box),
            counts={"without_box": int(np.count_nonzero(images.without_box))},
            omitted=omitted,
            notes=notes,
            per_image=images.table(),
        )
    )


def match_run(
    predictions: pd.DataFrame,
    samples: Dataset | Iterable[Sample],
    options: BoxOptions,
    boxes: TrivialBoxes | None = None,
) -> tuple[MatchedImages, ImageList, tuple[str, ...]]:
    """Match a run's predictions with the annotations; count who is scored, and say what to know.

    Raises
    ------
    ScoreError
        As `score_ilsvrc`.
    """
    rows = PredictionRows.from_frame(predictions)
    dataset = samples if isinstance(samples, Dataset) else SampleList(samples)
    listed = dataset.image_ids
    predicted = set(rows.image_ids.tolist())
    missing = check_listed(predicted, listed, allow_partial=options.allow_partial)
    banned = _blacklisted(listed, read_blacklist(options.blacklist) if options.blacklist else ())
    truth = read_annotations(dataset, wanted=predicted - banned)
    if not truth.image_ids:
        why = f": {truth.excluded[0][0]!r}: {truth.excluded[0][1]}" if truth.excluded else ""
        raise ScoreError(f"no image can be scored{why}")
    images = match_images(rows, truth, boxes)
    excluded = dict.fromkeys(missing, "the run has not processed it")
    excluded |= {image_id: "it is blacklisted" for image_id in listed if image_id in banned}
    counts = ImageList(
        len(listed),
        scored=len(truth.image_ids),
        failed=int(np.count_nonzero(images.failed)),
        dataset=dataset.name,
        excluded=excluded | dict(truth.excluded),
    )
    return images, counts, _size_notes(images, allowed=options.allow_other_sizes)


def _estimates(
    images: MatchedImages,
    iou: NDArray[np.float64],
    omitted: Mapping[str, str],
    *,
    fixed_box: bool,
    seed: int,
) -> tuple[Estimate, ...]:
    """Estimates of the run, or of a box that is the same whatever the class."""
    estimates: list[Estimate] = []
    for k in TOPS:
        right = images.class_right[k]
        box_right = right & (iou >= RIGHT_IOU) if fixed_box else images.box_right[k]
        if not fixed_box:
            estimates.append(
                proportion_estimate(f"classification_error_top{k}", ~right, higher_is_better=False)
            )
        estimates.append(
            proportion_estimate(f"localization_error_top{k}", ~box_right, higher_is_better=False)
        )
    estimates += [proportion_estimate(f"gt_known_{at}", iou >= at) for at in GT_KNOWN_IOUS]
    estimates.append(mean_estimate("mean_iou", iou, seed=seed))
    estimates.sort(key=lambda estimate: _ORDER.index(estimate.name))
    # A fixed box needs no row of the ground-truth class, but what stands beside nothing misleads.
    return tuple(estimate for estimate in estimates if estimate.name not in omitted)


def _blacklisted(listed: tuple[str, ...], blacklist: Collection[int]) -> set[str]:
    wrong = [position for position in blacklist if not 1 <= position <= len(listed)]
    if wrong:
        raise ScoreError(
            f"the blacklist names position {wrong[0]}, but the list has {len(listed)} images: it "
            "counts the images of the whole list, from 1"
        )
    return {listed[position - 1] for position in blacklist}


def _omitted(images: MatchedImages) -> dict[str, str]:
    """Estimates that these rows cannot give, and why."""
    omitted: dict[str, str] = {}
    for k in TOPS:
        if images.predicted_ranks is not None and images.predicted_ranks < k:
            why = (
                f"the run holds the first {images.predicted_ranks} classes of every image, not {k}"
                if images.predicted_ranks
                else "the run does not hold the top-1 prediction of every image"
            )
            omitted[f"classification_error_top{k}"] = why
            omitted[f"localization_error_top{k}"] = why
    if not images.gt_known:
        n = int(np.count_nonzero(~images.failed))
        why = (
            f"the run localized the ground-truth class of {n - images.gt_missing} of {n} images: "
            "run with classes.select=ground_truth, or both"
        )
        omitted |= dict.fromkeys((*(f"gt_known_{at}" for at in GT_KNOWN_IOUS), "mean_iou"), why)
    return omitted


def _size_notes(images: MatchedImages, *, allowed: bool) -> tuple[str, ...]:
    """Refuse images of another size than annotated, or say how many there are."""
    differing = images.differing_sizes()
    if not len(differing):
        return ()
    stated, found = images.truth.sizes[differing[0]], images.sizes[differing[0]]
    example = (
        f"{images.truth.image_ids[differing[0]]!r} has {found[1]:g} × {found[0]:g} pixels (width × "
        f"height) in the run, but its annotation is of {stated[1]:g} × {stated[0]:g}"
    )
    if not allowed:
        raise ScoreError(
            f"{len(differing)} images have another size than their annotations state: {example}: "
            "run the images as annotated, or set score.allow_other_sizes"
        )
    note = f"{len(differing)} annotations state another size than the image has: {example}"
    return (f"{note}; boxes are compared as they are",)
