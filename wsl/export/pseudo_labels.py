"""Pseudo-labels for segmentation: one label per pixel, made of the masks of an image's classes.

The rules, in their order:

1. A pixel outside of all masks is background. A pixel inside one mask belongs to it.
2. A pixel inside several masks goes to the class whose saliency is stronger there. Maps of two
   classes are compared after each was smoothed by a Gaussian (single pixels of a gradient are
   noise) and divided by its maximum (the classes' scores differ in scale). Equals go to the class
   that ranks higher. Where the run stored no maps, all the pixels that two masks share go to the
   more probable class.
3. A pixel is uncertain if a pixel that belongs to another mask or to the background lies within the
   band's width, measured between pixel centers. The image's border is no boundary. Objects thinner
   than that become uncertain as a whole.

In an image without any mask everything is uncertain: it shows something that was not found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.export.png import png_bytes
from wsl.localize.prediction import Prediction
from wsl.masks import Mask
from wsl.run.maps import Maps

Saliency = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """The labels of one image."""

    owners: NDArray[np.int32]
    """Shape (H, W). 0 for background, i + 1 for the i-th mask."""
    uncertain: Mask
    """Shape (H, W)."""
    shared: int
    """Number of pixels in several masks."""
    by_score: bool
    """Whether they went to the more probable class because there are no maps."""

    def values(self, values: Sequence[int], *, ignore: int) -> NDArray[np.uint16]:
        """Label image, with a value for each mask: shape (H, W)."""
        table = np.array([0, *values], dtype=np.uint16)
        return np.where(self.uncertain, np.uint16(ignore), table[self.owners])


def pseudo_labels(image: Prediction, maps: Maps, *, band: float, smoothing: float) -> PseudoLabels:
    """Labels of one image by the rules above.

    Parameters
    ----------
    image : Prediction
        With a size; its localizations in the order of their ranks.
    maps : Maps
    band : float
        Width of the uncertain band in pixels.
    smoothing : float
        Standard deviation of the Gaussian in pixels.
    """
    if image.size is None:
        raise ValueError(f"image {image.image_id!r} must have a size")
    if not image.localizations:
        background = np.zeros(image.size, dtype=np.int32)
        return PseudoLabels(background, np.ones(image.size, dtype=bool), 0, by_score=False)
    masks = [found.mask for found in image.localizations]
    shared = int(np.count_nonzero(np.sum(masks, axis=0) > 1))
    strengths = _strengths(image, maps, smoothing) if shared else None
    owned = owners(
        masks, scores=[found.score for found in image.localizations], strengths=strengths
    )
    by_score = shared > 0 and strengths is None
    return PseudoLabels(owned, uncertain_band(owned, band), shared, by_score=by_score)


def owners(
    masks: Sequence[Mask],
    *,
    scores: Sequence[float],
    strengths: Sequence[Saliency] | None = None,
) -> NDArray[np.int32]:
    """To which mask each pixel goes.

    Parameters
    ----------
    masks : sequence of ndarray of bool, shape (H, W)
        At least one.
    scores : sequence of float
        One per mask; they decide where there are no strengths.
    strengths : sequence of ndarray of float32, shape (H, W), optional
        One per mask, comparable with each other.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 for background, i + 1 for ``masks[i]``. Of equals the first wins.

    Examples
    --------
    >>> masks = [np.array([[True, True, False]]), np.array([[False, True, False]])]
    >>> owners(masks, scores=[0.2, 0.7]).tolist()
    [[1, 2, 0]]
    """
    owner = np.zeros(masks[0].shape, dtype=np.int32)
    strongest = np.full(masks[0].shape, -np.inf, dtype=np.float64)
    for position, mask in enumerate(masks):
        strength = scores[position] if strengths is None else strengths[position]
        wins = mask & ((owner == 0) | (strength > strongest))
        owner[wins] = position + 1
        strongest[wins] = strength if strengths is None else strengths[position][wins]
    return owner


def _strengths(image: Prediction, maps: Maps, sigma: float) -> list[Saliency] | None:
    """Smoothed maps of all classes, each with the maximum 1; None if one of them is missing."""
    strengths = []
    for found in image.localizations:
        saliency = maps.get(image.image_id, found.label, found.size)
        if saliency is None:
            return None
        if sigma > 0:
            saliency = np.asarray(
                cv2.GaussianBlur(saliency, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
            )
        top = float(saliency.max())
        strengths.append(np.asarray(saliency / top if top > 0 else saliency, dtype=np.float32))
    return strengths


def uncertain_band(labels: NDArray[np.int32], width: float) -> Mask:
    """Pixels near a boundary.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        >= 0; 0 is the background.
    width : float
        In pixels, >= 0.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where the nearest pixel with another label is at most `width` away, center to center.
        With 1, that is the last row of pixels on each side of a straight boundary.

    Examples
    --------
    >>> uncertain_band(np.array([[0, 0, 0, 5, 5, 5]], dtype=np.int32), 1).tolist()
    [[False, False, True, True, False, False]]
    """
    uncertain = np.zeros(labels.shape, dtype=bool)
    if width < 1 or not labels.any():
        return uncertain
    around = _surroundings(labels, math.ceil(width) + 1)
    near, within = labels[around], uncertain[around]
    for label in np.flatnonzero(np.bincount(near.ravel())):
        own = near == label
        if own.all():
            break
        distance = cv2.distanceTransform(own.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # OpenCV's float32 roots may lie a hair above a whole distance.
        within |= own & (distance <= width + 1e-3)
    return uncertain


def _surroundings(labels: NDArray[np.int32], margin: int) -> tuple[slice, slice]:
    """Rows and columns of all that is not background, and a margin."""
    spans = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in spans)
    return rows, columns


def voc_palette() -> list[int]:
    """VOC's 256 colors, red, green, blue in turn: the bits of the index dealt out to the three.

    Examples
    --------
    >>> palette = voc_palette()
    >>> palette[3:6], palette[45:48], palette[765:]
    ([128, 0, 0], [192, 128, 128], [224, 224, 192])
    """
    colors = []
    for index in range(256):
        for channel in range(3):
            bits = (index >> channel & 1, index >> channel + 3 & 1, index >> channel + 6 & 1)
            colors.append(bits[0] << 7 | bits[1] << 6 | bits[2] << 5)
    return colors


_PALETTE = voc_palette()


def indexed_png(values: NDArray[np.uint16], *, wide: bool = False) -> bytes:
    """Label image as PNG: 8 bits with VOC's palette, or 16-bit grayscale if `wide`."""
    if wide:
        picture = Image.fromarray(values)
    else:
        picture = Image.fromarray(values.astype(np.uint8))
        picture.putpalette(_PALETTE)
    return png_bytes(picture, "areas")
