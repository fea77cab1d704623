"""COCO's protocol: average precision of predicted masks and boxes, as pycocotools computes it.

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

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np

from wsl.boxes import Box
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import ScoreError
from wsl.localize.prediction import Prediction
from wsl.run.folder import RunFolder
from wsl.run.rows import read_predictions
from wsl.score.average_precision import METRICS, estimates_of
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate
from wsl.score.image_list import ImageList, check_listed, check_size
from wsl.score.images import read_truth
from wsl.score.protocol import ScoreOptions, needs_run
from wsl.score.result import Scores


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
        estimates += estimates_of(ground_truth, detections, "segm", omitted, seed)
    else:
        omitted |= dict.fromkeys(METRICS, "some objects have no mask")
    estimates += estimates_of(ground_truth, detections, "bbox", omitted, seed)
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
