"""mIoU of label images over a dataset's pixels.

References
----------
M. Everingham et al., "The PASCAL Visual Object Classes challenge: a retrospective", IJCV 111
(2015), sec. 4.3 (mIoU with a label that is ignored).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.errors import ScoreError
from wsl.score.estimates import Estimate, PoissonBootstrap, exact_mean, symmetric_interval
from wsl.score.result import Baseline, Scores

IGNORED = 255

_Ints = NDArray[np.int64]


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
        mean = exact_mean(occurring)
        low, high = symmetric_interval(mean, np.nanmean(redrawn[some], axis=1), self.n)
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
