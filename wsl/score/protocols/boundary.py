"""Scores of masks near their boundaries: boundary F and trimap IoU.

The boundary of a mask are its pixels with a neighbor above, below, left or right that lies in the
image and not in the mask. Boundary F is the harmonic mean of precision, the fraction of the
predicted boundary within `tolerance` of the true one, and recall, the fraction of the true boundary
within it of the predicted one [1]_. Trimap IoU is the IoU of the masks' pixels within `band` of the
true boundary [2]_. Both distances are Euclidean, in fractions of the image's diagonal. A mask
without a boundary (empty, or the whole image) matches only another one without.

Pixels of the dataset's ignore mask (VOC's void) and of instances to be ignored do not count: a
predicted boundary there is right if it is near enough to the true one, and else neither right nor
wrong.

References
----------
.. [1] G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for semantic
   segmentation?", BMVC 2013.
.. [2] P. Kohli, L. Ladický, P. Torr, "Robust higher order potentials for enforcing label
   consistency", IJCV 82 (2009), sec. 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsl.masks import Mask, mask_iou
from wsl.score.protocols.mask_iou import MaskMetric, MaskOptions


class BoundaryOptions(MaskOptions):
    """Options of the protocol ``boundary``."""

    summary: ClassVar[str] = "masks: boundary F and IoU near the boundary"
    reference: ClassVar[str] = "Csurka et al., BMVC 2013; Kohli et al., IJCV 2009"

    protocol: Literal["boundary"] = "boundary"
    tolerance: float = Field(0.0075, gt=0, lt=1)
    """Distance up to which boundaries match, as a fraction of the image's diagonal."""
    band: float = Field(0.02, gt=0, lt=1)
    """Distance from the true boundary within which the trimap IoU counts pixels, as a fraction of
    the image's diagonal."""

    def metrics(self) -> Mapping[str, MaskMetric]:
        """Return the metrics by the name of their estimate."""
        return {
            "boundary_f": partial(boundary_f, tolerance=self.tolerance),
            "trimap_iou": partial(trimap_iou, band=self.band),
        }


def mask_boundary(mask: Mask) -> Mask:
    """Pixels of a mask with one of their four neighbors in the image outside the mask.

    Examples
    --------
    >>> mask = np.ones((3, 4), dtype=bool)
    >>> mask[:, 3] = False
    >>> mask_boundary(mask).astype(int).tolist()
    [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    """
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside)


def boundary_f(predicted: Mask, true: Mask, ignored: Mask, *, tolerance: float) -> float:
    """F measure of two masks' boundaries.

    Parameters
    ----------
    predicted, true, ignored : ndarray of bool, shape (H, W)
    tolerance : float
        As a fraction of the image's diagonal.

    Returns
    -------
    float
        In [0, 1]; 1 if neither mask has a boundary, 0 if only one has.
    """
    mask_iou(predicted, true)  # refuses what is no mask
    found, real = mask_boundary(predicted), mask_boundary(true)
    if not found.any() or not real.any():
        return float(found.any() == real.any())
    reach = tolerance * math.hypot(*true.shape)
    matched = found & (_distance(real) <= reach)
    recall = (_distance(found)[real] <= reach).mean()
    counted = int((found & (matched | ~ignored)).sum())
    precision = int(matched.sum()) / max(counted, 1)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def trimap_iou(predicted: Mask, true: Mask, ignored: Mask, *, band: float) -> float:
    """IoU of two masks among the pixels within `band` of the true boundary; see `boundary_f`.

    If the true mask has no boundary: 1 if the predicted one equals it, else 0.
    """
    mask_iou(predicted, true)  # refuses what is no mask
    real = mask_boundary(true)
    if not real.any():
        return float(not ((predicted != true) & ~ignored).any())
    near = (_distance(real) <= band * math.hypot(*true.shape)) & ~ignored
    return mask_iou(predicted & near, true & near)


def _distance(pixels: Mask) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest of some pixels; these must not be none."""
    return np.asarray(
        cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    )
