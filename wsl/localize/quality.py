"""Confidence in a localization, estimated without annotations.

The quality is the mean of pieces of evidence, each in [0, 1]:

stability
    IoU of the box with the boxes that GrabCut gives from other seeds: the mean over the seeds of
    `_OTHER_SEEDS`, one round each, at a small size (the longer side `_SIDE` pixels).
saliency inside
    Fraction of the map's sum that lies inside the mask.
borders
    1 less a quarter for each of the image's four borders that the box touches: masks that leak into
    the background end at the borders.
center
    1 less `_PER_SIDE` times the distance, in sides of the image, between the box's center and the
    image's; at least 0. Photographs are taken of something; what is found at the edge is often
    something else, or only a part.
separability
    How clearly the map falls into a high and a low part: the fraction of its variance that lies
    between the parts that Otsu's threshold makes, 1/3 and less counting 0.
probability
    1 plus the logarithm (to base 10) of the class's probability, divided by `_DIGITS`; at least 0.
    It counts by its order of magnitude: whether it is 0.5 or 0.9 says little about the place.
agreement
    IoU of the mask with the one that the box was taken from, where the box has a cut of its own;
    it counts twice.

The map's minimum is subtracted first, so that scaling a map or adding a constant does not change
the quality.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from wsl.boxes import Box, box_iou
from wsl.data.geometry import resize_array
from wsl.localize.image_maps import working_size
from wsl.localize.refiners.grabcut import GrabCut
from wsl.localize.seeds import SeedOptions, quantile_seeds
from wsl.masks import Mask, largest_component, mask_iou, mask_to_box

# Chosen on one half of 650 photographs (eval/figures/quality.py), and round: nothing hangs on them.
_SIDE = 32
_PER_SIDE = 2.0
_DIGITS = 6
_ONE_ROUND = GrabCut(iterations=1)
_OTHER_SEEDS = tuple(
    SeedOptions(
        threshold="otsu",
        background=background,
        probable_threshold=split,
        foreground=foreground,
        undecided="split",
    )
    for background, split, foreground in ((0.2, 0.42, 0.6), (0.325, 0.52, 0.625))
)

_Map = NDArray[np.float32]


def localization_quality(
    image: NDArray[np.uint8],
    saliency: _Map,
    mask: Mask,
    box: Box | None,
    *,
    probability: float,
    box_mask: Mask | None = None,
) -> float:
    """Estimate how good a mask and a box are; see above for the formula.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    saliency : ndarray of float32, shape (h, w)
        The image's map, of any size; >= 0 and finite.
    mask : ndarray of bool, shape (H, W)
    box : Box or None
        In pixels of the image.
    probability : float
        Probability of the class, in [0, 1].
    box_mask : ndarray of bool, shape (H, W), optional
        The mask that the box was taken from, where that is not `mask`.

    Returns
    -------
    float
        In [0, 1]; 0 without a box, of an empty mask, and of a flat map.
    """
    size = image.shape[0], image.shape[1]
    at = working_size(size, _SIDE)
    small = resize_array(saliency, at)
    small = small - small.min()
    if box is None or not mask.any() or not small.any():
        return 0.0
    small /= small.max()
    sides = np.array([size[1], size[0], size[1], size[0]], dtype=np.float64)
    relative = np.array(box, dtype=np.float64) / sides
    covered = resize_array(mask.astype(np.float32), at)
    evidence = [
        _stability(resize_array(image, at), small, relative),
        float((small * covered).sum() / small.sum()),
        1 - (np.count_nonzero(relative[:2] <= 0) + np.count_nonzero(relative[2:] >= 1)) / 4,
        max(0.0, 1 - _PER_SIDE * float(np.hypot(*((relative[:2] + relative[2:]) / 2 - 0.5)))),
        _separability(small),
        max(0.0, 1 + math.log10(probability) / _DIGITS) if probability > 0 else 0.0,
    ]
    if box_mask is not None:
        evidence += 2 * [mask_iou(mask, box_mask)]
    return float(np.clip(np.mean(evidence), 0, 1))


def _separability(saliency: _Map) -> float:
    """Fraction of the map's variance between its high and low part, 1/3 to 1 scaled to 0 to 1."""
    threshold = float(threshold_otsu(saliency))  # type: ignore[no-untyped-call]
    high = saliency > threshold
    if high.all() or not high.any():
        return 0.0
    apart = float(saliency[high].mean()) - float(saliency[~high].mean())
    share = float(high.mean())
    explained = share * (1 - share) * apart**2 / float(saliency.var())
    return min(1.0, max(0.0, 1.5 * explained - 0.5))


def _stability(image: NDArray[np.uint8], saliency: _Map, relative: NDArray[np.float64]) -> float:
    """Mean IoU of a box, in sides of the image, with GrabCut's boxes from other seeds."""
    height, width = saliency.shape
    scaled = relative * (width, height, width, height)
    ious = []
    for number, options in enumerate(_OTHER_SEEDS):
        seeds = quantile_seeds(saliency, options)
        again = _ONE_ROUND(image, seeds, saliency, random_seed=number)
        own = mask_to_box(largest_component(again))
        ious.append(0.0 if own is None else float(box_iou([own], [scaled])[0, 0]))
    return float(np.mean(ious))
