"""Scores of masks: IoU per image.

The ground truth of an image is the union of its class's instances. Pixels of the dataset's ignore
mask (VOC's void), and of instances that it marks to be ignored, do not count.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.masks import Mask, mask_iou
from wsl.run.folder import RunFolder
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import (
    Estimate,
    mean_estimate,
)
from wsl.score.image_list import ImageList
from wsl.score.images import scored_images
from wsl.score.protocol import ScoreOptions, needs_run
from wsl.score.result import Scores


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
        """Compare predicted masks with the true ones.

        Parameters
        ----------
        pairs : iterable of MaskPair
            Taken one at a time. A predicted mask that is None scores 0, as do two empty masks.
        boxes : TrivialBoxes
            The baselines.

        Raises
        ------
        ScoreError
            If the masks of an image differ in size or are none, or there is no image.
        """
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
