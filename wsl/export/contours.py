"""Masks as polygons: rings along the borders of pixels.

A pixel (x, y) is the unit square between the corners (x, y) and (x + 1, y + 1). A ring runs along
the edges between pixels inside and outside of the mask; its vertices are pixel corners, so x is in
0 … width and y in 0 … height, and the smallest rectangle around it is the mask's half-open box.

How readers rasterize it:

- readers that take the pixels whose centers lie inside, and ``pycocotools.mask.frPyObjects``, get
  the mask back exactly;
- ``cv2.fillPoly`` and similar drawing functions also color the outline and take the vertices for
  pixel centers: they fill the mask and at most one pixel more to the right and below.

Pixels that touch at a corner only belong to different rings (4-connected). Compare the contours of
``cv2.findContours``, which run through pixel centers: a single pixel has no area there, and boxes
come out one pixel too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsl.masks import Mask

Ring = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rings:
    """The borders of a mask."""

    outer: list[Ring]
    """Shape (N, 2). Vertices (x, y) of the border around each part, clockwise as seen on the
    screen, not repeating the first vertex; parts from top to bottom."""
    holes: list[Ring]
    """Shape (N, 2). The same for each hole, counter-clockwise."""


def boundary_rings(mask: Mask) -> Rings:
    """Trace the borders of a mask along the edges of its pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)

    Returns
    -------
    Rings
        Without any ring if the mask is empty.

    Examples
    --------
    >>> boundary_rings(np.array([[False, True]])).outer[0].tolist()
    [[1, 0], [2, 0], [2, 1], [1, 1]]
    """
    padded = np.pad(mask, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    # A border turns where an odd number of the four pixels around a corner is inside, and turns
    # twice where the inside pixels are two that touch at the corner only.
    turn_y, turn_x = np.nonzero(nw ^ ne ^ sw ^ se)
    touch_y, touch_x = np.nonzero((nw == se) & (ne == sw) & (nw != ne))
    y = np.concatenate([turn_y, touch_y, touch_y])
    x = np.concatenate([turn_x, touch_x, touch_x])
    # The two turns at a touching corner: the first has the edge to the left, the second the one to
    # the right. Upwards goes whichever of them surrounds the upper one of the two pixels.
    zeros, ones = np.zeros_like(touch_y), np.ones_like(touch_y)
    upper_right = ne[touch_y, touch_x].astype(touch_y.dtype)
    across = np.concatenate([np.zeros_like(turn_y), zeros, ones])
    along = np.concatenate([np.zeros_like(turn_y), upper_right, 1 - upper_right])
    by_row = np.lexsort((across, x, y))
    rows, columns = _partners(by_row), _partners(np.lexsort((along, y, x)))
    corners = np.stack([x, y], axis=1).astype(np.int64)
    rings = Rings([], [])
    for walked in _walks(by_row.tolist(), rows.tolist(), columns.tolist()):
        # Right and down of its first corner, the topmost and then leftmost, a ring has its inside.
        if se[y[walked[0]], x[walked[0]]]:
            rings.outer.append(corners[walked])
        else:
            rings.holes.append(corners[walked[:1] + walked[:0:-1]])
    return rings


def _partners(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Other end of the edge of each corner, when edges lie between neighbors of an order."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner


def _walks(starts: list[int], rows: list[int], columns: list[int]) -> list[list[int]]:
    """Follow the edges, one along the row and one along the column in turn, ring by ring."""
    seen = [False] * len(starts)
    walks = []
    for start in starts:
        if seen[start]:
            continue
        walk, here = [], start
        while not seen[here]:
            there = rows[here]
            walk += [here, there]
            seen[here] = seen[there] = True
            here = columns[there]
        walks.append(walk)
    return walks


def one_ring(rings: Rings) -> Ring:
    """All rings of a mask in one, for formats that have one polygon per object.

    Each further ring is reached from the nearest vertex of what is joined so far, along a line
    there and the same line back, which encloses nothing. Filled by the even-odd rule it is the
    mask; functions that color the outline (``cv2.fillPoly``) also color these lines.

    Raises
    ------
    ValueError
        If there is no ring at all.
    """
    if not rings.outer:
        raise ValueError("an empty mask has no ring")
    first, *others = [*rings.outer, *rings.holes]
    joined = first
    for ring in others:
        here, there = _nearest(joined, ring)
        detour = np.concatenate([ring[there:], ring[: there + 1]])
        joined = np.concatenate([joined[: here + 1], detour, joined[here:]])
    return joined


def _nearest(first: Ring, second: Ring) -> tuple[int, int]:
    """Positions of the two vertices, one of each ring, that are nearest to each other."""
    best = (0, 0)
    shortest = np.inf
    for start in range(0, len(first), 4096):  # bounds the memory for the distances
        block = first[start : start + 4096]
        distances = ((block[:, None] - second[None]) ** 2).sum(axis=2)
        at = int(distances.argmin())
        if distances.flat[at] < shortest:
            shortest = distances.flat[at]
            best = (start + at // len(second), at % len(second))
    return best
