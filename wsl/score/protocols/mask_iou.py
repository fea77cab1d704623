"""Scores of masks: IoU per image, and mIoU over a dataset's pixels.

The ground truth of an image is the union of its class's instances. Pixels of the dataset's ignore
mask (VOC's void), and of instances that it marks to be ignored, do not count.

References
----------
M. Everingham et al., "The PASCAL Visual Object Classes challenge: a retrospective", IJCV 111
(2015), sec. 4.3 (mIoU with a label that is ignored).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.masks import Mask, mask_iou
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import (
    Estimate,
    PoissonBootstrap,
    exact_mean,
    mean_estimate,
    percentile_interval,
)
from wsl.score.image_list import ImageList
from wsl.score.images import scored_images
from wsl.score.protocol import ScoreOptions, needs_run
from wsl.score.result import Baseline, Scores

IGNORED = 255

_Ints = NDArray[np.int64]


class MaskPair(NamedTuple):
    """A predicted and a true mask of one image, each (H, W) bool."""

    image_id: str
    predicted: Mask | None
    true: Mask
    ignored: Mask | None = None
    """Pixels that do not count."""


class MaskMetric(Protocol):
    """A pure function that compares two masks of one size."""

    def __call__(self, predicted: Mask, true: Mask, ignored: Mask, /) -> float:
        """Return the metric, in [0, 1]."""


class MaskOptions(ScoreOptions):
    """Options of the protocols that compare masks."""

    protocol: str

    @abstractmethod
    def metrics(self) -> Mapping[str, MaskMetric]:
        """Return the metrics by the name of their estimate."""

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the masks of a run's ground-truth classes."""
        run, listed = needs_run(folder, self.protocol), ImageList.of(dataset)

        def pairs() -> Iterator[MaskPair]:
            for image in scored_images(dataset, run, listed, allow_partial=self.allow_partial):
                found = image.localization
                yield MaskPair(
                    image.image_id,
                    None if found is None else found.mask,
                    image.foreground(),
                    image.ignored(),
                )

        return listed.described(self.score_pairs(pairs(), boxes))

    def score_pairs(self, pairs: Iterable[MaskPair], boxes: TrivialBoxes | None = None) -> Scores:
        """Score pairs of masks, one at a time; see `score_masks`."""
        boxes = boxes or TrivialBoxes()
        metrics = self.metrics()
        # By image: the prediction, the whole image, the centered box; then by metric.
        values: list[list[list[float]]] = []
        for image_id, predicted, true, ignored in pairs:
            try:
                size = (true.shape[0], true.shape[1])
                out = np.zeros(size, dtype=bool) if ignored is None else ignored
                whole, center = boxes.masks(size)
                values.append(
                    [
                        [0.0 if mask is None else f(mask, true, out) for f in metrics.values()]
                        for mask in (predicted, whole, center)
                    ]
                )
            except ValueError as error:
                raise ScoreError(f"image {image_id}: {error}") from error
        if not values:
            raise ScoreError("mask scores need at least one image, but there is none")
        table = np.array(values)

        def estimates(of: int) -> tuple[Estimate, ...]:
            return tuple(
                mean_estimate(name, table[:, of, at], seed=self.seed)
                for at, name in enumerate(metrics)
            )

        return Scores(
            protocol=self.protocol,
            estimates=estimates(0),
            baselines=boxes.baselines(lambda which: estimates(1 + which), what="mask"),
            counts={"scored": len(table)},
        )


class MaskIoUOptions(MaskOptions):
    """Options of the protocol ``mask_iou``."""

    summary: ClassVar[str] = "masks: mean IoU with the true ones"

    protocol: Literal["mask_iou"] = "mask_iou"

    def metrics(self) -> Mapping[str, MaskMetric]:
        """Return the metrics by the name of their estimate."""
        return {"mask_iou": _counted_iou}


def _counted_iou(predicted: Mask, true: Mask, ignored: Mask) -> float:
    mask_iou(predicted, true)  # refuses what is no mask
    return mask_iou(predicted & ~ignored, true & ~ignored)


def score_masks(
    pairs: Iterable[MaskPair | tuple[str, Mask | None, Mask]],
    options: MaskOptions | None = None,
    boxes: TrivialBoxes | None = None,
) -> Scores:
    """Compare predicted masks with the true ones.

    Parameters
    ----------
    pairs : iterable of MaskPair or tuple
        Image id, predicted mask (None if there is none: 0), true mask, and pixels to be ignored.
        They are taken one at a time. Two empty masks have IoU 0.
    options : MaskOptions
        Those of ``mask_iou`` by default.
    boxes : TrivialBoxes
        The baselines.

    Returns
    -------
    Scores
        The mean of each metric over the images.

    Raises
    ------
    ScoreError
        If the masks of an image differ in size or are none, or there is no image.
    """
    return (options or MaskIoUOptions()).score_pairs((MaskPair(*pair) for pair in pairs), boxes)


