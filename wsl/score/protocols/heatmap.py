"""The heat-map-to-box protocol of the attribution papers: one box per map, by one threshold.

The ground-truth class is known. Its map is scaled to the image's size and to [0, 1]; the box is
the tightest one around all pixels that the rule keeps; it is right if its IoU with an instance is
at least 0.5. The rule's one number, alpha, is chosen on held-out images and then frozen. Instances
that a dataset marks to be ignored are left out; the papers' data have none.

References
----------
C. Cao et al., "Look and think twice: capturing top-down visual attention with feedback
convolutional neural networks", ICCV 2015 (energy); J. Zhang et al., "Top-down neural attention by
excitation backprop", ECCV 2016 (mean); R. Fong, A. Vedaldi, "Interpretable explanations of black
boxes by meaningful perturbation", ICCV 2017, sec. 5.2 (all three).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from wsl.boxes import Box, as_boxes, box_iou
from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.image_list import ImageList
from wsl.score.images import boxed_class
from wsl.score.maps import Map, check_map, resize_map
from wsl.score.protocol import MapOptions
from wsl.score.result import Curve, Scores

Rule = Literal["value", "energy", "mean"]

_RIGHT_IOU = 0.5

ALPHAS: dict[Rule, tuple[float, ...]] = {
    "value": tuple(index / 20 for index in range(20)),
    "energy": tuple(index / 20 for index in range(1, 20)),
    "mean": tuple(index / 2 for index in range(21)),
}
"""What is tried where alpha is not given."""


class HeatmapOptions(MapOptions):
    """Options of the protocol ``heatmap``."""

    summary: ClassVar[str] = "maps: one box each, by one threshold"
    reference: ClassVar[str] = "Zhang et al., ECCV 2016; Fong and Vedaldi, ICCV 2017"

    protocol: Literal["heatmap"] = "heatmap"
    rule: Rule = "value"
    """What is kept of a map: the pixels above alpha (``value``), the smallest set of top pixels
    with a fraction alpha of the map's sum (``energy``), or the pixels above alpha times the map's
    mean (``mean``)."""
    alpha: float | None = Field(None, ge=0)
    """An alpha chosen on other images; null takes the best on the scored images, an oracle."""

    @model_validator(mode="after")
    def _within_range(self) -> HeatmapOptions:
        if self.alpha is not None and self.alpha > 1 and self.rule != "mean":
            raise ValueError(
                f"alpha of the rule {self.rule} must be in [0, 1], but is {self.alpha}"
            )
        return self

    @property
    def alphas(self) -> tuple[float, ...]:
        """What is tried."""
        return ALPHAS[self.rule] if self.alpha is None else (self.alpha,)

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the maps of a run or of a folder."""
        scorer, listed = Heatmap(self, boxes), ImageList.of(dataset)
        for image in self.images(folder, dataset, listed, boxed_class):
            scorer.add(image.saliency, image.boxes(), image.size, name=image.image_id)
        return listed.described(scorer.scores())


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
        Half-open. Where no pixel is kept: of the rule ``mean`` the whole image, as in the program
        of Zhang et al.; else None.

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
    if rule == "value":
        return [_span(rows > alpha, columns > alpha) for alpha in alphas]
    whole, mean = (0, 0, len(columns), len(rows)), float(map_.mean())
    return [_span(rows > alpha * mean, columns > alpha * mean) or whole for alpha in alphas]


class Heatmap:
    """Localization error of maps by one rule, over images that are added one at a time.

    To choose alpha: add held-out images without an alpha, then take the ``chosen`` of the curve.
    To score: add the other images with that alpha.

    Parameters
    ----------
    options : HeatmapOptions
    boxes : TrivialBoxes
        The baselines.
    """

    def __init__(
        self, options: HeatmapOptions | None = None, boxes: TrivialBoxes | None = None
    ) -> None:
        self.options = options or HeatmapOptions()
        self._boxes = boxes or TrivialBoxes()
        self._ious: list[list[float]] = []
        self._fixed: list[tuple[float, float]] = []

    def add(
        self,
        map_: ArrayLike | None,
        boxes: ArrayLike,
        size: tuple[int, int] | None,
        *,
        name: str,
    ) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (h, w), or None
            Map of the ground-truth class; any finite values. None is wrong.
        boxes : array_like, shape (N, 4)
            Boxes of the ground-truth class's instances: half-open, in pixels of the image.
        size : (int, int) or None
            The image's (height, width). Without it nothing is right.
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
        found: list[Box | None] = [None] * len(self.options.alphas)
        if map_ is not None and size is not None:
            unit = unit_map(map_, size, name=name)
            found = heatmap_boxes(unit, self.options.rule, self.options.alphas)
        self._ious.append([_best_iou(box, truth) for box in found])
        fixed = self._boxes.boxes([size])[:, 0].tolist() if size is not None else (None, None)
        self._fixed.append((_best_iou(fixed[0], truth), _best_iou(fixed[1], truth)))

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            Estimates ``heatmap_error`` (proportion of images whose box has an IoU below 0.5) and
            ``heatmap_mean_iou``, at the given alpha or at the one of least error (the first of
            equals).

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._ious:
            raise ScoreError("the heat-map protocol needs at least one image, but there is none")
        ious, fixed = np.array(self._ious), np.array(self._fixed)
        errors, alphas = (ious < _RIGHT_IOU).mean(axis=0), self.options.alphas
        best = int(errors.argmin())
        note = (
            f"alpha = {alphas[0]:g} was given by score.alpha"
            if self.options.alpha is not None
            else f"oracle: alpha = {alphas[best]:g} is the best of {len(alphas)} on the scored "
            "images themselves"
        )
        return Scores(
            protocol=f"heatmap {self.options.rule}",
            estimates=self._estimates(ious[:, best]),
            baselines=self._boxes.baselines(lambda which: self._estimates(fixed[:, which])),
            counts={"scored": len(ious)},
            notes=(note,),
            curves={"heatmap_error": Curve("alpha", alphas, tuple(errors.tolist()), alphas[best])},
        )

    def _estimates(self, ious: NDArray[np.float64]) -> tuple[Estimate, ...]:
        return (
            proportion_estimate("heatmap_error", ious < _RIGHT_IOU, higher_is_better=False),
            mean_estimate("heatmap_mean_iou", ious, seed=self.options.seed),
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
