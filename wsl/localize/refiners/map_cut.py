"""From seeds to a mask by GrabCut's color models beside the saliency map, in one convex cut.

GrabCut forgets the map beyond its seeds: where both sides share colors, the cut leaks. Here the
color models that GrabCut ends with say how much likelier each pixel's color is in the foreground,
and the map how far the pixel is from Otsu's threshold; the mask is the cut of least cost under both
and a price on its boundary, cheaper where neighbors differ in color. No seed is held fixed: the map
stands behind all of them.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.localize.refiners.base import RefinerOptions
from wsl.localize.refiners.grabcut import color_models
from wsl.localize.seeds import Seeds, is_foreground, otsu_levels
from wsl.masks import Mask

__all__ = ["MapCut", "convex_cut"]

_STEPS = 120
# Rows and columns to each neighbor of a pair; each pair is named once.
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))

Array = NDArray[np.float32]


class MapCut(RefinerOptions):
    """Colors and the map, weighed against the boundary's length.

    The relaxed cut is solved by the first-order primal-dual method (Chambolle and Pock 2011); its
    level sets are cuts of least cost (Nikolova et al. 2006).
    """

    summary: ClassVar[str] = "GrabCut's color models beside the map, in one convex cut."
    reference: ClassVar[str] = "Chambolle, Pock 2011, doi:10.1007/s10851-010-0251-1"
    keeps_seeds: ClassVar[bool] = False

    method: Literal["map_cut"] = "map_cut"
    """The refiner."""
    iterations: int = Field(3, ge=1, le=100)
    """Rounds of GrabCut that make the color models."""
    map_weight: float = Field(5.0, ge=0)
    """Log-likelihood ratio that the map's maximum speaks for the foreground with, and its minimum
    against it."""
    boundary_weight: float = Field(0.14, gt=0)
    """Price of a boundary through even color, as a log-likelihood ratio per pixel of length and per
    pixel of the longer side."""

    def _refine(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        random_seed: int,
    ) -> Mask:
        labels, background, foreground = color_models(image, seeds, self.iterations, random_seed)
        start = is_foreground(labels)
        if start.all() or not start.any():
            return start
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR).astype(np.float32)
        ratio = _log_likelihood(foreground, bgr) - _log_likelihood(background, bgr)
        ratio += self.map_weight * (2 * otsu_levels(saliency) - 1)
        price = self.boundary_weight * max(seeds.shape)
        mask = convex_cut(-ratio / price, _evenness(bgr), start) >= 0.5
        return mask if mask.any() else start


def convex_cut(cost: Array, weights: list[Array], start: Mask) -> Array:
    """Minimize the sum of ``cost * u`` and of ``weights * |u - u'|`` over neighbors, u in [0, 1].

    Parameters
    ----------
    cost : ndarray of float32, shape (H, W)
        Of a pixel in the foreground; below 0 speaks for it.
    weights : list of 4 ndarray of float32
        Price of a boundary between each pixel and its neighbor to the right, below, below right
        and below left, >= 0; each of the size of the pairs there are.
    start : ndarray of bool, shape (H, W)
        Where the iteration starts.

    Returns
    -------
    ndarray of float32, shape (H, W)
        After 120 steps; near 0 or 1 but where both cost the same.
    """
    pairs = [_pair(*offset) for offset in _NEIGHBORS]
    flows = [np.zeros_like(weight) for weight in weights]
    found = start.astype(np.float32)
    ahead = found
    step = np.float32(1 / math.sqrt(4 * len(pairs)))  # of both kinds: the operator's norm squared
    for _ in range(_STEPS):
        slope = cost.astype(np.float32)
        for flow, weight, (one, other) in zip(flows, weights, pairs, strict=True):
            flow += step * (ahead[other] - ahead[one])
            np.clip(flow, -weight, weight, out=flow)
            slope[other] += flow
            slope[one] -= flow
        moved = np.clip(found - step * slope, 0, 1)
        found, ahead = moved, 2 * moved - found
    return found


def _pair(down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of all pixels with a neighbor there, and of the neighbors."""
    left, last = max(0, -right), max(0, right)
    one = slice(None, -down or None), slice(left, -last or None)
    other = slice(down, None), slice(last, -left or None)
    return one, other


def _evenness(image: Array) -> list[Array]:
    """Weight of each pair of neighbors, as in GrabCut: in (0, 1], less the more colors differ."""
    pairs = [_pair(*offset) for offset in _NEIGHBORS]
    differences = [((image[one] - image[other]) ** 2).sum(axis=-1) for one, other in pairs]
    mean = sum(float(each.sum()) for each in differences) / sum(each.size for each in differences)
    return [
        np.exp(-each / max(2 * mean, 1e-6)) / np.float32(math.hypot(*offset))
        for each, offset in zip(differences, _NEIGHBORS, strict=True)
    ]


def _log_likelihood(model: NDArray[np.float64], image: Array) -> Array:
    """Log-likelihood of colors (H, W, 3) under one of `color_models`' mixtures."""
    weights, means, covariances = np.split(model, [5, 20])
    colors, terms = image.reshape(-1, 3), []
    for weight, mean, covariance in zip(
        weights, means.reshape(5, 3), covariances.reshape(5, 3, 3), strict=True
    ):
        if weight <= 0:
            continue
        covariance = covariance + 0.01 * np.eye(3)  # of an even region it is 0
        offsets = colors - mean.astype(np.float32)
        distance = ((offsets @ np.linalg.inv(covariance).astype(np.float32)) * offsets).sum(axis=1)
        terms.append(math.log(weight) - 0.5 * (np.log(np.linalg.det(covariance)) + distance))
    return np.asarray(np.logaddexp.reduce(terms).reshape(image.shape[:2]), np.float32)
