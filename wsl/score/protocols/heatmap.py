"""The heat-map-to-box protocol of the attribution papers: one box per map, by one threshold.

The ground-truth class is known. Its map is scaled to the image's size and to [0, 1]; the box is
the tightest one around all pixels that the rule keeps; it is right if its IoU with an instance is
at least 0.5. The rule's one number, alpha, is chosen on held-out images and then frozen.

References
----------
C. Cao et al., "Look and think twice: capturing top-down visual attention with feedback
convolutional neural networks", ICCV 2015 (energy); J. Zhang et al., "Top-down neural attention by
excitation backprop", ECCV 2016 (mean); R. Fong, A. Vedaldi, "Interpretable explanations of black
boxes by meaningful perturbation", ICCV 2017, sec. 5.2 (all three).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import Box, as_boxes, box_iou, centered_box
from wsl.errors import ScoreError, choices_hint
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.maps import Map, check_map, resize_map
from wsl.score.result import Baseline, Scores

__all__ = ["ALPHAS", "HeatmapScorer", "HeatmapScores", "Rule", "heatmap_boxes", "unit_map"]

Rule = Literal["value", "energy", "mean"]

_RIGHT_IOU = 0.5

ALPHAS: dict[Rule, tuple[float, ...]] = {
    "value": tuple(index / 20 for index in range(20)),
    "energy": tuple(index / 20 for index in range(1, 20)),
    "mean": tuple(index / 2 for index in range(21)),
}


@dataclass(frozen=True)
class HeatmapScores(Scores):
    """Scores by one rule.

    Attributes
    ----------
    alpha : float
        Alpha at which the estimates stand.
    alphas : tuple of float
        All that were tried.
    curve : tuple of float
        Localization error at each of them.
    """

    alpha: float = 0.0
    alphas: tuple[float, ...] = ()
    curve: tuple[float, ...] = field(default=(), compare=False)


def unit_map(map_: ArrayLike, size: tuple[int, int], *, name: str) -> Map:
    """Scale a map to an image's size (bilinear), then its values to [0, 1].

    Parameters
    ----------
    map_ : array_like, shape (h, w)
        Any finite values.
    size : (int, int)
        The image's (height, width).
    name : str
        The image's id, for messages.

    Returns
    -------
    ndarray of float64, shape (height, width)
        The least value is 0, the greatest 1; a constant map is zeros.
    """
    resized = resize_map(check_map(map_, name=name), size)
    low, high = resized.min(), resized.max()
    return np.zeros(size) if low == high else (resized - low) / (high - low)


def heatmap_boxes(map_: Map, rule: Rule, alphas: Sequence[float]) -> list[Box | None]:
    """Tightest box around the pixels that a rule keeps, for each alpha.

    Parameters
    ----------
    map_ : ndarray of float64, shape (H, W)
        In [0, 1].
    rule : {'value', 'energy', 'mean'}
        Keep the pixels above alpha; the smallest set of top pixels that holds a proportion alpha of
        the map's sum, pixels of equal value being kept or left together; the pixels above alpha
        times the map's mean.
    alphas : sequence of float

    Returns
    -------
    list of Box or None
        Half-open; None where no pixel is kept.

    Examples
    --------
    >>> heatmap_boxes(np.array([[0.0, 0.5, 1.0]]), "value", [0.0, 0.5, 1.0])
    [(1, 0, 3, 1), (2, 0, 3, 1), None]
    """
    # The tightest box around {map > t} needs only the greatest value of each row and column.
    rows, columns = map_.max(axis=1), map_.max(axis=0)
    if rule == "energy":
        return [
            None if np.isnan(least) else _span(rows >= least, columns >= least)
            for least in _energy_values(map_, alphas).tolist()
        ]
    scale = float(map_.mean()) if rule == "mean" else 1.0
    return [_span(rows > alpha * scale, columns > alpha * scale) for alpha in alphas]


class HeatmapScorer:
    """Localization error of maps by one rule, over images that are added one at a time.

    To choose alpha: add held-out images to a scorer without `alpha`, then take
    ``scores().alpha``. To score: add the other images to a scorer with that `alpha`.

    Parameters
    ----------
    rule : {'value', 'energy', 'mean'}
    alpha : float or None
        Frozen, chosen on other images. None: the best of `alphas` on the added images, which is
        an oracle.
    alphas : sequence of float or None
        Tried if `alpha` is None; None is `ALPHAS` of the rule.
    chosen_on : str
        Where a given alpha comes from, for the reader.
    center_side, center_chosen
        Side of the centered box of the baseline, and how it was chosen.
    seed : int
        Of the bootstrap.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        alpha: float | None = None,
        alphas: Sequence[float] | None = None,
        chosen_on: str = "other images",
        center_side: float = 0.75,
        center_chosen: str = "fixed in advance",
        seed: int = 0,
    ) -> None:
        if rule not in get_args(Rule):
            raise ScoreError(f"there is no rule {rule!r}. {choices_hint(rule, get_args(Rule))}")
        tried = ALPHAS[rule] if alphas is None else tuple(alphas)
        self.alphas = tried if alpha is None else (float(alpha),)
        wrong = [a for a in self.alphas if not (a >= 0 and (rule == "mean" or a <= 1))]
        if wrong or not self.alphas:
            span = "0 or more" if rule == "mean" else "in [0, 1]"
            raise ScoreError(f"alpha of the rule {rule!r} must be {span}, but is {wrong or 'none'}")
        self.rule, self._frozen, self._chosen_on = rule, alpha is not None, chosen_on
        self._center, self._seed = (center_side, center_chosen), seed
        self._ious: list[NDArray[np.float64]] = []
        self._fixed: list[tuple[float, float]] = []

    def add(self, map_: ArrayLike, boxes: ArrayLike, size: tuple[int, int], *, name: str) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (h, w)
            Map of the ground-truth class; any finite values.
        boxes : array_like, shape (N, 4)
            Boxes of the ground-truth class's instances: half-open, in pixels of the image.
        size : (int, int)
            The image's (height, width).
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, or there is no box.
        """
        truth = as_boxes(boxes)
        if not len(truth):
            raise ScoreError(f"image {name}: must have at least one ground-truth box, but has none")
        found = heatmap_boxes(unit_map(map_, size, name=name), self.rule, self.alphas)
        self._ious.append(np.array([_best_iou(box, truth) for box in found]))
        whole, center = centered_box(size, 1.0), centered_box(size, self._center[0])
        self._fixed.append((_best_iou(whole, truth), _best_iou(center, truth)))

    def scores(self, *, dataset: str = "") -> HeatmapScores:
        """Score what was added.

        Returns
        -------
        HeatmapScores
            Estimates ``heatmap_error`` (proportion of images whose box has an IoU below 0.5) and
            ``heatmap_mean_iou``, at the frozen alpha or at the one of least error (the first of
            equals).

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._ious:
            raise ScoreError("heat maps' boxes need at least one image, but there is none")
        ious, fixed = np.stack(self._ious), np.array(self._fixed)
        errors = (ious < _RIGHT_IOU).mean(axis=0)
        best = int(errors.argmin())
        side, chosen = self._center
        note = (
            f"alpha = {self.alphas[0]:g} was chosen on {self._chosen_on}"
            if self._frozen
            else f"oracle: alpha = {self.alphas[best]:g} is the best of {len(self.alphas)} on the "
            "scored images themselves"
        )
        return HeatmapScores(
            protocol=f"heatmap {self.rule}",
            dataset=dataset,
            estimates=self._estimates(ious[:, best]),
            baselines=(
                Baseline("whole image", "the box is the whole image", self._estimates(fixed[:, 0])),
                Baseline(
                    f"centered box {side:g}",
                    f"the box is centered, each side {side:g} of the image's, {chosen}",
                    self._estimates(fixed[:, 1]),
                ),
            ),
            counts={"scored": len(ious)},
            notes=(note,),
            alpha=self.alphas[best],
            alphas=self.alphas,
            curve=tuple(errors.tolist()),
        )

    def _estimates(self, ious: NDArray[np.float64]) -> tuple[Estimate, ...]:
        return (
            proportion_estimate("heatmap_error", ious < _RIGHT_IOU, higher_is_better=False),
            mean_estimate("heatmap_mean_iou", ious, seed=self._seed),
        )


def _energy_values(map_: Map, alphas: Sequence[float]) -> NDArray[np.float64]:
    """Least value kept for each alpha; NaN where nothing is kept."""
    descending = np.sort(map_, axis=None)[::-1]
    held = descending.cumsum()
    last = np.searchsorted(held, np.asarray(alphas) * held[-1], side="left")
    values = descending[np.minimum(last, len(held) - 1)]
    # No share, or a proportion of no mass, is held by no pixel.
    return np.where((np.asarray(alphas) > 0) & (held[-1] > 0), values, np.nan)


def _span(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> Box | None:
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    return (int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1) if x.size else None


def _best_iou(box: Box | None, truth: NDArray[np.float64]) -> float:
    return 0.0 if box is None else float(box_iou(box, truth).max())
