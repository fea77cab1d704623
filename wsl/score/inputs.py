"""What scoring starts from: checked prediction rows, and the annotations of their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import as_boxes
from wsl.data.categories import Categories
from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.score.images import boxed_class, instance_boxes, read_truth

BOX_COLUMNS = ["x0", "y0", "x1", "y1"]
_REQUIRED = [
    *("image_id", "width", "height", "status", "label", "rank", "in_top_k", "is_ground_truth"),
    *BOX_COLUMNS,
]


@dataclass(frozen=True)
class PredictionRows:
    """Prediction rows as arrays of one length, one entry per image and class; checked."""

    image_ids: NDArray[np.object_]
    """Shape (R,)."""
    failed: NDArray[np.bool_]
    """Shape (R,). The image could not be processed; the row says nothing else."""
    labels: NDArray[np.float64]
    ranks: NDArray[np.float64]
    """Shape (R,). NaN where there is none."""
    scores: NDArray[np.float64]
    """Shape (R,)."""
    in_top_k: NDArray[np.bool_]
    is_ground_truth: NDArray[np.bool_]
    """Shape (R,)."""
    sizes: NDArray[np.float64]
    """Shape (R, 2). (height, width) of the image; NaN where unknown."""
    boxes: NDArray[np.float64]
    """Shape (R, 4). NaN where there is no box."""

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> PredictionRows:
        """Take the columns of a run's predictions.

        Raises
        ------
        ScoreError
            If a column is missing, a status is neither ``ok`` nor ``failed``, an image has a
            failed row and other rows, one class of an image has two rows, or a box is reversed,
            infinite or lacks a coordinate. The message names an image.
        """
        missing = [name for name in _REQUIRED if name not in frame.columns]
        if missing:
            raise ScoreError(f"predictions must have the column {missing[0]!r}, but have none")
        if frame["image_id"].isna().any():
            raise ScoreError("predictions' column 'image_id' must name an image in every row")
        image_ids = frame["image_id"].astype(str).to_numpy(dtype=object)
        status = frame["status"].astype("string").fillna("").to_numpy(dtype=object)
        failed: NDArray[np.bool_] = np.asarray(status == "failed", dtype=bool)
        known: NDArray[np.bool_] = failed | np.asarray(status == "ok", dtype=bool)
        number = partial(_numbers, frame)
        score = number("score") if "score" in frame.columns else np.full(len(frame), np.nan)
        rows = cls(
            image_ids=image_ids,
            failed=failed,
            labels=number("label"),
            ranks=number("rank"),
            scores=score,
            in_top_k=_flags(frame, "in_top_k"),
            is_ground_truth=_flags(frame, "is_ground_truth"),
            sizes=np.stack([number("height"), number("width")], axis=1),
            boxes=np.stack([number(name) for name in BOX_COLUMNS], axis=1),
        )
        _refuse(
            ~known,
            image_ids,
            lambda at: f"status must be 'ok' or 'failed', but is {status[at]!r}",
        )
        rows._check()
        return rows

    def _check(self) -> None:
        failed_ids = set(self.image_ids[self.failed].tolist())
        if failed_ids:
            also = np.array([image_id in failed_ids for image_id in self.image_ids]) & ~self.failed
            _refuse(also, self.image_ids, lambda _: "has a failed row and other rows")
        key = pd.DataFrame({"image_id": self.image_ids, "label": self.labels})
        twice = key.duplicated().to_numpy()
        _refuse(twice, self.image_ids, lambda at: f"class {self.labels[at]:g} has two rows")
        has_box = np.isfinite(self.boxes).all(axis=1)
        broken = ~has_box & ~np.isnan(self.boxes).all(axis=1)
        _refuse(
            broken,
            self.image_ids,
            lambda at: f"a box must have four finite coordinates, but is {self.boxes[at].tolist()}",
        )
        with np.errstate(invalid="ignore"):
            reversed_ = (self.boxes[:, 2] < self.boxes[:, 0]) | (
                self.boxes[:, 3] < self.boxes[:, 1]
            )
        _refuse(
            reversed_,
            self.image_ids,
            lambda at: f"a box must have x0 <= x1 and y0 <= y1, but is {self.boxes[at].tolist()}",
        )

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with a label and at least one box of that class, in the dataset's order."""

    image_ids: tuple[str, ...]
    """Ids of N images."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    sizes: NDArray[np.float64]
    """Shape (N, 2). (height, width) as the annotation states it; NaN where it does not."""
    boxes: NDArray[np.float64]
    """Shape (M, 4). Boxes of the label's instances of all images, one image after the other."""
    starts: NDArray[np.int64]
    """Shape (N + 1,). Those of image i are ``boxes[starts[i] : starts[i + 1]]``."""
    excluded: tuple[tuple[str, str], ...]
    """Images that cannot be scored, and why."""


