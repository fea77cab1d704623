"""COCO's average precision, category by category, and its bootstrap over images."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsl.score.estimates import Estimate, accelerated_interval

# Each metric in the order of pycocotools' summary: precision or recall, IoU thresholds, sizes of
# objects (all, small, medium, large), and detections per image and category.
METRICS = {
    "ap": ("precision", slice(None), 0, 100),
    "ap_50": ("precision", slice(0, 1), 0, 100),
    "ap_75": ("precision", slice(5, 6), 0, 100),
    "ap_small": ("precision", slice(None), 1, 100),
    "ap_medium": ("precision", slice(None), 2, 100),
    "ap_large": ("precision", slice(None), 3, 100),
    "ar_1": ("recall", slice(None), 0, 1),
    "ar_10": ("recall", slice(None), 0, 10),
    "ar_100": ("recall", slice(None), 0, 100),
    "ar_small": ("recall", slice(None), 1, 100),
    "ar_medium": ("recall", slice(None), 2, 100),
    "ar_large": ("recall", slice(None), 3, 100),
}
_RESAMPLES = 200
_AT_ONCE = 1 << 20  # numbers of the bootstrap in memory at once


def estimates_of(
    ground_truth: dict[str, Any],
    detections: list[dict[str, Any]],
    kind: Literal["segm", "bbox"],
    omitted: dict[str, str],
    seed: int,
) -> Iterator[Estimate]:
    """Yield the estimates of masks or of boxes; note those that are omitted."""
    n, prefix = len(ground_truth["images"]), "box_" if kind == "bbox" else ""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    curves: list[_Curves] = []
    # By metric and replicate: the sum over categories and IoU thresholds, and their number.
    sums = {name: np.zeros((2, _RESAMPLES)) for name in METRICS}
    for evaluation in _by_category(ground_truth, detections, kind):
        replicates = _resampled(evaluation, drawn)
        for name, (which, ious, objects, most) in METRICS.items():
            values = replicates[objects, most][which][:, ious]
            sums[name] += [np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)]
        curves.append(_curves(evaluation))
    for name, value in zip(METRICS, _summary(curves), strict=True):
        if value < 0:
            omitted[prefix + name] = "no object has this size"
            continue
        total, count = sums[name][:, sums[name][1] > 0]
        low, high = accelerated_interval(value, total / count, n)
        yield Estimate(prefix + name, value, n, low, high, "mean", interval="bootstrap")


def _by_category(
    ground_truth: dict[str, Any], detections: list[dict[str, Any]], kind: Literal["segm", "bbox"]
) -> Iterator[Any]:
    """Yield pycocotools' evaluation of each category, accumulated.

    Each has only the images with an object or a detection of the category: the others have no part
    in it, and of a thousand categories they are nearly all.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if kind == "bbox":
        detections = [one | {"area": one["bbox"][2] * one["bbox"][3]} for one in detections]
    images = {image["id"]: image for image in ground_truth["images"]}
    objects: tuple[dict[int, list[dict[str, Any]]], ...] = (defaultdict(list), defaultdict(list))
    for side, every in zip(objects, (ground_truth["annotations"], detections), strict=True):
        for one in every:
            side[one["category_id"]].append(one)
    for category in ground_truth["categories"]:
        own = [side.pop(category["id"], []) for side in objects]
        there = sorted({one["image_id"] for some in own for one in some})
        # pycocotools tells its progress on the terminal.
        with contextlib.redirect_stdout(io.StringIO()):
            sides = COCO(), COCO()
            for coco, some in zip(sides, own, strict=True):
                coco.dataset = {
                    "images": [images[number] for number in there],
                    "categories": [category],
                    "annotations": some,
                }
                coco.createIndex()
            evaluation = COCOeval(*sides, kind)
            evaluation.evaluate()
            evaluation.accumulate()
        yield evaluation


_Curves = tuple[NDArray[np.float64], NDArray[np.float64]]


def _curves(evaluation: Any) -> _Curves:
    """Precision at most detections, (T, R, 1, A), and recall, (T, 1, A, M), of one category."""
    return evaluation.eval["precision"][..., -1].copy(), evaluation.eval["recall"]


