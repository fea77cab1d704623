"""How far a localization is to be trusted, judged without annotations.

The quality is the mean of four pieces of evidence, each in [0, 1], computed from the image, the
map and the mask at a small size (the longer side `_SIDE` pixels):

agreement
    IoU of the box with that of the map alone: of the largest component above the mean of the map,
    smoothed. A box that GrabCut has drawn far from where the map points is a poor one.
share
    Share of the map's mass that lies inside the mask.
centring
    1 less `_PER_SIDE` times the distance, in sides of the image, between the centre of the map's
    mass and the centre of the box; at least 0.
contrast
    Distance (in CIELAB) of the mean colours inside the mask, but for a rim of two pixels, and in a
    rim of two pixels around it, in standard deviations of both together, divided by
    `_FULL_CONTRAST`; at most 1. 0 where the mask is nothing but rim, or leaves nothing outside.

The map's minimum is taken from it first, so that a map times a factor or plus a constant has the
same quality. The class's probability is no part of it: the score says whether the class is there,
the quality whether its place was found.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box, box_iou
from wsl.data.geometry import resize_array
from wsl.localize.grabcut import working_size
from wsl.localize.seeds import smooth_map
from wsl.masks import Mask, largest_component, mask_to_box

__all__ = ["localization_quality"]

# Chosen on one half of 650 photographs (eval/quality.py), and round: nothing hangs on them.
_SIDE = 48
_SMOOTHING = 0.03
_PER_SIDE = 4.0
_FULL_CONTRAST = 2.0
_RIM = np.ones((5, 5), dtype=np.uint8)

_Map = NDArray[np.float32]


def localization_quality(
    image: NDArray[np.uint8], saliency: _Map, mask: Mask, box: Box | None
) -> float:
    """How far a mask and a box are to be trusted; see above for the formula.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    saliency : ndarray of float32, shape (h, w)
        The image's map, of any size; >= 0 and finite.
    mask : ndarray of bool, shape (H, W)
    box : Box or None
        In pixels of the image.

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
    sides = np.array([size[1], size[0], size[1], size[0]], dtype=np.float64)
    relative = np.array(box, dtype=np.float64) / sides
    covered = resize_array(mask.astype(np.float32), at)
    evidence = (
        _agreement(small, relative),
        float((small * covered).sum() / small.sum()),
        _centring(small, relative),
        _contrast(resize_array(image, at), covered > 0.5),
    )
    return float(np.clip(np.mean(evidence), 0, 1))


def _agreement(saliency: _Map, relative: NDArray[np.float64]) -> float:
    """IoU of a box, in sides of the image, with the box of the map alone."""
    smooth = smooth_map(saliency, _SMOOTHING)
    own = mask_to_box(largest_component(smooth > smooth.mean()))
    if own is None:  # smoothing has left nothing of the map but rounding
        return 0.0
    height, width = saliency.shape
    scaled = relative * (width, height, width, height)
    return float(box_iou([own], [scaled])[0, 0])


def _centring(saliency: _Map, relative: NDArray[np.float64]) -> float:
    """How near the centre of a map's mass is to that of a box, in sides of the image."""
    total = float(saliency.sum())
    height, width = saliency.shape
    x = float(saliency.sum(axis=0) @ (np.arange(width) + 0.5)) / total / width
    y = float(saliency.sum(axis=1) @ (np.arange(height) + 0.5)) / total / height
    middle = (relative[:2] + relative[2:]) / 2
    return max(0.0, 1 - _PER_SIDE * float(np.hypot(x - middle[0], y - middle[1])))


def _contrast(image: NDArray[np.uint8], mask: Mask) -> float:
    """Difference in colour between a mask and what is just outside of it."""
    # OpenCV leaves out what lies beyond the image's border, which is no boundary of the object.
    inner = cv2.erode(mask.astype(np.uint8), _RIM).astype(bool)
    outer = cv2.dilate(mask.astype(np.uint8), _RIM).astype(bool)
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float64)
    inside, outside = colours[inner], colours[outer & ~mask]
    if not len(inside) or not len(outside):
        return 0.0
    distance = float(np.linalg.norm(inside.mean(axis=0) - outside.mean(axis=0)))
    # 1 more, so that two plain areas of nearly one colour have no contrast.
    spread = float(np.sqrt(inside.var(axis=0).sum() + outside.var(axis=0).sum() + 1))
    return min(1.0, distance / spread / _FULL_CONTRAST)
