"""PxAP: the pixel-wise average precision of maps against masks, all images pooled.

No threshold is chosen: the estimate is the area under the precision-recall curve over all of them.

References
----------
J. Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import box_to_mask, centered_box
from wsl.errors import ScoreError
from wsl.masks import Mask
from wsl.score.estimates import Estimate, PoissonBootstrap, percentile_interval
from wsl.score.maps import check_unit_map
from wsl.score.protocols.max_box_acc import MAP_SIDE, threshold_grid
from wsl.score.result import Baseline, Scores

__all__ = ["PxAP", "average_precision", "scaled_mask"]

_Floats = NDArray[np.float64]


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
    found = positive[..., ::-1].cumsum(axis=-1)
    wrong = negative[..., ::-1].cumsum(axis=-1)
    precision = np.divide(found, found + wrong, out=np.zeros_like(found), where=found + wrong > 0)
    total = found[..., -1:]
    recall = np.divide(found, total, out=np.full_like(found, np.nan), where=total > 0)
    return np.asarray((precision * np.diff(recall, axis=-1, prepend=0.0)).sum(axis=-1))


class PxAP:
    """PxAP over images that are added one at a time; only histograms are kept.

    Parameters
    ----------
    step : float
        Width of the histogram's bins; the score 1.0 has a bin of its own.
    center_side, center_chosen
        Side of the centered box of the baseline, and how it was chosen.
    seed : int
        Of the bootstrap over images.
    """

    def __init__(
        self,
        *,
        step: float = 0.001,
        center_side: float = 0.75,
        center_chosen: str = "fixed in advance",
        seed: int = 0,
    ) -> None:
        self._edges = np.append(threshold_grid(step), 1.0)
        side = (MAP_SIDE, MAP_SIDE)
        self._center = (center_side, center_chosen)
        self._in_center = box_to_mask(centered_box(side, center_side), side).ravel()
        # Two histograms of the map (background, foreground), then two of the centered box.
        self._split = 2 * len(self._edges)
        self._sums = np.zeros(self._split + 4)
        self._bootstrap = PoissonBootstrap(len(self._sums), seed=seed)
        self.n = 0

    def add(
        self, map_: ArrayLike, masks: Sequence[Mask], *, ignore: Mask | None = None, name: str
    ) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (224, 224)
            Map of the ground-truth class, in [0, 1]; see
        `wsl.score.protocols.max_box_acc.prepare_map`. masks : sequence of ndarray of bool, shape
            (H, W) The instances; their union is the foreground.
        ignore : ndarray of bool, shape (H, W), or None
            Pixels that do not count, unless they are foreground.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, or a mask is no mask.
        """
        array = check_unit_map(map_, name=name)
        if array.shape != (MAP_SIDE, MAP_SIDE):
            raise ScoreError(
                f"map of {name}: must be {MAP_SIDE} × {MAP_SIDE}, but is {array.shape[0]} × "
                f"{array.shape[1]}: prepare it first"
            )
        foreground = np.zeros(array.shape, dtype=bool)
        for mask in masks:
            foreground |= scaled_mask(mask)
        counted = np.ones(array.shape, dtype=bool)
        if ignore is not None:
            counted = ~scaled_mask(ignore) | foreground
        values, positive = array[counted], foreground[counted]
        bins = np.searchsorted(self._edges, values, side="right") - 1
        width = len(self._edges)
        histogram = np.bincount(bins + width * positive, minlength=2 * width)
        inside = self._in_center[counted.ravel()]
        fixed = np.bincount(inside + 2 * positive, minlength=4)
        vector = np.concatenate([histogram, fixed])
        self._sums += vector
        self._bootstrap.add(vector)
        self.n += 1

    def scores(self, *, dataset: str = "") -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            The estimate ``px_ap``, a proportion (not in percent); n counts images.

        Raises
        ------
        ScoreError
            If nothing was added, or no pixel is foreground.
        """
        if not self.n:
            raise ScoreError("PxAP needs at least one image, but there is none")
        replicates, _ = self._bootstrap.sums()
        side, chosen = self._center
        whole = Baseline(
            "whole image",
            "a constant map: the proportion of foreground",
            (self._estimate(_constant(self._sums), _constant(replicates)),),
        )
        center = Baseline(
            f"centered box {side:g}",
            f"1 in a centered box, each side {side:g} of the image's, {chosen}, and 0 outside",
            (self._estimate(self._sums[self._split :], replicates[:, self._split :]),),
        )
        return Scores(
            protocol="pxap",
            dataset=dataset,
            estimates=(self._estimate(self._sums[: self._split], replicates[:, : self._split]),),
            baselines=(whole, center),
            counts={"scored": self.n},
            notes=("no threshold is chosen: all of them are pooled",),
        )

    def _estimate(self, sums: _Floats, replicates: _Floats) -> Estimate:
        value = float(average_precision(*_halves(sums)))
        if np.isnan(value):
            raise ScoreError("PxAP needs foreground pixels, but the masks have none")
        redrawn = average_precision(*_halves(replicates))
        low, high = percentile_interval(redrawn[~np.isnan(redrawn)])
        return Estimate("px_ap", value, self.n, low, high, "mean", interval="bootstrap")


def _halves(sums: _Floats) -> tuple[_Floats, _Floats]:
    """Histograms of the foreground and of the background."""
    half = sums.shape[-1] // 2
    return sums[..., half:], sums[..., :half]


def _constant(sums: _Floats) -> _Floats:
    """Histograms, of one bin each, of a map that is the same everywhere."""
    fixed = sums[..., -4:]
    return np.stack([fixed[..., :2].sum(axis=-1), fixed[..., 2:].sum(axis=-1)], axis=-1)
