"""Predictions matched with annotations, image by image, by the ILSVRC rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.errors import ScoreError
from wsl.score.baselines import TrivialBoxes
from wsl.score.inputs import AnnotatedImages, PredictionRows, best_instances

RIGHT_IOU = 0.5
TOPS = (1, 5)

_Flags = NDArray[np.bool_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MatchedImages:
    """What the ILSVRC rules say of each image. Arrays have one entry per image of `truth`."""

    rows: PredictionRows
    truth: AnnotatedImages
    failed: _Flags
    """The image could not be processed."""
    sizes: _Floats
    """Shape (N, 2). (height, width), the annotation's where the run does not know it."""
    class_right: Mapping[int, _Flags]
    box_right: Mapping[int, _Flags]
    """For each k of `TOPS`: one of the first k predictions has the right class; has the right class
    and a right box."""
    predicted_ranks: int | None
    """Every image that did not fail has predictions of rank 1 to this, at most 5; None if all
    failed."""
    gt_missing: int
    """Images that did not fail and have no row of the ground-truth class."""
    gt_row: NDArray[np.int64]
    first_row: NDArray[np.int64]
    """Row of the ground-truth class and of the top-1 prediction in `rows`; -1 if there is none."""
    gt_instance: NDArray[np.int64]
    """The instance that the ground-truth class's box meets best, as a row of ``truth.boxes``; -1 if
    it meets none."""
    gt_iou: _Floats
    first_iou: _Floats
    whole_iou: _Floats
    center_iou: _Floats
    """IoU with the best instance of the ground-truth class: of that class's box, of the first
    prediction's box, of the whole image, of the centered box. 0 for no box."""

    @property
    def gt_known(self) -> bool:
        """Whether the ground-truth class of every image that did not fail was localized."""
        return not self.gt_missing

    @property
    def without_box(self) -> _Flags:
        """Processed images whose ground-truth class (else top-1 prediction) found no box."""
        row = self.gt_row if self.gt_known else self.first_row
        return ~self.failed & ~np.isfinite(_at(self.rows.boxes[:, 0], row, np.nan))

    def differing_sizes(self) -> NDArray[np.int64]:
        """Positions of the images whose annotation states another size than the run."""
        stated = self.truth.sizes
        known = ~np.isnan(stated).any(axis=1)
        return np.flatnonzero(known & (stated != self.sizes).any(axis=1))

    def table(self) -> pd.DataFrame:
        """Lay everything out with one row per image."""
        rows, truth = self.rows, self.truth
        n = len(truth.image_ids)
        columns: dict[str, object] = {
            "image_id": list(truth.image_ids),
            "status": np.where(self.failed, "failed", "ok"),
            "height": self.sizes[:, 0],
            "width": self.sizes[:, 1],
            "label": truth.labels,
            "instances": np.diff(truth.starts),
            "predicted": _at(rows.labels, self.first_row, np.nan),
            "predicted_score": _at(rows.scores, self.first_row, np.nan),
            "predicted_iou": self.first_iou,
        }
        for k in TOPS:
            known = self.predicted_ranks is None or self.predicted_ranks >= k
            missing = pd.array([pd.NA] * n, dtype="boolean")
            columns[f"class_right_top{k}"] = self.class_right[k] if known else missing
            columns[f"box_right_top{k}"] = self.box_right[k] if known else missing
        columns["gt_rank"] = _at(rows.ranks, self.gt_row, np.nan)
        columns["gt_iou"] = self.gt_iou if self.gt_known else np.full(n, np.nan)
        best = np.where(self.gt_instance[:, None] < 0, np.nan, truth.boxes[self.gt_instance])
        for axis, name in enumerate(("x0", "y0", "x1", "y1")):
            columns[f"gt_{name}"] = _at(rows.boxes[:, axis], self.gt_row, np.nan)
            columns[f"best_{name}"] = best[:, axis]
        columns["whole_iou"], columns["center_iou"] = self.whole_iou, self.center_iou
        return pd.DataFrame(columns)


