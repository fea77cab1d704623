"""From seeds to a mask with scikit-image's random walker (Grady 2006)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from skimage.segmentation import random_walker

from wsl.localize.refiners.base import RefinerOptions
from wsl.localize.seeds import BACKGROUND, FOREGROUND, Seeds, is_foreground
from wsl.masks import Mask


class RandomWalker(RefinerOptions):
    """Each pixel goes to the definite seeds that a random walk from it reaches first.

    Probable seeds are undecided, but on a side without definite seeds they take their place.
    """

    summary: ClassVar[str] = "Each pixel goes to the seeds that a random walk reaches first."
    reference: ClassVar[str] = "Grady 2006, doi:10.1109/TPAMI.2006.233"

    method: Literal["random_walker"] = "random_walker"
    """The refiner."""
    beta: float = Field(130.0, gt=0)
    """How much a difference in color hinders the walk."""

    def _refine(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        random_seed: int,
    ) -> Mask:
        foreground, background = seeds == FOREGROUND, seeds == BACKGROUND
        if not foreground.any():
            foreground = is_foreground(seeds)
        if not background.any():
            background = ~is_foreground(seeds)
        labels = np.select([foreground, background], [1, 2], 0)
        if (labels > 0).all():
            return np.asarray(foreground)
        walked = random_walker(
            image, labels, beta=self.beta, mode="bf", prob_tol=np.inf, channel_axis=-1
        )
        return np.asarray(walked == 1)
