"""Error analysis: what is wrong with a box.

Each scored image is of exactly one kind. Let P be the predicted box, G the boxes of all instances
of the image's class (those to be ignored left out), and B the one of them with the highest IoU,
the first of equals. The first line that fits decides:

=======================  =========================================================================
kind                     when
=======================  =========================================================================
failed                   the image could not be processed
wrong_class_box_right    the top-1 prediction is of another class; IoU(P, B) >= 0.5
wrong_class_box_wrong    the top-1 prediction is of another class; any other box, or none
no_box                   there is no P
right                    IoU(P, B) >= 0.5
several                  P covers at least 0.5 of each of two or more of G
part                     at least 0.8 of P lies in B
too_large                P covers at least 0.8 of B
background               IoU(P, B) < 0.1
shifted                  what is left: a box that meets B in part, with an IoU of 0.1 to 0.5
=======================  =========================================================================

P is either the top-1 prediction's box (``top1``), by the challenge's rule, or the box of the
ground-truth class, whatever was predicted (``gt_known``), where the two kinds of wrong classes do
not exist. So the proportion of ``right`` is one minus the localization error at top-1, or GT-known
localization, and the wrong classes and the failed images together are the classification error at
top-1. A box in a large object can be ``part`` with an IoU below 0.1, and the whole image around a
small object ``too_large``: background is only where neither holds. A box without area covers
nothing.

The size of an image's object is the area of the largest instance of its class as a fraction of the
image's: small below 0.1, large above 0.4, medium between; it does not depend on the prediction, so
that runs are compared on the same groups.

Shares of kinds as a diagnosis follow Hoiem et al. 2012 (of detectors) and Choe et al. 2020; these
kinds and limits are this project's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.boxes import box_area
from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.run.rows import SCALARS
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, proportion_estimate
from wsl.score.inputs import AnnotatedImages
from wsl.score.matching import RIGHT_IOU, MatchedImages
from wsl.score.protocol import needs_run
from wsl.score.protocols.ilsvrc import BoxOptions, match_run
from wsl.score.result import Scores

Metric = Literal["top1", "gt_known"]

KINDS = (
    *("right", "wrong_class_box_right", "wrong_class_box_wrong", "part", "too_large", "several"),
    *("shifted", "background", "no_box", "failed"),
)
"""All kinds, in the order of tables."""

OBJECT_SIZES = ("small", "medium", "large", "unknown")
"""Groups by the area of the object; ``unknown`` where the image's size is."""

_SEVERAL_COVERED = 0.5
_PART_WITHIN = 0.8
_LARGE_COVERED = 0.8
_BACKGROUND_IOU = 0.1
_SMALL, _LARGE = 0.1, 0.4

_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]