class MeanIoU:
    """mIoU of label images, over the pixels of all images, which are added one at a time.

    Parameters
    ----------
    classes : int
        Number of classes, the background being one of them.
    ignored : int
        Pixels with this label in the ground truth do not count.
    seed : int
        Seed of the bootstrap over images.
    """

    def __init__(self, classes: int, *, ignored: int = IGNORED, seed: int = 0) -> None:
        if classes < 1 or 0 <= ignored < classes:
            raise ScoreError(
                f"there must be one class or more, and the ignored label none of them, but got "
                f"{classes} classes and label {ignored}"
            )
        self.classes, self.ignored = classes, ignored
        self.confusion: _Ints = np.zeros((classes, classes), dtype=np.int64)
        self._bootstrap = PoissonBootstrap(2 * classes, seed=seed)
        self.n = 0

    def add(self, predicted: NDArray[np.integer], true: NDArray[np.integer], *, name: str) -> None:
        """Add one image.

        Parameters
        ----------
        predicted, true : ndarray of int, shape (H, W)
            Labels in 0 to classes - 1; in `true` also the ignored one.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If sizes differ, or a label that counts is no class.
        """
        if predicted.shape != true.shape or predicted.ndim != 2:
            raise ScoreError(
                f"image {name}: predicted and true labels must have one (height, width), but have "
                f"{predicted.shape} and {true.shape}"
            )
        counted = true != self.ignored
        p, t = predicted[counted].astype(np.int64), true[counted].astype(np.int64)
        for which, labels in (("predicted", p), ("true", t)):
            if labels.size and (labels.min() < 0 or labels.max() >= self.classes):
                worst = labels.max() if labels.max() >= self.classes else labels.min()
                raise ScoreError(
                    f"image {name}: {which} labels must be in 0 to {self.classes - 1}, but one is "
                    f"{worst}"
                )
        cells = np.bincount(t * self.classes + p, minlength=self.classes**2)
        confusion = cells.reshape(self.classes, self.classes)
        self.confusion += confusion
        self._bootstrap.add(np.concatenate(_overlaps(confusion)))
        self.n += 1

    def by_class(self) -> NDArray[np.float64]:
        """IoU of each class, shape (classes,); NaN for a class of neither side."""
        return _ratios(*_overlaps(self.confusion))

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            The estimate ``miou``, the mean over the classes that occur, predicted or true; n counts
            images.

        Raises
        ------
        ScoreError
            If no pixel counts.
        """
        found = self.by_class()
        occurring = found[~np.isnan(found)]
        if not occurring.size:
            raise ScoreError("mIoU needs at least one pixel that counts, but there is none")
        sums, _ = self._bootstrap.sums()
        redrawn = _ratios(sums[:, : self.classes], sums[:, self.classes :])
        some = ~np.isnan(redrawn).all(axis=1)
        low, high = percentile_interval(np.nanmean(redrawn[some], axis=1))
        mean = exact_mean(occurring)
        return Scores(
            protocol="miou",
            estimates=(Estimate("miou", mean, self.n, low, high, "mean", interval="bootstrap"),),
            baselines=(self._all_background(),),
            counts={"scored": self.n, "classes": int(occurring.size)},
            notes=(f"pixels labeled {self.ignored} do not count",),
        )

    def _all_background(self) -> Baseline:
        """Everything predicted as class 0: its own fraction of the pixels, over true classes."""
        true = self.confusion.sum(axis=1)
        ious = np.where(np.arange(self.classes) == 0, true / max(int(true.sum()), 1), 0.0)
        occurring = (true > 0) | (np.arange(self.classes) == 0)
        mean = exact_mean(ious[occurring])
        estimate = Estimate("miou", mean, self.n, mean, mean, "mean", interval="bootstrap")
        return Baseline("all class 0", "every pixel is of class 0", (estimate,))


def _overlaps(confusion: _Ints) -> tuple[_Ints, _Ints]:
    """Intersection and union of each class, from true classes (rows) and predicted (columns)."""
    intersection = np.diagonal(confusion)
    return intersection, confusion.sum(axis=0) + confusion.sum(axis=1) - intersection


def _ratios(intersection: ArrayLike, union: ArrayLike) -> NDArray[np.float64]:
    whole = np.asarray(union, dtype=np.float64)
    ratios: NDArray[np.float64] = np.full(whole.shape, np.nan)
    np.divide(intersection, whole, out=ratios, where=whole > 0)
    return ratios
