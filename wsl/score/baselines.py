"""The trivial localizations that every run has to beat: the whole image, and a centered box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.boxes import box_to_mask
from wsl.errors import ScoreError
from wsl.masks import Mask
from wsl.score.estimates import Estimate
from wsl.score.result import Baseline

CENTER_SIDE = 0.75
"""Side of the centered box where none was chosen."""


@dataclass(frozen=True)
class TrivialBoxes:
    """The whole image, then a centered box."""

    side: float = CENTER_SIDE
    """Side of the centered box as a fraction of the image's, in (0, 1]."""
    origin: str = "fixed in advance"
    """Where the side was chosen."""

    def __post_init__(self) -> None:
        if not 0 < self.side <= 1:
            raise ScoreError(f"the centered box's side must be in (0, 1], but is {self.side}")

    def boxes(self, sizes: ArrayLike) -> NDArray[np.float64]:
        """Both boxes in images of given sizes.

        Parameters
        ----------
        sizes : array_like, shape (N, 2)
            (height, width); NaN where unknown.

        Returns
        -------
        ndarray of float64, shape (2, N, 4)
            NaN in images of unknown size.
        """
        ends = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)[:, ::-1]
        starts = [ends * (1 - side) / 2 for side in (1.0, self.side)]
        return np.stack([np.hstack([start, ends - start]) for start in starts])

    def masks(self, size: tuple[int, int]) -> tuple[Mask, Mask]:
        """Both boxes, filled, in an image of one size."""
        whole, center = (box_to_mask(tuple(box), size) for box in self.boxes([size])[:, 0].tolist())
        return whole, center

    def baselines(
        self, estimates: Callable[[int], tuple[Estimate, ...]], *, what: str = "box"
    ) -> tuple[Baseline, Baseline]:
        """Describe both with their estimates.

        Parameters
        ----------
        estimates : callable
            From 0 (the whole image) or 1 (the centered box) to the estimates.
        what : str
            What is the box: ``box``, ``mask`` or ``map``.
        """
        side = f"{self.side:g}"
        whole = Baseline("whole image", f"the {what} is the whole image", estimates(0))
        note = f"the {what} is a centered box, each side {side} of the image's, {self.origin}"
        return whole, Baseline(f"centered box {side}", note, estimates(1))
