"""From seeds to a mask: OpenCV's GrabCut (Rother, Kolmogorov and Blake 2004)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.config import Options
from wsl.localize.seeds import Seeds
from wsl.masks import Mask

__all__ = ["GrabCutOptions", "Models", "Refinement", "grabcut", "rng_seed", "working_size"]

Models = tuple[NDArray[np.float64], NDArray[np.float64]]
"""OpenCV's color models of background and foreground: each (1, 65), five Gaussians' weights, means
and covariances."""


class GrabCutOptions(Options):
    """How GrabCut runs."""

    iterations: int = Field(5, ge=0, le=100)
    """Rounds of color models and cut; 0 takes the foreground seeds as the mask."""
    working_size: int | None = Field(224, ge=8)
    """Longer side in pixels at which seeds and GrabCut work (smaller images are not enlarged);
    null works at the image's own size, which is slow."""
    settled: float | None = Field(None, ge=0, le=1)
    """Stop before `iterations` after a round, the second or a later one, that changed no more than
    this share of the pixels; null does all rounds. 0.005 takes half the time; the masks it gives
    are as near to those of GrabCut at the image's own size as those of all rounds."""
    band: float | None = Field(None, gt=0, le=32)
    """Cut the mask's boundary once more at the image's own size, in a band of this many pixels of
    the working size on either side, with the seeds of the image's own size; null only enlarges the
    mask. It does nothing to images that are segmented at their own size."""

    @property
    def map_sizes(self) -> tuple[int | None, ...]:
        """Longer sides of the saliency maps that are wanted; None for the image's own size.

        The working size, and for a band the image's own.
        """
        return (self.working_size,) if self.band is None else (self.working_size, None)


@dataclass(frozen=True)
class Refinement:
    """What GrabCut made of seeds.

    Attributes
    ----------
    mask : ndarray of bool, shape (H, W)
    refined : bool
        Whether GrabCut ran. It does not where one side has no seeds: then `mask` is the
        foreground seeds, definite and probable, as they are.
    models : (ndarray, ndarray) or None
        The color models, where GrabCut ran.
    """

    mask: Mask
    refined: bool
    models: Models | None = None


def rng_seed(image_id: str, label: int, seed: int) -> int:
    """Seed of GrabCut's random generator for one class of one image, in 0 … 2^31 - 1.

    It depends on nothing else, so that results do not depend on the order of the work, the number
    of workers, or a restart.
    """
    digest = hashlib.blake2b(f"{seed}\0{image_id}\0{label}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def working_size(size: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """(height, width) at which an image is segmented; never larger than the image.

    Examples
    --------
    >>> working_size((375, 500), 224)
    (168, 224)
    >>> working_size((60, 80), 224)
    (60, 80)
    """
    if longer_side is None or max(size) <= longer_side:
        return size
    scale = longer_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grabcut(
    image: NDArray[np.uint8],
    seeds: Seeds,
    *,
    iterations: int = 5,
    random_seed: int = 0,
    settled: float | None = None,
) -> Refinement:
    """Grow seeds into a mask by color.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    seeds : ndarray of uint8, shape (H, W)
        GrabCut's codes; not changed. Definite seeds stay what they are.
    iterations : int
        0 does not run GrabCut.
    random_seed : int
        For the k-means that starts the color models. OpenCV's generator belongs to the thread;
        it is seeded here, right before the call.
    settled : float, optional
        Stop after a round, the second or a later one, that changed at most this share of the
        pixels. Also a round that changed none may be followed by one that does, as the color
        models go on moving; so 0 is not the same as all rounds, which None does.

    Returns
    -------
    Refinement
        Without GrabCut where there is no (definite or probable) foreground or background pixel:
        OpenCV has no answer then.

    Raises
    ------
    ValueError
        If the sizes differ or the seeds hold other codes.
    """
    if image.shape[:2] != seeds.shape:
        raise ValueError(
            f"image and seeds must have one size, but got {image.shape[:2]} and {seeds.shape}"
        )
    if seeds.max(initial=0) > cv2.GC_PR_FGD:
        raise ValueError(f"seeds must hold codes 0 to 3, but got {seeds.max()}")
    foreground = (seeds & 1).astype(bool)  # GC_FGD = 1 and GC_PR_FGD = 3
    if iterations == 0 or not foreground.any() or foreground.all():
        return Refinement(foreground, refined=False)
    labels = seeds.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    cv2.setRNGSeed(random_seed)
    if settled is None:
        _rounds(bgr, labels, models, iterations, cv2.GC_INIT_WITH_MASK)
        return Refinement((labels & 1).astype(bool), refined=True, models=models)
    for done in range(iterations):
        before = labels.copy()
        _rounds(bgr, labels, models, 1, cv2.GC_EVAL if done else cv2.GC_INIT_WITH_MASK)
        # The first round leaves the seeds' arbitrary start: how much it moves tells nothing.
        if done and np.count_nonzero(labels != before) <= settled * labels.size:
            break
    return Refinement((labels & 1).astype(bool), refined=True, models=models)


def _rounds(
    bgr: cv2.typing.MatLike,
    labels: Seeds,
    models: Models,
    count: int,
    mode: int,
) -> None:
    """Go `count` rounds on with labels and color models (background, foreground), in place.

    A round at a time gives what as many in one call give: OpenCV keeps nothing else between them.
    """
    no_rectangle = (0, 0, 0, 0)
    cv2.grabCut(bgr, labels, no_rectangle, *models, count, mode)
