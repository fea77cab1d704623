"""COCO's average precision of predicted masks, computed by pycocotools.

Formats: image, category and annotation numbers are ours; annotations count from 1, because
pycocotools takes the number 0 for "no match". Masks are COCO's compressed run lengths.

References
----------
T.-Y. Lin et al., "Microsoft COCO: common objects in context", ECCV 2014; cocodataset.org,
"Detection evaluation".
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.score.estimates import Estimate, percentile_interval
from wsl.score.result import Scores

__all__ = ["coco_detections", "coco_ground_truth", "score_coco_masks"]

# Each estimate in the order of pycocotools' summary: precision or recall, IoU thresholds, sizes of
# objects (all, small, medium, large), and detections per image and category.
_ESTIMATES = {
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


def coco_ground_truth(samples: Iterable[Sample]) -> dict[str, Any]:
    """Lay annotations out as a COCO dataset.

    Parameters
    ----------
    samples : iterable of Sample
        Their annotations state the image's size and have a mask for each instance; an instance
        that is not to be scored becomes a crowd region, which COCO's rules ignore.

    Returns
    -------
    dict
        ``images`` (``id`` from 1, ``file_name`` the image's id), ``categories``, ``annotations``.

    Raises
    ------
    ScoreError
        If an image has no annotation, or that has no size or lacks a mask.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        found = sample.annotation
        if found is None or found.size is None:
            raise ScoreError(f"image {sample.image_id}: must have an annotation that states a size")
        height, width = found.size
        images.append(
            {"id": number, "file_name": sample.image_id, "height": height, "width": width}
        )
        for instance in found.instances:
            if instance.mask is None:
                raise ScoreError(f"image {sample.image_id}: every instance must have a mask")
            described = _described(instance.mask, (height, width))
            described |= {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": instance.label,
                "iscrowd": int(instance.ignore),
            }
            annotations.append(described)
    labels = sorted({annotation["category_id"] for annotation in annotations})
    categories = [{"id": label, "name": str(label)} for label in labels]
    return {"images": images, "categories": categories, "annotations": annotations}


def coco_detections(
    predictions: pd.DataFrame, ground_truth: dict[str, Any]
) -> list[dict[str, Any]]:
    """Lay predicted masks out as COCO detections.

    Parameters
    ----------
    predictions : DataFrame
        As a run stores them: ``image_id, status, label, score, in_top_k, mask``. Rows outside the
        top k (the ground-truth class given to the localizer) and rows without a mask are no
        detections.
    ground_truth : dict
        What `coco_ground_truth` returned.

    Raises
    ------
    ScoreError
        If a column is missing, an image is not in the ground truth or has another size there, or
        a score is not finite.
    """
    needed = ("image_id", "width", "height", "status", "label", "score", "in_top_k", "mask")
    missing = [name for name in needed if name not in predictions.columns]
    if missing:
        raise ScoreError(f"predictions must have the column {missing[0]!r}, but have none")
    images = {image["file_name"]: image for image in ground_truth["images"]}
    foreign = [name for name in predictions["image_id"].unique() if name not in images]
    if foreign:
        raise ScoreError(f"predicted image {foreign[0]!r} is not in the dataset")
    detected = predictions[
        (predictions["status"] == "ok")
        & predictions["in_top_k"].astype("boolean").fillna(False)
        & predictions["mask"].notna()
    ]
    detections: list[dict[str, Any]] = []
    columns = ["image_id", "height", "width", "label", "score", "mask"]
    for name, height, width, label, score, mask in detected[columns].itertuples(index=False):
        image = images[name]
        if (image["height"], image["width"]) != (int(height), int(width)):
            raise ScoreError(
                f"image {name}: its masks are {int(width)} × {int(height)} (width × height), but "
                f"its annotation says {image['width']} × {image['height']}"
            )
        if not np.isfinite(score):
            raise ScoreError(f"image {name}: scores must be finite, but one is {score}")
        described = _described(mask, (image["height"], image["width"]))
        described |= {
            "id": len(detections) + 1,
            "image_id": image["id"],
            "category_id": int(label),
            "score": float(score),
            "iscrowd": 0,
        }
        detections.append(described)
    return detections


def score_coco_masks(
    predictions: pd.DataFrame,
    samples: Dataset | Sequence[Sample],
    *,
    seed: int = 0,
) -> Scores:
    """COCO's mask AP and AR of a run.

    Parameters
    ----------
    predictions : DataFrame
        See `coco_detections`.
    samples : Dataset or sequence of Sample
        See `coco_ground_truth`.
    seed : int
        Of the bootstrap over images.

    Returns
    -------
    Scores
        Estimates ``ap`` (mean over IoU 0.50 to 0.95), ``ap_50``, ``ap_75``, ``ap_small``, … and
        ``ar_1``, … as pycocotools gives them; n counts images. An estimate of a size that no object
        has is omitted. The trivial baselines have no confidence by which to rank, hence no AP.

    Raises
    ------
    ScoreError
        As the two functions above, or if there is no object.
    """
    ground_truth = coco_ground_truth(samples)
    if not any(not annotation["iscrowd"] for annotation in ground_truth["annotations"]):
        raise ScoreError("COCO scores need at least one object, but the annotations have none")
    detections = coco_detections(predictions, ground_truth)
    evaluation = _evaluate(ground_truth, detections)
    n = len(ground_truth["images"])
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    estimates: list[Estimate] = []
    omitted: dict[str, str] = {}
    replicates: dict[tuple[int, int], dict[str, NDArray[np.float64]]] = {}
    for (name, how), value in zip(_ESTIMATES.items(), evaluation.stats.tolist(), strict=True):
        which, ious, objects, most = how
        if value < 0:
            omitted[name] = "no object has this size"
            continue
        if (objects, most) not in replicates:
            replicates[objects, most] = _resampled(evaluation, drawn, objects=objects, most=most)
        some = replicates[objects, most][which][:, ious]
        low, high = percentile_interval(np.nanmean(some[~np.isnan(some).all(axis=(1, 2))], (1, 2)))
        estimates.append(Estimate(name, value, n, low, high, "mean", interval="bootstrap"))
    return Scores(
        protocol="coco masks",
        dataset=samples.name if isinstance(samples, Dataset) else "",
        estimates=tuple(estimates),
        counts={"scored": n, "objects": len(ground_truth["annotations"]), "found": len(detections)},
        omitted=omitted,
    )


def _described(mask: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return the parts of a COCO annotation that follow from its mask."""
    from pycocotools import mask as coco_mask

    packed = {"size": [int(size[0]), int(size[1])], "counts": mask.encode("ascii")}
    return {
        "segmentation": packed | {"counts": mask},
        "area": float(coco_mask.area(packed)),
        "bbox": coco_mask.toBbox(packed).tolist(),
    }


def _evaluate(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # pycocotools tells its progress on the terminal.
    with contextlib.redirect_stdout(io.StringIO()):
        true, found = COCO(), COCO()
        true.dataset = ground_truth
        found.dataset = ground_truth | {"annotations": detections}
        true.createIndex()
        found.createIndex()
        evaluation = COCOeval(true, found, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _resampled(
    evaluation: Any, weights: NDArray[np.int64], *, objects: int, most: int
) -> dict[str, NDArray[np.float64]]:
    """Precision and recall when each image counts as often as its weight says.

    Parameters
    ----------
    evaluation : COCOeval
        Evaluated.
    weights : ndarray of int, shape (B, I)
        For each replicate, how often each image counts.
    objects : int
        Sizes of objects that count, as a position in pycocotools' ranges of areas.
    most : int
        Detections per image and category that count.

    Returns
    -------
    dict of str to ndarray of float64, shape (B, T, K)
        By IoU threshold and category, ``precision``, the mean over 101 recalls, and ``recall``;
        NaN where a replicate has no object of the category.
    """
    p = evaluation.params
    sizes, images = len(p.areaRng), len(p.imgIds)
    shape = (len(weights), len(p.iouThrs), len(p.catIds))
    precisions: NDArray[np.float64] = np.full(shape, np.nan)
    recalls = precisions.copy()
    for k in range(len(p.catIds)):
        first = (k * sizes + objects) * images
        results = evaluation.evalImgs[first : first + images]
        at = np.array([image for image, result in enumerate(results) if result is not None])
        found = [result for result in results if result is not None]
        if not found:
            continue
        counted = [np.count_nonzero(np.asarray(result["gtIgnore"]) == 0) for result in found]
        totals = weights[:, at] @ np.array(counted)
        scores = np.concatenate([result["dtScores"][:most] for result in found])
        order = np.argsort(-scores, kind="mergesort")
        owner = np.repeat(at, [len(result["dtScores"][:most]) for result in found])[order]
        matched, ignored = (
            np.concatenate([result[key][:, :most] for result in found], axis=1)[:, order] != 0
            for key in ("dtMatches", "dtIgnore")
        )
        for replicate in np.flatnonzero(totals > 0):
            weight = weights[replicate, owner]
            tp = ((matched & ~ignored) * weight).cumsum(axis=1)
            fp = ((~matched & ~ignored) * weight).cumsum(axis=1)
            recall = tp / totals[replicate]
            recalls[replicate, :, k] = recall[:, -1] if recall.size else 0.0
            precisions[replicate, :, k] = _mean_precision(tp, fp, recall, p.recThrs)
    return {"precision": precisions, "recall": recalls}


def _mean_precision(
    tp: NDArray[np.int64],
    fp: NDArray[np.int64],
    recall: NDArray[np.float64],
    at_recalls: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean over recalls of the greatest precision at that recall or beyond, shape (T,)."""
    precision = tp / (tp + fp + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Beyond the greatest recall the precision is 0.
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    means = [
        of_iou[np.searchsorted(reached, at_recalls, side="left")].mean()
        for of_iou, reached in zip(padded, recall, strict=True)
    ]
    return np.array(means)
