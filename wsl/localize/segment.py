"""From an image and a saliency map to seeds, a mask and a box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.boxes import Box
from wsl.config.options import Options
from wsl.data.geometry import resize_array
from wsl.localize.boundary import GuidedFilter, resize_mask
from wsl.localize.image_maps import working_size
from wsl.localize.refiners.grabcut import GrabCut
from wsl.localize.refiners.map_cut import MapCut
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

Refiner = Annotated[GrabCut | MapCut | RandomWalker | NoRefinement, Field(discriminator="method")]

# Radius and standard deviation of the bilateral filter, as shares of the image's longer side.
_SMOOTHING_RADIUS, _SMOOTHING_SIGMA = 0.018, 0.0223

Maps = NDArray[np.float32] | Mapping[int | None, NDArray[np.float32]]
"""A saliency map of any size, or maps by the longer side of their working size."""


class CutOptions(Options):
    """How a saliency map becomes a mask at a working size."""

    working_size: int | None = Field(224, ge=8)
    """Longer side in pixels at which seeds are taken and refined (smaller images are not
    enlarged); null is the image's own size, which is slow."""
    seeds: SeedOptions = Field(default_factory=SeedOptions)
    """From the map to seeds."""
    color_smoothing: float = Field(0.0, ge=0, le=255)
    """Standard deviation in color, of 0 to 255, of a bilateral filter that the refiner's image is
    smoothed with (Tomasi and Manduchi 1998): texture goes, edges stay. 0 leaves it as it is."""
    refine: Refiner = Field(default_factory=GrabCut)
    """From seeds to a mask."""


class LocalizeOptions(CutOptions):
    """How a saliency map becomes a mask and a box."""

    boundary: GuidedFilter | None = None
    """Move the mask's boundary to the image's edges at the image's own size; null only enlarges
    the mask."""
    components: Literal["largest", "all"] = "largest"
    """What the mask keeps: its largest 8-connected component, or all of them (for images with
    several instances). The box is always that of the largest component (the paper's rule)."""
    box: CutOptions | None = None
    """Take the box from a mask of its own, with these options; null: from the mask. Seeds that
    give the best boxes tie the cut to the map; those that give the best masks let color decide."""
    quality: bool = True
    """Estimate how good each localization is, in [0, 1], without annotations: from the box's
    stability when the seeds change, the saliency inside the mask, the map's separability, the box's
    place in the image, the class's probability, and the agreement of mask and box."""

    @property
    def map_sizes(self) -> tuple[int | None, ...]:
        """Longer sides of the working sizes, the mask's first."""
        cuts = [self, *([self.box] if self.box else [])]
        return tuple(dict.fromkeys(cut.working_size for cut in cuts))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The object of one saliency map."""

    seeds: Seeds
    """Shape (h, w). Seed codes of the mask, at the working size."""
    mask: Mask
    """Shape (H, W). At the image's size."""
    box: Box | None
    """Box of the mask; None if it is empty."""
    refined: bool
    """Whether the image's colors decided about the pixels between the seeds."""
    box_mask: Mask | None = None
    """Shape (H, W). The mask that the box was taken from; None where that is `mask`."""


def segment(
    image: NDArray[np.uint8],
    saliency: Maps,
    options: LocalizeOptions | None = None,
    *,
    random_seed: int = 0,
) -> Segmentation:
    """Seeds, refinement, mask and box of one saliency map.

    Seeds are taken and refined at `options.working_size`. The mask is brought to the image's size,
    and its largest component is taken there.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    saliency : ndarray of float32, shape (h, w), or mapping
        The image's map, of any size; >= 0 and finite. A flat map has no foreground seeds: the
        mask is empty and there is no box. Or the map at each size of `options.map_sizes`.
    options : LocalizeOptions, optional
    random_seed : int
        Of the refiner (`wsl.localize.refiners.base.rng_seed`).
    """
    options = options or LocalizeOptions()
    size = image.shape[0], image.shape[1]
    seeds, small = _cut(image, saliency, options, random_seed)
    mask = options.boundary(image, small) if options.boundary else resize_mask(small, size)
    largest = largest_component(mask)
    box, box_mask = mask_to_box(largest), None
    if options.box and box is not None:
        _, other = _cut(image, saliency, options.box, random_seed)
        box_mask = largest_component(resize_mask(other, size))
        box = mask_to_box(box_mask) or box
    return Segmentation(
        seeds=seeds,
        mask=largest if options.components == "largest" else mask,
        box=box,
        refined=options.refine.follows_color
        and bool((seeds == FOREGROUND).any())
        and not is_foreground(seeds).all(),
        box_mask=box_mask,
    )


def _cut(
    image: NDArray[np.uint8], saliency: Maps, options: CutOptions, random_seed: int
) -> tuple[Seeds, Mask]:
    """Seeds and mask at the working size; without definite foreground seeds it is empty."""
    at = working_size((image.shape[0], image.shape[1]), options.working_size)
    found = saliency if isinstance(saliency, np.ndarray) else saliency[options.working_size]
    smoothed = smooth_map(resize_array(found, at), options.seeds.smoothing)
    seeds = quantile_seeds(smoothed, options.seeds)
    if not (seeds == FOREGROUND).any():
        return seeds, np.zeros(at, dtype=bool)
    small = _smooth_colors(resize_array(image, at), options.color_smoothing)
    return seeds, options.refine(small, seeds, smoothed, random_seed=random_seed)


def _smooth_colors(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    if sigma == 0:
        return image
    side = max(image.shape)
    diameter = 2 * max(1, round(_SMOOTHING_RADIUS * side)) + 1
    return np.asarray(cv2.bilateralFilter(image, diameter, sigma, _SMOOTHING_SIGMA * side))
