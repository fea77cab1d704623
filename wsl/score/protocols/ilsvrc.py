"""The ILSVRC rules: classification error, localization error, GT-known localization.

A prediction is a class and a box. It is right if the class is right and the box has an IoU of at
least 0.5 with any instance of that class; an image is right at top-k if any of its first k
predictions is (Russakovsky et al. 2015, sec. 4.1 and 4.2, and the challenge's development kit).
GT-known localization asks for the box of the ground-truth class only, whatever was predicted.

No box is wrong and never a zero box; an image that could not be processed is wrong; boxes are
neither rounded nor clipped. Images without a readable annotation are left out and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.inputs import PredictionRows, read_annotations
from wsl.score.matching import RIGHT_IOU, TOPS, MatchedImages, match_images
from wsl.score.result import Baseline, Scores

__all__ = ["GT_KNOWN_IOUS", "IlsvrcScores", "read_blacklist", "score_ilsvrc"]

GT_KNOWN_IOUS = (0.3, 0.5, 0.7)
_ORDER = [
    *(f"classification_error_top{k}" for k in TOPS),
    *(f"localization_error_top{k}" for k in TOPS),
    *(f"gt_known_{at}" for at in GT_KNOWN_IOUS),
    "mean_iou",
]
# Some annotations of the challenge state a wrong size; but when most do, they are of other images.
_FEW_IMAGES = 10


@dataclass(frozen=True)
class IlsvrcScores(Scores):
    """Scores by the ILSVRC rules.

    Attributes
    ----------
    per_image : DataFrame
        One row per scored image, in the dataset's order: ``image_id, status, height, width, label,
        instances`` (how many boxes of its class); ``predicted, predicted_score, predicted_iou``
        (the top-1 prediction, and the IoU of its box with the best instance of the ground-truth
        class, also where the prediction is of another class); ``class_right_top1, box_right_top1,
        class_right_top5, box_right_top5`` (the image is right by the rule); ``gt_rank, gt_iou,
        gt_x0, gt_y0, gt_x1, gt_y1`` (the ground-truth class) and ``best_x0, best_y0, best_x1,
        best_y1`` (the instance that its box meets best); ``whole_iou, center_iou`` (the
        baselines). What the run does not hold is missing; the IoU of no box is 0.
    """

    per_image: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)


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
        lines = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoreError(f"cannot read the blacklist {path}: {error}") from error
    wrong = [line for line in lines if not (line.isdecimal() and int(line) > 0)]
    if wrong:
        raise ScoreError(f"{path} must hold one position from 1 on per line, but has {wrong[0]!r}")
    return tuple(int(line) for line in lines)


def score_ilsvrc(
    predictions: pd.DataFrame,
    samples: Dataset | Iterable[Sample],
    *,
    center_side: float = 0.75,
    center_chosen: str = "fixed in advance",
    allow_partial: bool = False,
    blacklist: Collection[int] = (),
    seed: int = 0,
) -> IlsvrcScores:
    """Score a run's predictions by the ILSVRC rules.

    Parameters
    ----------
    predictions : DataFrame
        One row per image and class, as a run stores them: ``image_id, width, height, status,
        label, rank, in_top_k, is_ground_truth, x0, y0, x1, y1``. Boxes are half-open, NaN where
        there is none; an image that failed is one row with the status ``failed``.
    samples : Dataset or iterable of Sample
        The images' labels and annotations.
    center_side : float
        Side of the centered box that stands beside the run, as a proportion of the image's side.
    center_chosen : str
        How that side was chosen, for the reader of the estimates.
    allow_partial : bool
        The run did not do all images: images without a prediction are counted, not refused.
    blacklist : collection of int
        1-based positions in the list of images that are left out (kits of 2014 and later).
    seed : int
        Of the bootstrap.

    Returns
    -------
    IlsvrcScores
        Estimates: ``classification_error_top1``, ``…_top5``, ``localization_error_top1``,
        ``…_top5``, ``gt_known_0.3``, ``…_0.5``, ``…_0.7`` (proportions of right images) and
        ``mean_iou`` (of the ground-truth class's box with its best instance). All rest on the
        same n images.

    Raises
    ------
    ScoreError
        If a prediction's image is not in the dataset, an image of the dataset has no prediction
        and `allow_partial` is false, predictions contradict themselves or were made with other
        labels, the annotations are of other images, or no image can be scored.

    References
    ----------
    O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 115 (2015).
    """
    rows = PredictionRows.from_frame(predictions)
    if not isinstance(samples, Dataset):
        samples = list(samples)
    listed = _listed_ids(samples)
    predicted = set(rows.image_ids.tolist())
    missing = _check_lists(predicted, listed, allow_partial=allow_partial)
    banned = _blacklisted(listed, blacklist)
    truth = read_annotations(samples, wanted=predicted - banned)
    if not truth.image_ids:
        why = f": {truth.excluded[0][0]!r}: {truth.excluded[0][1]}" if truth.excluded else ""
        raise ScoreError(f"no image can be scored{why}")
    images = match_images(rows, truth, center_side=center_side)
    _check_sizes(images)
    omitted = _omitted(images)
    whole = _estimates(images, images.whole_iou, omitted, fixed_box=True, seed=seed)
    center = _estimates(images, images.center_iou, omitted, fixed_box=True, seed=seed)
    counts = {
        "read": len(predicted),
        "scored": len(truth.image_ids),
        "failed": len(set(rows.image_ids[rows.failed].tolist())),
        "unannotated": len(truth.excluded),
        "without_box": int(np.count_nonzero(images.without_box)),
        "blacklisted": len(banned & predicted),
        "missing": missing,
    }
    return IlsvrcScores(
        protocol="ilsvrc",
        dataset=samples.name if isinstance(samples, Dataset) else "",
        estimates=_estimates(images, images.gt_iou, omitted, fixed_box=False, seed=seed),
        baselines=(
            Baseline("whole image", "the box is the whole image", whole),
            Baseline(
                f"centered box {center_side:g}",
                f"the box is centered, each side {center_side:g} of the image's, {center_chosen}",
                center,
            ),
        ),
        counts=counts,
        omitted=omitted,
        notes=_notes(images, counts, blacklist),
        excluded=truth.excluded,
        per_image=images.table(),
    )


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


def _listed_ids(samples: Dataset | list[Sample]) -> tuple[str, ...]:
    if isinstance(samples, Dataset):
        return samples.image_ids
    ids = [sample.image_id for sample in samples]
    seen: set[str] = set()
    for image_id in ids:
        if image_id in seen:
            raise ScoreError(f"image {image_id!r} stands twice in the list of images")
        seen.add(image_id)
    return tuple(ids)


def _check_lists(predicted: set[str], listed: tuple[str, ...], *, allow_partial: bool) -> int:
    """Refuse predictions of other images; return how many images have none."""
    if not predicted:
        raise ScoreError("there are no predictions")
    known = set(listed)
    foreign = predicted - known
    if foreign:
        raise ScoreError(
            f"{len(foreign)} of the {len(predicted)} predicted images are not in the dataset, "
            f"such as {min(foreign)!r}: were these predictions made on another list of images?"
        )
    missing = [image_id for image_id in listed if image_id not in predicted]
    if missing and not allow_partial:
        raise ScoreError(
            f"{len(missing)} of the dataset's {len(listed)} images have no prediction, such as "
            f"{missing[0]!r}: finish the run, or set score.allow_partial"
        )
    return len(missing)


def _blacklisted(listed: tuple[str, ...], blacklist: Collection[int]) -> set[str]:
    wrong = [position for position in blacklist if not 1 <= position <= len(listed)]
    if wrong:
        raise ScoreError(
            f"the blacklist names position {wrong[0]}, but the list has {len(listed)} images: it "
            "counts the images of the whole list, from 1"
        )
    return {listed[position - 1] for position in blacklist}


def _check_sizes(images: MatchedImages) -> None:
    n = len(images.truth.image_ids)
    differing = images.differing_sizes()
    if n >= _FEW_IMAGES and 2 * len(differing) > n:
        raise ScoreError(
            f"the annotations of {len(differing)} of {n} images state another size than the "
            f"images have: {_size_example(images, differing[0])}"
        )


def _size_example(images: MatchedImages, at: int) -> str:
    stated, found = images.truth.sizes[at], images.sizes[at]
    return (
        f"{images.truth.image_ids[at]!r} is {found[1]:g} × {found[0]:g} pixels (width × height), "
        f"its annotation says {stated[1]:g} × {stated[0]:g}"
    )


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
        why = "the run holds no rows of the ground-truth class"
        omitted |= dict.fromkeys((*(f"gt_known_{at}" for at in GT_KNOWN_IOUS), "mean_iou"), why)
    return omitted


def _notes(
    images: MatchedImages, counts: Mapping[str, int], blacklist: Collection[int]
) -> tuple[str, ...]:
    notes: list[str] = []
    if blacklist:
        notes.append(
            f"{len(set(blacklist))} positions are blacklisted, as in the development kits since "
            f"2014; {counts['blacklisted']} of the run's images were left out for it"
        )
    if counts["missing"]:
        notes.append(f"partial run: {counts['missing']} images of the dataset were not predicted")
    if images.has_gt_rows:
        lacking = int(np.count_nonzero((images.gt_row < 0) & ~images.failed))
        if lacking:
            notes.append(
                f"{lacking} images have no row of the ground-truth class and count as wrong"
            )
    differing = images.differing_sizes()
    if len(differing):
        notes.append(
            f"{len(differing)} annotations state another size than the image has; nothing was "
            f"rescaled ({_size_example(images, differing[0])})"
        )
    return tuple(notes)
