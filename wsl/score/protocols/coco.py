"""COCO's average precision of predicted masks and boxes, computed by pycocotools.

Formats: image, category and annotation numbers are ours; annotations count from 1, because
pycocotools takes the number 0 for "no match". Masks are COCO's compressed run lengths.

Every listed image counts, also one that failed. The categories are the classes of the annotated
objects that the classifier knows; objects of other classes are left out and counted. An object that
is marked to be ignored is a crowd region. The area that makes an object small or large is the
dataset's where it states one, else that of the mask, else that of the box.

References
----------
T.-Y. Lin et al., "Microsoft COCO: common objects in context", ECCV 2014; cocodataset.org,
"Detection evaluation".
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import ScoreError
from wsl.localize.prediction import Prediction
from wsl.run.folder import RunFolder
from wsl.run.rows import read_predictions
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, percentile_interval
from wsl.score.images import ImageList, check_listed, check_size, read_truth
from wsl.score.protocol import ScoreOptions, needs_run
from wsl.score.result import Scores

__all__ = ["CocoOptions", "coco_detections", "coco_ground_truth", "score_coco"]

# Each metric in the order of pycocotools' summary: precision or recall, IoU thresholds, sizes of
# objects (all, small, medium, large), and detections per image and category.
_METRICS = {
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


class CocoOptions(ScoreOptions):
    """Options of the protocol ``coco``."""

    summary: ClassVar[str] = "masks and boxes of the first k classes: COCO's AP and AR"
    reference: ClassVar[str] = "Lin et al., ECCV 2014"

    protocol: Literal["coco"] = "coco"

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the masks and boxes of a run's predictions."""
        run, listed = needs_run(folder, self.protocol), ImageList.of(dataset)
        found = set(run.read(["image_id"])["image_id"].to_pylist())
        missing = check_listed(found, dataset.image_ids, allow_partial=self.allow_partial)
        listed.excluded |= dict.fromkeys(missing, "the run has not processed it")
        truth = {}
        for index, image_id in enumerate(dataset.image_ids):
            if image_id in found:
                known = read_truth(dataset, index, _annotated)
                if isinstance(known, str):
                    listed.excluded[image_id] = known
                else:
                    truth[image_id] = known[1]
        predictions = (p for part in run.parts() for p in read_predictions(part))
        scored = (p for p in predictions if p.image_id in truth)
        listed.scored = len(truth)
        return listed.described(score_coco(_counted(scored, listed), truth, seed=self.seed))


def _annotated(sample: Sample) -> tuple[int, ...] | str:
    return () if sample.annotation is not None else "it has no annotation"


def _counted(predictions: Iterable[Prediction], listed: ImageList) -> Iterator[Prediction]:
    for prediction in predictions:
        listed.failed += prediction.status != "ok"
        yield prediction


def coco_ground_truth(annotations: dict[str, Annotation]) -> dict[str, Any]:
    """Lay annotations out as a COCO dataset.

    Parameters
    ----------
    annotations : dict of str to Annotation
        By image id. They state the image's size.

    Returns
    -------
    dict
        ``images`` (``id`` from 1, ``file_name`` the image's id), ``categories``, ``annotations``.

    Raises
    ------
    ScoreError
        If an annotation states no size.
    """
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (image_id, annotation) in enumerate(annotations.items(), start=1):
        if annotation.size is None:
            raise ScoreError(f"image {image_id}: must have an annotation that states a size")
        height, width = annotation.size
        images.append({"id": number, "file_name": image_id, "height": height, "width": width})
        for instance in annotation.instances:
            if instance.label >= 0:
                described = _described(instance.mask, instance.box, annotation.size)
                described |= {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": instance.label,
                    "iscrowd": int(instance.ignore),
                }
                objects.append(described | _own_area(instance))
    labels = sorted({one["category_id"] for one in objects})
    categories = [{"id": label, "name": str(label)} for label in labels]
    return {"images": images, "categories": categories, "annotations": objects}


