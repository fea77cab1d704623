"""From seeds to a mask with OpenCV's GrabCut (Rother, Kolmogorov and Blake 2004)."""

from __future__ import annotations

from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.localize.refiners.base import RefinerOptions
from wsl.localize.seeds import Seeds, is_foreground
from wsl.masks import Mask


class GrabCut(RefinerOptions):
    """Alternating color models and graph cuts; definite seeds keep their side."""

    summary: ClassVar[str] = "Alternating color models of both sides and graph cuts."
    reference: ClassVar[str] = "Rother, Kolmogorov, Blake 2004, doi:10.1145/1015706.1015720"

    method: Literal["grabcut"] = "grabcut"
    """The refiner."""
    iterations: int = Field(5, ge=1, le=100)
    """Rounds of color models and cut."""

    def _refine(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        random_seed: int,
    ) -> Mask:
        labels, _, _ = color_models(image, seeds, self.iterations, random_seed)
        return is_foreground(labels)


def color_models(
    image: NDArray[np.uint8], seeds: Seeds, iterations: int, random_seed: int
) -> tuple[Seeds, NDArray[np.float64], NDArray[np.float64]]:
    """GrabCut of an RGB image.

    Returns
    -------
    labels : ndarray of uint8, shape (H, W)
        Codes after the last cut.
    background, foreground : ndarray of float64, shape (65,)
        The mixtures of five Gaussians in BGR that the last cut was made with, as OpenCV keeps
        them: weights, means, covariances.
    """
    labels = seeds.copy()
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    no_rectangle = (0, 0, 0, 0)
    # The k-means that starts the color models draws from OpenCV's generator of this thread.
    cv2.setRNGSeed(random_seed)
    cv2.grabCut(
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        labels,
        no_rectangle,
        background,
        foreground,
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    return labels, background[0], foreground[0]
