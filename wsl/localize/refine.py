"""From an image and a saliency map to seeds, mask and box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.boxes import Box
from wsl.config import Options
from wsl.data.geometry import resize_array
from wsl.localize.boundary import refine_band
from wsl.localize.refiners.grabcut import GrabCutOptions, Refinement, grabcut, working_size
from wsl.localize.seeds import SeedOptions, Seeds, quantile_seeds, smooth_map
from wsl.masks import Mask, largest_component, mask_to_box

__all__ = ["LocalizeOptions", "Refined", "refine", "resize_mask"]


class LocalizeOptions(Options):
    """How a saliency map becomes a mask and a box."""

    seeds: SeedOptions = Field(default_factory=SeedOptions)
    """From the map to seeds."""
    grabcut: GrabCutOptions = Field(default_factory=GrabCutOptions)
    """From seeds to a mask."""
    components: Literal["largest", "all"] = "largest"
    """What the mask keeps: its largest 8-connected component, or all of them (for images with
    several instances). The box is always that of the largest component (the paper's rule)."""
    quality: bool = True
    """Judge each localization without annotations: a number in [0, 1] from how the box stands when
    the seeds change, the map's share inside the mask, how clearly the map is parted, the
    box's place in the image, and the class's probability."""


@dataclass(frozen=True, eq=False)
class Refined:
    """What a saliency map became.

    Attributes
    ----------
    seeds : ndarray of uint8, shape (h, w)
        GrabCut's codes, at the working size.
    mask : ndarray of bool, shape (H, W)
        At the image's size.
    box : Box or None
        Of the mask's largest component; None if the mask is empty.
    refined : bool
        Whether GrabCut ran.
    """

    seeds: Seeds
    mask: Mask
    box: Box | None
    refined: bool


def refine(
    image: NDArray[np.uint8],
    saliency: NDArray[np.float32],
    options: LocalizeOptions | None = None,
    *,
    random_seed: int = 0,
    own_size: NDArray[np.float32] | None = None,
) -> Refined:
    """Seeds, GrabCut, mask and box of one saliency map.

    Seeds and GrabCut work at `options.grabcut.working_size`; the mask is brought back to the
    image's size by linear interpolation, where `options.grabcut.band` says so its boundary is
    refined (`wsl.localize.boundary`), and its largest component is taken there.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    saliency : ndarray of float32, shape (h, w)
        The image's map, of any size; >= 0 and finite. A flat map has no foreground seeds: the
        mask is empty and there is no box.
    options : LocalizeOptions, optional
    random_seed : int
        For GrabCut (`wsl.localize.refiners.grabcut.rng_seed`).
    own_size : ndarray of float32, shape (H, W), optional
        The same map at the image's own size, for the seeds of a band: what it shows between the
        working size's pixels counts there. Without it `saliency` is enlarged.
    """
    options = options or LocalizeOptions()
    size = image.shape[0], image.shape[1]
    at = working_size(size, options.grabcut.working_size)
    smoothed = smooth_map(resize_array(saliency, at), options.seeds.smoothing)
    seeds = quantile_seeds(smoothed, options.seeds)
    if not (seeds == cv2.GC_FGD).any():
        return Refined(seeds, np.zeros(size, dtype=bool), None, refined=False)
    cut = grabcut(
        resize_array(image, at),
        seeds,
        iterations=options.grabcut.iterations,
        random_seed=random_seed,
        settled=options.grabcut.settled,
    )
    whole = _at_full_size(image, cut, saliency if own_size is None else own_size, options)
    largest = largest_component(whole)
    mask = largest if options.components == "largest" else whole
    return Refined(seeds, mask, mask_to_box(largest), cut.refined)


def _at_full_size(
    image: NDArray[np.uint8],
    cut: Refinement,
    saliency: NDArray[np.float32],
    options: LocalizeOptions,
) -> Mask:
    """Bring GrabCut's mask to the image's size, and its boundary to the pixel where asked for."""
    size = image.shape[0], image.shape[1]
    mask = resize_mask(cut.mask, size)
    band = options.grabcut.band
    if band is None or cut.models is None or cut.mask.shape == size:
        return mask
    own = smooth_map(resize_array(saliency, size), options.seeds.smoothing)
    seeds = quantile_seeds(own, options.seeds)
    width = max(1, round(band * max(size) / max(cut.mask.shape)))
    return refine_band(image, mask, seeds, cut.models, width=width)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Bring a mask to another size: linear interpolation of its 0 and 1, cut at one half."""
    if mask.shape == size:
        return mask
    soft = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft >= 0.5)