def coco_detections(
    predictions: Iterable[Prediction], ground_truth: dict[str, Any]
) -> list[dict[str, Any]]:
    """Lay predictions out as COCO detections.

    Parameters
    ----------
    predictions : iterable of Prediction
        Localizations outside the top k (the ground-truth class given to the localizer) and
        without a mask are no detections.
    ground_truth : dict
        What `coco_ground_truth` returned.

    Raises
    ------
    ScoreError
        If an image is not in the ground truth or has another size there, or a score is not finite.
    """
    images = {image["file_name"]: image for image in ground_truth["images"]}
    detections: list[dict[str, Any]] = []
    for prediction in predictions:
        image = images.get(prediction.image_id)
        if image is None:
            raise ScoreError(f"predicted image {prediction.image_id!r} is not in the dataset")
        size = (image["height"], image["width"])
        check_size(prediction.image_id, size, prediction.size)
        for one in prediction.localizations:
            mask = one.run_lengths
            if not one.in_top_k or one.box is None or not mask.counts:
                continue
            if not np.isfinite(one.score):
                raise ScoreError(
                    f"image {prediction.image_id}: scores must be finite, but one is {one.score}"
                )
            described = _described(mask.counts, one.box, size)
            described |= {
                "id": len(detections) + 1,
                "image_id": image["id"],
                "category_id": int(one.label),
                "score": float(one.score),
                "iscrowd": 0,
            }
            detections.append(described)
    return detections


def score_coco(
    predictions: Iterable[Prediction], annotations: dict[str, Annotation], *, seed: int = 0
) -> Scores:
    """COCO's AP and AR of masks and of boxes.

    Parameters
    ----------
    predictions : iterable of Prediction
        See `coco_detections`.
    annotations : dict of str to Annotation
        See `coco_ground_truth`.
    seed : int
        Seed of the bootstrap over images.

    Returns
    -------
    Scores
        Estimates ``ap`` (mean over IoU 0.50 to 0.95), ``ap_50``, ``ap_75``, ``ap_small``, … and
        ``ar_1``, … of masks as pycocotools gives them, and the same of boxes as ``box_ap``, …; n
        counts images. An estimate for a size that no object has is omitted, as are those of masks
        if an object has none. The trivial baselines have no confidence by which to rank, hence no
        AP.

    Raises
    ------
    ScoreError
        As the two functions above, or if there is no object.
    """
    ground_truth = coco_ground_truth(annotations)
    if not any(not one["iscrowd"] for one in ground_truth["annotations"]):
        raise ScoreError("COCO scores need at least one object of a known class, but there is none")
    detections = coco_detections(predictions, ground_truth)
    omitted: dict[str, str] = {}
    estimates: list[Estimate] = []
    if all("segmentation" in one for one in ground_truth["annotations"]):
        estimates += _estimates(ground_truth, detections, "segm", omitted, seed)
    else:
        omitted |= dict.fromkeys(_METRICS, "some objects have no mask")
    estimates += _estimates(ground_truth, detections, "bbox", omitted, seed)
    labels = [i.label for one in annotations.values() for i in one.instances]
    return Scores(
        protocol="coco",
        estimates=tuple(estimates),
        counts={
            "scored": len(annotations),
            "objects": len(ground_truth["annotations"]),
            "objects_of_unknown_classes": sum(label < 0 for label in labels),
            "detections": len(detections),
        },
        omitted=omitted,
    )


def _estimates(
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
    sums = {name: np.zeros((2, _RESAMPLES)) for name in _METRICS}
    for evaluation in _by_category(ground_truth, detections, kind):
        replicates = _resampled(evaluation, drawn)
        for name, (which, ious, objects, most) in _METRICS.items():
            values = replicates[objects, most][which][:, ious]
            sums[name] += [np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)]
        curves.append(_curves(evaluation))
    for name, value in zip(_METRICS, _summary(curves), strict=True):
        if value < 0:
            omitted[prefix + name] = "no object has this size"
            continue
        total, count = sums[name][:, sums[name][1] > 0]
        low, high = percentile_interval(total / count)
        yield Estimate(prefix + name, value, n, low, high, "mean", interval="bootstrap")


def _described(mask: str | None, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Return the parts of a COCO annotation that follow from its mask and box."""
    from pycocotools import mask as coco_mask

    x0, y0, x1, y1 = box
    described: dict[str, Any] = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    if mask is not None:
        packed = {"size": [int(size[0]), int(size[1])], "counts": mask.encode("ascii")}
        described["area"] = float(coco_mask.area(packed))
        described["segmentation"] = packed | {"counts": mask}
    return described


def _own_area(instance: Instance) -> dict[str, float]:
    return {} if instance.area is None else {"area": instance.area}


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
        as they occur in `_METRICS`: by IoU threshold, ``precision``, the mean over 101 recalls, and
        ``recall``, each (B, T); NaN where a replicate has no object.
    """
    p = evaluation.params
    of_images = weights[:, np.array(p.imgIds, dtype=np.int64) - 1]
    found: dict[tuple[int, int], dict[str, NDArray[np.float64]]] = {}
    for objects, most in dict.fromkeys(how[2:] for how in _METRICS.values()):
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
