"""From an image and a saliency map to seeds, a mask and a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.boxes import Box
from wsl.config import Options
from wsl.data.geometry import resize_array
from wsl.localize.image_maps import working_size
from wsl.localize.refiners.grabcut import GrabCut
from wsl.localize.refiners.none import NoRefinement
from wsl.localize.refiners.random_walker import RandomWalker
from wsl.localize.seeds import (
    FOREGROUND,
    SeedOptions,
    Seeds,
    is_foreground,
    quantile_seeds,
    smooth_map,
)
from wsl.masks import Mask, largest_component, mask_to_box

__all__ = ["LocalizeOptions", "Refiner", "Segmentation", "resize_mask", "segment"]

Refiner = Annotated[GrabCut | RandomWalker | NoRefinement, Field(discriminator="method")]


class LocalizeOptions(Options):
    """How a saliency map becomes a mask and a box."""

    working_size: int | None = Field(224, ge=8)
    """Longer side in pixels at which seeds are taken and refined (smaller images are not
    enlarged); null is the image's own size, which is slow."""
    seeds: SeedOptions = Field(default_factory=SeedOptions)
    """From the map to seeds."""
    refine: Refiner = Field(default_factory=GrabCut)
    """From seeds to a mask."""
    components: Literal["largest", "all"] = "largest"
    """What the mask keeps: its largest 8-connected component, or all of them (for images with
    several instances). The box is always that of the largest component (the paper's rule)."""
    quality: bool = True
    """Judge each localization without annotations: a number in [0, 1] from how the box stands when
    the seeds change, the map's share inside the mask, how clearly the map is parted, the
    box's place in the image, and the class's probability."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The object of one saliency map.

    Attributes
    ----------
    seeds : ndarray of uint8, shape (h, w)
        Seed codes, at the working size.
    mask : ndarray of bool, shape (H, W)
        At the image's size.
    box : Box or None
        Of the mask's largest component; None if the mask is empty.
    refined : bool
        Whether the image's colors decided about the pixels between the seeds.
    """

    seeds: Seeds
    mask: Mask
    box: Box | None
    refined: bool


def segment(
    image: NDArray[np.uint8],
    saliency: NDArray[np.float32],
    options: LocalizeOptions | None = None,
    *,
    random_seed: int = 0,
) -> Segmentation:
    """Seeds, refinement, mask and box of one saliency map.

    Seeds are taken and refined at `options.working_size`. The mask is brought to the image's size
    by linear interpolation; its largest component is taken there.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    saliency : ndarray of float32, shape (h, w)
        The image's map, of any size; >= 0 and finite. A flat map has no foreground seeds: the
        mask is empty and there is no box.
    options : LocalizeOptions, optional
    random_seed : int
        Of the refiner (`wsl.localize.refiners.base.rng_seed`).
    """
    options = options or LocalizeOptions()
    size = image.shape[0], image.shape[1]
    at = working_size(size, options.working_size)
    smoothed = smooth_map(resize_array(saliency, at), options.seeds.smoothing)
    seeds = quantile_seeds(smoothed, options.seeds)
    if not (seeds == FOREGROUND).any():
        return Segmentation(seeds, np.zeros(size, dtype=bool), None, refined=False)
    small = options.refine(resize_array(image, at), seeds, smoothed, random_seed=random_seed)
    mask = resize_mask(small, size)
    largest = largest_component(mask)
    return Segmentation(
        seeds=seeds,
        mask=largest if options.components == "largest" else mask,
        box=mask_to_box(largest),
        refined=options.refine.follows_color and not is_foreground(seeds).all(),
    )


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Bring a mask to another size: linear interpolation of its 0 and 1, cut at one half."""
    if mask.shape == size:
        return mask
    soft = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft >= 0.5)