def _summary(curves: list[_Curves]) -> list[float]:
    """Return pycocotools' twelve numbers over all categories."""
    from pycocotools.cocoeval import COCOeval

    precision = np.concatenate([one for one, _ in curves], axis=2)
    recall = np.concatenate([one for _, one in curves], axis=1)
    whole = COCOeval(iouType="segm")
    # Precision is asked for at most detections alone.
    every = (*precision.shape, len(whole.params.maxDets))
    whole.eval = {"precision": np.broadcast_to(precision[..., None], every), "recall": recall}
    with contextlib.redirect_stdout(io.StringIO()):
        whole.summarize()
    return [float(value) for value in whole.stats]


def _resampled(
    evaluation: Any, weights: NDArray[np.int64]
) -> dict[tuple[int, int], dict[str, NDArray[np.float64]]]:
    """Precision and recall of one category when each image counts as often as its weight says.

    Parameters
    ----------
    evaluation : COCOeval
        Of one category, evaluated.
    weights : ndarray of int, shape (B, I)
        For each replicate, how often each image counts, in the order of their numbers from 1.

    Returns
    -------
    dict
        By size of objects (a position in pycocotools' ranges of areas) and detections that count,
        as they occur in `METRICS`: by IoU threshold, ``precision``, the mean over 101 recalls, and
        ``recall``, each (B, T); NaN where a replicate has no object.
    """
    p = evaluation.params
    of_images = weights[:, np.array(p.imgIds, dtype=np.int64) - 1]
    found: dict[tuple[int, int], dict[str, NDArray[np.float64]]] = {}
    for objects, most in dict.fromkeys(how[2:] for how in METRICS.values()):
        first = objects * len(p.imgIds)
        # Of an image in which nothing of the category counts there is no result.
        results = enumerate(evaluation.evalImgs[first : first + len(p.imgIds)])
        some = [(at, result) for at, result in results if result is not None]
        at = np.array([at for at, _ in some], dtype=np.int64)
        counted = [np.count_nonzero(np.asarray(one["gtIgnore"]) == 0) for _, one in some]
        totals = of_images[:, at] @ np.array(counted, dtype=np.int64)
        scores = np.concatenate([one["dtScores"][:most] for _, one in some])
        order = np.argsort(-scores, kind="mergesort")
        owner = np.repeat(at, [len(one["dtScores"][:most]) for _, one in some])[order]
        matched, ignored = (
            np.concatenate([one[key][:, :most] for _, one in some], axis=1)[:, order] != 0
            for key in ("dtMatches", "dtIgnore")
        )
        parts = np.array_split(np.arange(len(weights)), 1 + matched.size * len(weights) // _AT_ONCE)
        curves = [
            _precision_recall(of_images[part][:, owner], totals[part], matched, ignored, p.recThrs)
            for part in parts
        ]
        precision, recall = (np.concatenate(halves) for halves in zip(*curves, strict=True))
        found[objects, most] = {"precision": precision, "recall": recall}
    return found


def _precision_recall(
    weights: NDArray[np.int64],
    totals: NDArray[np.int64],
    matched: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    at_recalls: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over recalls of the greatest precision there or beyond, and the recall, each (B, T).

    Of detections in descending order of their scores: weights (B, D), matched and ignored (T, D).
    """
    tp = ((matched & ~ignored) * weights[:, None, :]).cumsum(axis=2)
    fp = ((~matched & ~ignored) * weights[:, None, :]).cumsum(axis=2)
    none = (totals == 0)[:, None]
    if not matched.shape[1]:
        zeros = np.where(none, np.nan, np.zeros(tp.shape[:2]))
        return zeros, zeros
    recall = tp / np.maximum(totals, 1)[:, None, None]
    precision = tp / (tp + fp + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    # How many of the recalls are first reached by each detection; the others have precision 0.
    reached = np.searchsorted(at_recalls, recall, side="right")
    share = np.diff(reached, axis=2, prepend=0) / len(at_recalls)
    return (
        np.where(none, np.nan, (envelope * share).sum(axis=2)),
        np.where(none, np.nan, recall[:, :, -1]),
    )