class DiagnosisOptions(BoxOptions):
    """Options of the protocol ``diagnosis``."""

    summary: ClassVar[str] = "boxes: what is wrong with each"
    reference: ClassVar[str] = "after Hoiem et al., ECCV 2012"

    protocol: Literal["diagnosis"] = "diagnosis"
    metric: Metric = "gt_known"
    """Whose box: the ground-truth class's, whatever was predicted (``gt_known``), or the top-1
    prediction's (``top1``)."""

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Diagnose the boxes of a run."""
        predictions = needs_run(folder, self.protocol).read(SCALARS).to_pandas()
        return diagnose(predictions, dataset, self, boxes)


@dataclass(frozen=True)
class Diagnosis(Scores):
    """The kind of each image, and the kinds' proportions.

    Attributes
    ----------
    metric : {'top1', 'gt_known'}
        Whose box: the top-1 prediction's, or the ground-truth class's.
    per_image : DataFrame
        One row per scored image: ``image_id, label, kind``; ``iou`` with B, ``within`` (fraction
        of P in B), ``covered`` (fraction of B in P), ``instances_covered`` (how many of G P covers
        by half; all four 0 for no box); ``object_fraction`` (of the image's area) and
        ``object_size``.
    """

    metric: Metric = "gt_known"

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each image by its id."""
        return dict(zip(self.per_image["image_id"], self.per_image["kind"], strict=True))

    def by_size(self) -> pd.DataFrame:
        """Share of each kind by ``object_size``, which is the index; ``n`` counts the images."""
        table = pd.crosstab(self.per_image["object_size"], self.per_image["kind"]).reindex(
            columns=list(KINDS), fill_value=0
        )
        n = table.sum(axis=1)
        proportions = table.div(n, axis=0)
        proportions.insert(0, "n", n)
        proportions.columns.name = None
        return proportions.loc[[size for size in OBJECT_SIZES if size in table.index]]


def diagnose(
    predictions: pd.DataFrame,
    samples: Dataset | Iterable[Sample],
    options: DiagnosisOptions | None = None,
    boxes: TrivialBoxes | None = None,
) -> Diagnosis:
    """Say what is wrong with each box of a run.

    Parameters
    ----------
    predictions : DataFrame
        One row per image and class, as `wsl.score.protocols.ilsvrc.score_ilsvrc` takes them.
    samples : Dataset or iterable of Sample
        The images' labels and annotations.
    options : DiagnosisOptions
    boxes : TrivialBoxes
        The baselines.

    Raises
    ------
    ScoreError
        As `wsl.score.protocols.ilsvrc.score_ilsvrc`, or if the run does not hold the boxes to be
        diagnosed.
    """
    options, boxes = options or DiagnosisOptions(), boxes or TrivialBoxes()
    images, listed, notes = match_run(predictions, samples, options, boxes)
    metric = options.metric
    if metric == "gt_known" and not images.gt_known:
        raise ScoreError(
            f"{images.gt_missing} images have no row of the ground-truth class: take "
            "score.metric=top1, or run with classes.select=ground_truth, or both"
        )
    if metric == "top1" and images.predicted_ranks == 0:
        raise ScoreError(
            "some images have no top-1 prediction: take score.metric=gt_known, or run with "
            "classes.select=top_k, or both"
        )
    row = images.gt_row if metric == "gt_known" else images.first_row
    found = np.where(row[:, None] < 0, np.nan, images.rows.boxes[row])
    table = _per_image(images, found, metric)
    fixed = boxes.boxes(images.sizes)
    whose = "the ground-truth class's box" if metric == "gt_known" else "the top-1 prediction"
    return listed.described(
        Diagnosis(
            protocol=options.protocol,
            estimates=_estimates(table["kind"], metric),
            baselines=boxes.baselines(
                lambda which: _estimates(_per_image(images, fixed[which], metric)["kind"], metric)
            ),
            omitted=_omitted(metric),
            notes=(*notes, f"scored: {whose}"),
            metric=metric,
            per_image=table,
        )
    )


def _per_image(images: MatchedImages, boxes: _Floats, metric: Metric) -> pd.DataFrame:
    truth = images.truth
    meets = _Overlap.of(boxes, truth)
    class_right = np.ones(len(boxes), dtype=bool) if metric == "gt_known" else images.class_right[1]
    share = _object_fractions(truth, images.sizes)
    return pd.DataFrame(
        {
            "image_id": list(truth.image_ids),
            "label": truth.labels,
            "kind": _kinds(meets, failed=images.failed, class_right=class_right),
            "iou": meets.iou,
            "within": meets.within,
            "covered": meets.covered,
            "instances_covered": meets.instances_covered,
            "object_fraction": share,
            "object_size": _size_names(share),
        }
    )


@dataclass(frozen=True)
class _Overlap:
    """How each image's box meets the instance of the highest IoU; 0 for no box."""

    has_box: _Flags
    iou: _Floats
    within: _Floats
    covered: _Floats
    instances_covered: NDArray[np.int64]

    @classmethod
    def of(cls, boxes: _Floats, truth: AnnotatedImages) -> _Overlap:
        has_box = np.asarray(~np.isnan(boxes).any(axis=1), dtype=bool)
        starts = truth.starts[:-1]
        # One entry for each instance, with the box of its image.
        owners = np.repeat(np.arange(len(boxes)), np.diff(truth.starts))
        of_image = np.where(has_box[:, None], boxes, 0.0)
        predicted, instance = of_image[owners], truth.boxes
        sides = np.minimum(predicted[:, 2:], instance[:, 2:]) - np.maximum(
            predicted[:, :2], instance[:, :2]
        )
        shared = np.clip(sides, 0, None).prod(axis=1)
        area, instance_area = box_area(of_image)[owners], box_area(instance)
        iou = _ratio(shared, area + instance_area - shared)
        covered = _ratio(shared, instance_area)
        best = _first_largest(iou, owners, starts)
        return cls(
            has_box=has_box,
            iou=iou[best],
            within=_ratio(shared, area)[best],
            covered=covered[best],
            instances_covered=np.add.reduceat(
                (covered >= _SEVERAL_COVERED).astype(np.int64), starts
            ),
        )


def _kinds(meets: _Overlap, *, failed: _Flags, class_right: _Flags) -> NDArray[np.str_]:
    box_right = meets.iou >= RIGHT_IOU
    ordered: dict[str, _Flags] = {
        "failed": failed,
        "wrong_class_box_right": ~class_right & box_right,
        "wrong_class_box_wrong": ~class_right,
        "no_box": ~meets.has_box,
        "right": box_right,
        "several": meets.instances_covered >= 2,
        "part": meets.within >= _PART_WITHIN,
        "too_large": meets.covered >= _LARGE_COVERED,
        "background": meets.iou < _BACKGROUND_IOU,
    }
    return np.select(list(ordered.values()), [np.array(kind) for kind in ordered], "shifted")


def _first_largest(
    values: _Floats, owners: NDArray[np.intp], starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Position of the first of each image's largest values."""
    largest = np.maximum.reduceat(values, starts)
    at = np.flatnonzero(values == largest[owners])[::-1]
    # Written back to front, so that the first of equals stays.
    best = starts.copy()
    best[owners[at]] = at
    return best


def _ratio(part: _Floats, whole: _Floats) -> _Floats:
    """Quotient; 0 where the whole has no area."""
    quotient: _Floats = np.zeros(len(part))
    return np.divide(part, whole, out=quotient, where=whole > 0)


def _object_fractions(truth: AnnotatedImages, sizes: _Floats) -> _Floats:
    """Area of each image's largest instance as a fraction of the image's; NaN if unknown."""
    largest = np.maximum.reduceat(box_area(truth.boxes), truth.starts[:-1])
    areas = sizes.prod(axis=1)
    share: _Floats = np.full(len(areas), np.nan)
    np.divide(largest, areas, out=share, where=areas > 0)
    return share


def _size_names(share: _Floats) -> NDArray[np.str_]:
    small, medium, large, unknown = (np.array(name) for name in OBJECT_SIZES)
    return np.select(
        [np.isnan(share), share < _SMALL, share <= _LARGE], [unknown, small, medium], large
    )


def _estimates(kinds: pd.Series[str], metric: Metric) -> tuple[Estimate, ...]:
    return tuple(
        proportion_estimate(kind, (kinds == kind).to_numpy(), higher_is_better=kind == "right")
        for kind in KINDS
        if kind not in _omitted(metric)
    )


def _omitted(metric: Metric) -> dict[str, str]:
    if metric == "top1":
        return {}
    return dict.fromkeys(
        ("wrong_class_box_right", "wrong_class_box_wrong"), "the class is given, not predicted"
    )
