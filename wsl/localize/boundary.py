"""From a mask at the working size to one at the image's own, by the pixels along its boundary.

Lombaert et al. 2005 solve a graph cut at a low resolution first, and then, at the next one, only in
a narrow band around the boundary found. Here the band is cut once, with the color models that
GrabCut has fitted at the working size.

Seeds at the image's own size hold in the band as well. They matter more than the cut: definite
pixels that are lost when a map is shrunk are there again.

References
----------
H. Lombaert, Y. Sun, L. Grady, C. Xu. A multilevel banded graph cuts method for fast image
segmentation. ICCV 2005.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.localize.refiners.grabcut import Models
from wsl.localize.seeds import Seeds
from wsl.masks import Mask, mask_to_box

__all__ = ["band_of", "refine_band"]


def band_of(mask: Mask, width: int) -> Mask:
    """Find the pixels near a mask's boundary.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
    width : int
        Of the band on either side, in pixels (chessboard distance), at least 1.

    Returns
    -------
    ndarray of bool, shape (H, W)
        The image's border is no boundary.

    Examples
    --------
    >>> mask = np.array([[False, False, False, True, True, True, True]])
    >>> band_of(mask, 2).astype(int)
    array([[0, 1, 1, 1, 1, 0, 0]])
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, but got {width}")
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    filled = mask.astype(np.uint8)
    return np.asarray(cv2.dilate(filled, square) != cv2.erode(filled, square), dtype=bool)


def refine_band(
    image: NDArray[np.uint8], mask: Mask, seeds: Seeds, models: Models, *, width: int
) -> Mask:
    """Cut the band around a mask's boundary anew; the rest stays as it is.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    mask : ndarray of bool, shape (H, W)
        Where to start, such as a smaller mask brought to the image's size.
    seeds : ndarray of uint8, shape (H, W)
        GrabCut's codes. Definite seeds are the answer, in the band and outside of it.
    models : (ndarray, ndarray) of float64, shape (1, 65)
        Color models of background and foreground (`Refinement.models`). They stay as they are.
    width : int
        Of the band on either side, in pixels.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    definite: Mask = (mask | (seeds == cv2.GC_FGD)) & (seeds != cv2.GC_BGD)
    free = band_of(definite, width) & (seeds >= cv2.GC_PR_BGD)
    if not free.any():
        return definite
    # A free pixel's neighbors are all that its cut depends on: the rest need not be in the graph.
    box = mask_to_box(free)
    assert box is not None
    x0, y0, x1, y1 = (int(side) for side in box)
    rows, columns = slice(max(0, y0 - 1), y1 + 1), slice(max(0, x0 - 1), x1 + 1)
    labels = definite.astype(np.uint8) + 2 * free.astype(np.uint8)  # 0, 1 definite; 2, 3 probable
    part = np.ascontiguousarray(labels[rows, columns])
    bgr = cv2.cvtColor(np.ascontiguousarray(image[rows, columns]), cv2.COLOR_RGB2BGR)
    background, foreground = (model.copy() for model in models)
    no_rectangle = (0, 0, 0, 0)
    cv2.grabCut(bgr, part, no_rectangle, background, foreground, 1, cv2.GC_EVAL_FREEZE_MODEL)
    refined = definite.copy()
    refined[rows, columns] = (part & 1).astype(bool)
    return np.asarray(refined, dtype=bool)