def match_images(
    rows: PredictionRows, truth: AnnotatedImages, boxes: TrivialBoxes | None = None
) -> MatchedImages:
    """Match the predictions of each annotated image with its instances.

    Parameters
    ----------
    rows : PredictionRows
    truth : AnnotatedImages
        At least one image.
    boxes : TrivialBoxes
        The baselines.

    Raises
    ------
    ScoreError
        If ranks contradict themselves, or the run's ground truth is not the dataset's.
    """
    n = len(truth.image_ids)
    owners = pd.Index(truth.image_ids, dtype=object).get_indexer(
        pd.Index(rows.image_ids, dtype=object)
    )
    scored = owners >= 0
    predicted = scored & ~rows.failed & ~np.isnan(rows.labels)
    listed, of_gt = predicted & rows.in_top_k, predicted & rows.is_ground_truth
    _check_ranks(rows, listed)
    _check_ground_truth(rows, of_gt, owners, truth)
    iou, instance = np.zeros(len(rows)), np.full(len(rows), -1, dtype=np.int64)
    iou[predicted], instance[predicted] = best_instances(
        rows.boxes[predicted], owners[predicted], truth
    )
    right = listed & (rows.labels == truth.labels[owners])
    right_box = right & (iou >= RIGHT_IOU)
    failed = _any_of_image(owners[rows.failed & scored], n)
    gt_row = _row_of_image(of_gt, owners, n)
    first_row = _row_of_image(listed & (rows.ranks == 1), owners, n)
    sizes = _sizes(rows, owners, truth)
    fixed = (boxes or TrivialBoxes()).boxes(sizes)
    whole_iou, center_iou = (best_instances(box, np.arange(n), truth)[0] for box in fixed)
    return MatchedImages(
        rows=rows,
        truth=truth,
        failed=failed,
        sizes=sizes,
        class_right={k: _any_of_image(owners[right & (rows.ranks <= k)], n) for k in TOPS},
        box_right={k: _any_of_image(owners[right_box & (rows.ranks <= k)], n) for k in TOPS},
        predicted_ranks=_complete_ranks(rows, owners, listed, ~failed),
        gt_missing=int(np.count_nonzero((gt_row < 0) & ~failed)),
        gt_row=gt_row,
        first_row=first_row,
        gt_instance=np.where(gt_row < 0, -1, instance[gt_row]),
        gt_iou=_at(iou, gt_row, 0.0),
        first_iou=_at(iou, first_row, 0.0),
        whole_iou=whole_iou,
        center_iou=center_iou,
    )


def _check_ranks(rows: PredictionRows, listed: _Flags) -> None:
    bad_rank = np.flatnonzero(listed & ~(rows.ranks >= 1))
    if bad_rank.size:
        at = bad_rank[0]
        raise ScoreError(
            f"prediction of image {rows.image_ids[at]!r}: the rank of a top-k class must be "
            f"1 or more, but is {rows.ranks[at]:g}"
        )
    key = pd.DataFrame({"image_id": rows.image_ids[listed], "rank": rows.ranks[listed]})
    twice = np.flatnonzero(listed)[key.duplicated().to_numpy()]
    if twice.size:
        at = twice[0]
        raise ScoreError(
            f"prediction of image {rows.image_ids[at]!r}: rank {rows.ranks[at]:g} has two rows"
        )


def _check_ground_truth(
    rows: PredictionRows, of_gt: _Flags, owners: NDArray[np.intp], truth: AnnotatedImages
) -> None:
    named = np.flatnonzero(of_gt)
    other = named[rows.labels[named] != truth.labels[owners[named]]]
    if other.size:
        at = other[0]
        raise ScoreError(
            f"prediction of image {rows.image_ids[at]!r} takes class {rows.labels[at]:g} for the "
            f"ground truth, but the dataset says {truth.labels[owners[at]]}: the run was made "
            "with other labels"
        )


def _sizes(rows: PredictionRows, owners: NDArray[np.intp], truth: AnnotatedImages) -> _Floats:
    sizes = truth.sizes.copy()
    known = (owners >= 0) & ~np.isnan(rows.sizes).any(axis=1)
    sizes[owners[known]] = rows.sizes[known]
    return sizes


def _complete_ranks(
    rows: PredictionRows, owners: NDArray[np.intp], listed: _Flags, processed: _Flags
) -> int | None:
    """Largest k such that every processed image has predictions of rank 1 to k (k up to 5)."""
    if not processed.any():
        return None
    complete = 0
    for k in range(1, max(TOPS) + 1):
        of_rank = _any_of_image(owners[listed & (rows.ranks == k)], len(processed))
        if not of_rank[processed].all():
            break
        complete = k
    return complete


def _any_of_image(owners: NDArray[np.intp], n: int) -> _Flags:
    flags = np.zeros(n, dtype=bool)
    flags[owners] = True
    return flags


def _row_of_image(chosen: _Flags, owners: NDArray[np.intp], n: int) -> NDArray[np.int64]:
    row = np.full(n, -1, dtype=np.int64)
    at = np.flatnonzero(chosen)
    row[owners[at]] = at
    return row


def _at(values: _Floats, rows: NDArray[np.int64], default: float) -> _Floats:
    """Entry of each row; `default` where the row is -1."""
    return np.where(rows < 0, default, values[rows])
