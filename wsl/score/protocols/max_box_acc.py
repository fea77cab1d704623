"""MaxBoxAcc and MaxBoxAccV2: how well the boxes of a map can get, at the best common threshold.

Every map is thresholded at every level, and the threshold that serves the scored images best is
taken. That is an oracle, unless the threshold was chosen on other images and is given. The rules,
oddities included, are those of the authors' program: 224 × 224 pixels, ground truth scaled from the
annotated size and truncated to integers, 255 gray levels, a predicted box that ends one pixel past
its contour. The program has no instances to be ignored: those that a dataset marks so are left out.

References
----------
J. Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020; and
"Evaluation for weakly supervised object localization: protocol, metrics, and datasets", TPAMI
2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import Estimate, mean_estimate, proportion_estimate
from wsl.score.evaluator import (
    Floats,
    best_ious,
    check_prepared,
    evaluator_map,
    inclusive_iou,
    scaled_ground_truth,
    threshold_grid,
)
from wsl.score.image_list import ImageList
from wsl.score.images import boxed_class
from wsl.score.maps import MAP_SIDE
from wsl.score.protocol import MapOptions
from wsl.score.result import Curve, Scores


class MaxBoxAccOptions(MapOptions):
    """Options of the protocol ``max_box_acc``."""

    summary: ClassVar[str] = "maps: their best box at the best common threshold"
    reference: ClassVar[str] = "Choe et al., CVPR 2020 and TPAMI 2022"

    protocol: Literal["max_box_acc"] = "max_box_acc"
    step: float = Field(0.001, gt=0, lt=1)
    """Distance of the thresholds tried."""
    threshold: float | dict[str, float] | None = None
    """A threshold in [0, 1) that was chosen on other images: one for all metrics, or one for each
    by name. Null takes each metric's best on the scored images, an oracle."""
    iou_thresholds: tuple[int, ...] = (30, 50, 70)
    """IoUs in percent from which a box is right."""

    @field_validator("iou_thresholds")
    @classmethod
    def _in_percent(cls, ious: tuple[int, ...]) -> tuple[int, ...]:
        if not ious or len(set(ious)) < len(ious) or not all(0 < iou <= 100 for iou in ious):
            raise ValueError(f"must be different numbers in 1 to 100, but are {list(ious)}")
        return ious

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics by IoU: of the largest contour's box, then of all boxes."""
        largest = tuple(f"max_box_acc_{iou}".removesuffix("_50") for iou in self.iou_thresholds)
        return (*largest, *(f"max_box_acc_v2_{iou}" for iou in self.iou_thresholds))

    @property
    def given(self) -> dict[str, float]:
        """The given threshold of each metric; empty if none is given."""
        if self.threshold is None:
            return {}
        same = dict.fromkeys(self.names, self.threshold)
        by_name = self.threshold if isinstance(self.threshold, Mapping) else same
        lacking = [name for name in self.names if name not in by_name]
        if lacking:
            raise ScoreError(f"a threshold must be given for {', '.join(lacking)} as well")
        given = {name: float(by_name[name]) for name in self.names}  # type: ignore[arg-type]
        wrong = [value for value in given.values() if not 0 <= value < 1]
        if wrong:
            raise ScoreError(f"a threshold must be in [0, 1), but is {wrong[0]:g}")
        return given

    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score the maps of a run or of a folder."""
        scorer, listed = MaxBoxAcc(self, boxes), ImageList.of(dataset)
        for image in self.images(folder, dataset, listed, boxed_class):
            name = image.image_id
            map_ = evaluator_map(image.saliency, name=name, stored=self.maps is not None)
            scorer.add(map_, image.boxes(), image.size, name=name)
        return listed.described(scorer.scores())


class MaxBoxAcc:
    """MaxBoxAcc and MaxBoxAccV2 over images that are added one at a time.

    Parameters
    ----------
    options : MaxBoxAccOptions
    boxes : TrivialBoxes
        The baselines.
    """

    def __init__(
        self, options: MaxBoxAccOptions | None = None, boxes: TrivialBoxes | None = None
    ) -> None:
        self.options = options or MaxBoxAccOptions()
        self._boxes = boxes or TrivialBoxes()
        given = sorted(set(self.options.given.values()))
        self.thresholds = np.array(given) if given else threshold_grid(self.options.step)
        self._levels = np.array(self.options.iou_thresholds) / 100
        self._shape = (len(self.thresholds), len(self.options.names))
        fixed = self._boxes.boxes([(MAP_SIDE, MAP_SIDE)])[:, 0] - (0, 0, 1, 1)
        self._fixed = np.trunc(fixed).astype(np.int64)
        # One bit per image, threshold and metric.
        self._hits: list[NDArray[np.uint8]] = []
        self._fixed_hits: list[NDArray[np.bool_]] = []

    def add(
        self, map_: ArrayLike, boxes: ArrayLike, size: tuple[int, int] | None, *, name: str
    ) -> None:
        """Add one image.

        Parameters
        ----------
        map_ : array_like, shape (224, 224)
            Map of the ground-truth class, in [0, 1]; see `evaluator_map`.
        boxes : array_like, shape (N, 4)
            Boxes of the ground-truth class's instances: half-open, in pixels of the image.
        size : (int, int) or None
            The image's annotated (height, width). Without it nothing is right.
        name : str
            The image's id, for messages.

        Raises
        ------
        ScoreError
            If the map is no such map, or the boxes are none, reversed or negative.
        """
        array = check_prepared(map_, name=name)
        fixed = np.zeros((2, len(self._levels)), dtype=bool)
        hits = np.zeros(self._shape, dtype=bool)
        if size is not None:
            try:
                truth = scaled_ground_truth(boxes, size)
            except (ScoreError, ValueError) as error:
                raise ScoreError(f"image {name}: {error}") from error
            fixed = inclusive_iou(self._fixed, truth).max(axis=1)[:, None] >= self._levels
            ious = best_ious(array, truth, self.thresholds)
            hits = (ious[:, :, None] >= self._levels).reshape(self._shape)
        self._hits.append(np.packbits(hits))
        self._fixed_hits.append(fixed)

    def scores(self) -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            Estimates ``max_box_acc`` (largest contour, IoU 0.5) and ``max_box_acc_30``, …;
            ``max_box_acc_v2`` (all contours, mean over the IoUs, each at its own threshold) and
            its parts ``max_box_acc_v2_30``, …; with their curves over the thresholds.

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._hits:
            raise ScoreError("MaxBoxAcc needs at least one image, but there is none")
        names, n = self.options.names, len(self._hits)
        packed, cells = np.stack(self._hits), self._shape[0] * self._shape[1]
        totals = np.zeros(cells, dtype=np.int64)
        for bits in packed:
            totals += np.unpackbits(bits, count=cells)
        curves = totals.reshape(self._shape) / n
        at = self._chosen(curves)
        cell = at * len(names) + np.arange(len(names))
        hits = (packed[:, cell >> 3] >> (7 - (cell & 7)).astype(np.uint8)) & 1 > 0
        fixed = np.stack(self._fixed_hits, axis=1)
        return Scores(
            protocol=self.options.protocol,
            estimates=self._estimates(hits),
            baselines=self._boxes.baselines(
                lambda which: self._estimates(np.tile(fixed[which], 2))
            ),
            counts={"scored": n},
            notes=(self._note(),),
            curves={
                name: Curve(
                    "threshold",
                    tuple(self.thresholds.tolist()),
                    tuple(curves[:, column].tolist()),
                    float(self.thresholds[at[column]]),
                )
                for column, name in enumerate(names)
            },
        )

    def _chosen(self, curves: Floats) -> NDArray[np.intp]:
        """Position of each metric's threshold: the given one, or the best, first of equals."""
        given = self.options.given
        if given:
            places = [int(np.searchsorted(self.thresholds, given[name])) for name in given]
            return np.array(places)
        return np.asarray(curves.argmax(axis=0))

    def _estimates(self, hits: NDArray[np.bool_]) -> tuple[Estimate, ...]:
        """Estimates from hits by image and metric, (n, metrics)."""
        names, half = self.options.names, len(self._levels)
        parts = [proportion_estimate(name, hits[:, at]) for at, name in enumerate(names)]
        mean = mean_estimate("max_box_acc_v2", hits[:, half:].mean(axis=1), seed=self.options.seed)
        parts.sort(key=lambda one: (one.name != "max_box_acc", names.index(one.name)))
        return (*parts[:half], mean, *parts[half:])

    def _note(self) -> str:
        if self.options.threshold is not None:
            return "the thresholds were given by score.threshold"
        return (
            f"oracle: each metric is at the best of {len(self.thresholds)} thresholds on the "
            "scored images themselves"
        )
