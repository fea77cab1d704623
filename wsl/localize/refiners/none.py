"""No refinement: the foreground seeds are the mask."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from wsl.localize.refiners.base import RefinerOptions
from wsl.localize.seeds import Seeds, is_foreground
from wsl.masks import Mask


class NoRefinement(RefinerOptions):
    """The foreground seeds, definite and probable, are the mask.

    With seeds at a share of the map's maximum this is the map cut at a threshold, as class
    activation maps are used (Zhou et al. 2016 cut at 0.2).
    """

    summary: ClassVar[str] = "The foreground seeds, definite and probable, are the mask."
    follows_color: ClassVar[bool] = False

    method: Literal["none"] = "none"
    """The refiner."""

    def _refine(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        random_seed: int,
    ) -> Mask:
        return is_foreground(seeds)