class SampleList(Dataset):
    """Samples that are in memory.

    Raises
    ------
    ScoreError
        If two have one id.
    """

    name, root, categories = "", Path(), Categories(())

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)
        self.image_ids = tuple(sample.image_id for sample in self._samples)
        counts = Counter(self.image_ids)
        if len(counts) < len(self.image_ids):
            twice = counts.most_common(1)[0][0]
            raise ScoreError(f"image {twice!r} stands twice in the list of images")

    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Return one of the samples."""
        return self._samples[index]


def read_annotations(dataset: Dataset, *, wanted: Collection[str] | None = None) -> AnnotatedImages:
    """Collect the ground truth of a dataset.

    Instances that the dataset marks to be ignored are left out. An image without a label, without
    a usable annotation or without a box of its class is excluded and named.

    Parameters
    ----------
    dataset : Dataset
    wanted : collection of str or None
        Read only these images; None is all.
    """
    excluded: dict[str, str] = {}
    found: dict[str, tuple[int, tuple[float, float], NDArray[np.float64]]] = {}
    for index, image_id in enumerate(dataset.image_ids):
        if wanted is not None and image_id not in wanted:
            continue
        truth = read_truth(dataset, index, boxed_class)
        if isinstance(truth, str):
            excluded[image_id] = truth
            continue
        (label,), annotation = truth
        try:
            boxes = as_boxes(instance_boxes(annotation, label))
        except ValueError as error:
            excluded[image_id] = str(error)
            continue
        found[image_id] = label, annotation.size or (np.nan, np.nan), boxes
    counts = [len(boxes) for *_, boxes in found.values()]
    return AnnotatedImages(
        image_ids=tuple(found),
        labels=np.array([label for label, *_ in found.values()], dtype=np.int64),
        sizes=np.array([size for _, size, _ in found.values()], dtype=np.float64).reshape(-1, 2),
        boxes=np.concatenate([np.zeros((0, 4)), *(boxes for *_, boxes in found.values())]),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        excluded=tuple(excluded.items()),
    )


def best_instances(
    boxes: NDArray[np.float64], owners: NDArray[np.intp], truth: AnnotatedImages
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """IoU of each box with the instance of its image that it meets best.

    Parameters
    ----------
    boxes : ndarray of float64, shape (R, 4)
        Half-open; neither clipped nor rounded; NaN is "no box".
    owners : ndarray of int, shape (R,)
        The image of each box: a position in `truth`.
    truth : AnnotatedImages

    Returns
    -------
    iou : ndarray of float64, shape (R,)
        In [0, 1]; 0 where there is no box.
    instance : ndarray of int64, shape (R,)
        Row of the instance in ``truth.boxes``, the first of equals; -1 where there is no box or it
        meets none.
    """
    best = np.zeros(len(boxes))
    instance = np.full(len(boxes), -1, dtype=np.int64)
    rows = np.flatnonzero(~np.isnan(boxes).any(axis=1))
    if not rows.size:
        return best, instance
    first = truth.starts[owners[rows]]
    count = truth.starts[owners[rows] + 1] - first
    # One entry for each pair of a box and an instance of its image, box after box.
    pair_starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    pair_row = np.repeat(np.arange(len(rows)), count)
    pair_instance = np.arange(len(pair_row)) - pair_starts[pair_row] + first[pair_row]
    iou = _paired_iou(boxes[rows[pair_row]], truth.boxes[pair_instance])
    best[rows] = np.maximum.reduceat(iou, pair_starts)
    # Written back to front, so that the first of equals stays.
    top = np.flatnonzero((iou == best[rows[pair_row]]) & (iou > 0))[::-1]
    instance[rows[pair_row[top]]] = pair_instance[top]
    return best, instance


def _paired_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of each box with its partner, as `wsl.boxes.box_iou` of two single boxes: (P,)."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - intersection
    iou: NDArray[np.float64] = np.zeros(len(a))
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def _numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    try:
        column = pd.to_numeric(frame[name])
    except (ValueError, TypeError) as error:
        raise ScoreError(f"predictions' column {name!r} must hold numbers: {error}") from error
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _flags(frame: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    try:
        column = frame[name].astype("boolean").fillna(False)
    except (ValueError, TypeError) as error:
        raise ScoreError(
            f"predictions' column {name!r} must hold true or false: {error}"
        ) from error
    return np.asarray(column.to_numpy(dtype=bool))


def _refuse(
    wrong: ArrayLike, image_ids: NDArray[np.object_], message: Callable[[int], str]
) -> None:
    """Raise a ScoreError that names the first wrong row's image."""
    at = np.flatnonzero(wrong)
    if at.size:
        raise ScoreError(f"prediction of image {image_ids[at[0]]!r}: {message(int(at[0]))}")
