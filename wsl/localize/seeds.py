"""From a saliency map to seeds.

Simonyan et al. 2013 sec. 3.2: the foreground's color model comes from the pixels whose saliency
lies above the image's 95 % quantile, the background's from those below its 30 % quantile. What
the pixels in between are at the start, the paper leaves open; here it is an option.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from skimage.filters import threshold_otsu

from wsl.config.options import Options
from wsl.masks import Mask

Seeds = NDArray[np.uint8]
"""(H, W) uint8 with OpenCV's seed codes: 0 background, 1 foreground, 2 probable background,
3 probable foreground."""

BACKGROUND, FOREGROUND = cv2.GC_BGD, cv2.GC_FGD
PROBABLE_BACKGROUND, PROBABLE_FOREGROUND = cv2.GC_PR_BGD, cv2.GC_PR_FGD


class SeedOptions(Options):
    """How a saliency map becomes seeds."""

    threshold: Literal["quantile", "maximum", "otsu"] = "quantile"
    """What `foreground`, `background` and `probable_threshold` are: quantiles of the map (the
    paper's); shares of its maximum; or places around Otsu's threshold, which divides the map's
    values best into two: 0 is the map's minimum, 0.5 the threshold, 1 the maximum, linear in
    between."""
    foreground: float = Field(0.95, ge=0, le=1)
    """Pixels at or above this level of the map are foreground."""
    background: float = Field(0.30, ge=0, le=1)
    """Pixels at or below this level of the map are background."""
    undecided: Literal["probable_background", "probable_foreground", "split"] = (
        "probable_background"
    )
    """What the pixels between the two levels are at the start. The refiner may move them to the
    other side; `split`: probable foreground at or above the level `probable_threshold`, probable
    background below."""
    probable_threshold: float = Field(0.60, ge=0, le=1)
    """Level at which `undecided: split` divides."""
    smoothing: float = Field(0.0, ge=0, le=1)
    """Standard deviation of a Gaussian laid over the map first, as a share of the image's longer
    side; 0 leaves the map as it is."""

    @model_validator(mode="after")
    def _ordered(self) -> SeedOptions:
        if self.background >= self.foreground:
            raise ValueError(
                f"background must be below foreground, but got {self.background} and "
                f"{self.foreground}"
            )
        if (
            self.undecided == "split"
            and not self.background <= self.probable_threshold <= self.foreground
        ):
            raise ValueError(
                "probable_threshold must lie between background and foreground, "
                f"but got {self.probable_threshold}"
            )
        return self


def is_foreground(seeds: Seeds) -> Mask:
    """Tell which seeds are definite or probable foreground: (H, W) bool."""
    return np.asarray(seeds & 1, dtype=bool)  # 1 and 3


def smooth_map(saliency: NDArray[np.float32], smoothing: float) -> NDArray[np.float32]:
    """Lay a Gaussian over a map.

    Parameters
    ----------
    saliency : ndarray of float32, shape (H, W)
    smoothing : float
        Standard deviation as a share of the longer side; 0 changes nothing. Borders are reflected.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    if smoothing == 0:
        return saliency
    sigma = smoothing * max(saliency.shape)
    smoothed = cv2.GaussianBlur(saliency, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smoothed, dtype=np.float32)


def quantile_seeds(saliency: NDArray[np.float32], options: SeedOptions | None = None) -> Seeds:
    """Seeds by the levels of a map, its quantiles in Simonyan et al. 2013 sec. 3.2.

    A pixel is background at or below the background level, else foreground at or above the
    foreground level, else in between. Ties therefore go to the background, so that a flat map of
    quantiles, or one that is 0 everywhere, has no foreground seeds; by quantiles every map has
    background seeds. Raising the foreground level never adds a foreground seed. Smoothing is not
    done here (`smooth_map`).

    Parameters
    ----------
    saliency : ndarray of float32, shape (H, W)
        Finite.
    options : SeedOptions, optional

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Seed codes.

    Raises
    ------
    ValueError
        If the map is empty, not two-dimensional, or not finite.

    Examples
    --------
    >>> ramp = np.arange(10, dtype=np.float32).reshape(2, 5)
    >>> quantile_seeds(ramp, SeedOptions(foreground=0.8, background=0.3))
    array([[0, 0, 0, 2, 2],
           [2, 2, 2, 1, 1]], dtype=uint8)
    """
    options = options or SeedOptions()
    if saliency.ndim != 2 or not saliency.size:
        raise ValueError(f"a saliency map must be (H, W), but got shape {saliency.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("a saliency map must be finite, but got NaN or infinity")
    low, middle, high = _levels(saliency, options)
    probable = {
        "probable_background": np.uint8(PROBABLE_BACKGROUND),
        "probable_foreground": np.uint8(PROBABLE_FOREGROUND),
        "split": np.where(saliency >= middle, PROBABLE_FOREGROUND, PROBABLE_BACKGROUND),
    }[options.undecided]
    seeds = np.empty(saliency.shape, dtype=np.uint8)
    seeds[:] = probable
    seeds[saliency >= high] = FOREGROUND
    seeds[saliency <= low] = BACKGROUND
    return seeds


def otsu_levels(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels of a map around Otsu's threshold: 0 at its minimum, 0.5 there, 1 at its maximum.

    Linear in between. A flat map is at 0.5.

    Parameters
    ----------
    saliency : ndarray of float32, shape (H, W)

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    low, middle, high = _around_otsu(saliency)
    if low == high:
        return np.full_like(saliency, 0.5)
    return np.interp(saliency, [low, middle, high], [0, 0.5, 1]).astype(np.float32)


def _around_otsu(saliency: NDArray[np.float32]) -> tuple[float, float, float]:
    low, high = float(saliency.min()), float(saliency.max())
    middle = float(threshold_otsu(saliency)) if high > low else low  # type: ignore[no-untyped-call]
    return low, middle, high


def _levels(saliency: NDArray[np.float32], options: SeedOptions) -> NDArray[np.floating]:
    """Values of the map at the background, the splitting and the foreground level: (3,)."""
    shares = np.array([options.background, options.probable_threshold, options.foreground])
    if options.threshold == "otsu":
        return np.asarray(np.interp(shares, [0, 0.5, 1], _around_otsu(saliency)))
    if options.threshold == "maximum":
        # In the map's own precision, so that its maximum is at or above the level 1.
        return np.asarray(shares.astype(np.float32) * saliency.max())
    return np.asarray(np.quantile(saliency, shares))
