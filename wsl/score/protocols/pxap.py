"""PxAP: the pixel-wise average precision of maps against masks, all images pooled.

No threshold is chosen: the metric is the area under the precision-recall curve over all of them.
An image without foreground counts, with its background. Masks are resized once, from the size that
they are stored in. Pixels of the dataset's ignore mask, and of instances that it marks to be
ignored, do not count unless they are foreground.

References
----------
J. Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.masks import Mask, mask_to_box
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, PoissonBootstrap, accelerated_interval
from wsl.score.evaluator import check_prepared, evaluator_map, threshold_grid
from wsl.score.image_list import ImageList
from wsl.score.maps import MAP_SIDE
from wsl.score.protocol import MapOptions
from wsl.score.result import Curve, Scores

_Floats = NDArray[np.float64]


class PxAPOptions(MapOptions):
    """Options of the protocol ``pxap``."""

    summary: ClassVar[str] = "maps: average precision of their pixels against masks"
    reference: ClassVar[str] = "Choe et al., CVPR 2020"

    protocol: Literal["pxap"] = "pxap"
    step: float = Field(0.001, gt=0, lt=1)
    """Width of the histogram's bins; the value 1 has a bin of its own."""

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the maps of a run or of a folder."""
        scorer, listed = PxAP(self, boxes), ImageList.of(dataset)
        for image in self.images(folder, dataset, listed):
            name = image.image_id
            map_ = evaluator_map(image.saliency, name=name, stored=self.maps is not None)
            scorer.add(map_, image.stored_masks(), ignore=image.stored_ignored(), name=name)
        return listed.described(scorer.scores())


def scaled_mask(mask: Mask) -> Mask:
    """Bring a mask to 224 × 224 pixels by nearest neighbor.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ScoreError(
            f"a mask must be a (H, W) array of bool, but is {mask.dtype} of shape {mask.shape}"
        )
    # As float32, like the authors' program: OpenCV picks the same neighbors in both.
    numbers = mask.astype(np.float32)
    scaled = cv2.resize(numbers, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(scaled > 0.5)


def average_precision(positive: _Floats, negative: _Floats) -> _Floats:
    """Area under precision-recall curves from histograms of scores.

    Parameters
    ----------
    positive, negative : ndarray of float64, shape (..., B)
        Foreground and background pixels per bin of scores, in ascending order.

    Returns
    -------
    ndarray of float64, shape (...)
        The sum over bins, from the highest scores down, of precision times the step of recall; in
        [0, 1]. NaN where there is no foreground.
    """
    recall, precision = _precision_recall(positive, negative)
    return np.asarray((precision * np.diff(recall, axis=-1, prepend=0.0)).sum(axis=-1))


def _precision_recall(positive: _Floats, negative: _Floats) -> tuple[_Floats, _Floats]:
    found = positive[..., ::-1].cumsum(axis=-1)
    wrong = negative[..., ::-1].cumsum(axis=-1)
    precision = np.divide(found, found + wrong, out=np.zeros_like(found), where=found + wrong > 0)
    total = found[..., -1:]
    recall = np.divide(found, total, out=np.full_like(found, np.nan), where=total > 0)
    return recall, precision


class PxAP:
    """PxAP over images that are added one at a time; only histograms are kept.

    Parameters
    ----------
    options : PxAPOptions
    boxes : TrivialBoxes
        The baselines.
    """

    def __init__(
        self, options: PxAPOptions | None = None, boxes: TrivialBoxes | None = None
    ) -> None:
        self.options = options or PxAPOptions()
        self._boxes = boxes or TrivialBoxes()
        self._edges = np.append(threshold_grid(self.options.step), 1.0)
        x0, y0, x1, y1 = mask_to_box(self._boxes.masks((MAP_SIDE, MAP_SIDE))[1]) or (0, 0, 0, 0)
        self._center = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        # Two histograms of the map (background, foreground), then two of the centered box.
        self._split = 2 * len(self._edges)
        self._sums = np.zeros(self._split + 4)
        self._bootstrap = PoissonBootstrap(len(self._sums), seed=self.options.seed)
        self.n = 0

    def add(
        self,
        map_: ArrayLike,
        masks: Sequence[Mask],
        *,
        ignore: Sequence[Mask] | Mask | None = None,
        name: str,
    ) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (224, 224)
            Map of the ground-truth class, in [0, 1]; see
            `wsl.score.evaluator.evaluator_map`.
        masks : sequence of ndarray of bool, shape (H, W)
            The instances, each of any size; their union is the foreground.
        ignore : ndarray of bool, shape (H, W), or a sequence of them, or None
            Pixels that do not count, unless they are foreground.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, or a mask is no mask.
        """
        array = check_prepared(map_, name=name)
        ignored = [ignore] if isinstance(ignore, np.ndarray) else list(ignore or ())
        foreground, out = _scaled_union(masks), _scaled_union(ignored)
        # 0 is background, 1 foreground; what is 2 does not count.
        kind = foreground + 2 * (out & ~foreground)
        width = len(self._edges)
        bins = self._bins(array.ravel()) + width * kind.ravel()
        histogram = np.bincount(bins, minlength=2 * width)[: 2 * width]
        inside = np.bincount(kind[self._center].ravel(), minlength=2)[:2]
        outside = histogram.reshape(2, width).sum(axis=1) - inside
        vector = np.concatenate([histogram, np.stack([outside, inside], axis=1).ravel()])
        self._sums += vector
        self._bootstrap.add(vector)
        self.n += 1

    def _bins(self, values: _Floats) -> NDArray[np.int64]:
        """Position of the last edge at or below each value."""
        # Never too low, but one too high just below an edge.
        bins = (values * (1 / self.options.step) + 1e-6).astype(np.int64)
        bins -= self._edges[bins] > values
        bins[values == 1] = len(self._edges) - 1
        return bins

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            The estimate ``px_ap``, a proportion (not in percent); n counts images. Its curve is
            precision over recall.

        Raises
        ------
        ScoreError
            If nothing was added, or no pixel is foreground.
        """
        if not self.n:
            raise ScoreError("PxAP needs at least one image, but there is none")
        replicates, _ = self._bootstrap.sums()
        own, fixed = self._sums[: self._split], self._sums[self._split :]
        constant = (_constant(fixed), _constant(replicates[:, self._split :]))
        centered = (fixed, replicates[:, self._split :])
        recall, precision = (curve.tolist() for curve in _precision_recall(*_halves(own)))
        return Scores(
            protocol=self.options.protocol,
            estimates=self._estimate(own, replicates[:, : self._split]),
            baselines=self._boxes.baselines(
                lambda which: self._estimate(*(constant, centered)[which]), what="map"
            ),
            counts={"scored": self.n},
            notes=("no threshold is chosen: all of them are pooled",),
            curves={"px_ap": Curve("recall", tuple(recall), tuple(precision))},
        )

    def _estimate(self, sums: _Floats, replicates: _Floats) -> tuple[Estimate]:
        value = float(average_precision(*_halves(sums)))
        if np.isnan(value):
            raise ScoreError("PxAP needs foreground pixels, but the masks have none")
        redrawn = average_precision(*_halves(replicates))
        low, high = accelerated_interval(value, redrawn[~np.isnan(redrawn)], self.n)
        return (Estimate("px_ap", value, self.n, low, high, "mean", interval="bootstrap"),)


def _scaled_union(masks: Sequence[Mask]) -> Mask:
    union = np.zeros((MAP_SIDE, MAP_SIDE), dtype=bool)
    for mask in masks:
        union |= scaled_mask(mask)
    return union


def _halves(sums: _Floats) -> tuple[_Floats, _Floats]:
    """Histograms of the foreground and of the background."""
    half = sums.shape[-1] // 2
    return sums[..., half:], sums[..., :half]


def _constant(sums: _Floats) -> _Floats:
    """Histograms, of one bin each, of a map that is the same everywhere."""
    return np.stack([sums[..., :2].sum(axis=-1), sums[..., 2:].sum(axis=-1)], axis=-1)
