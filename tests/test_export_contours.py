from __future__ import annotations

import cv2
import numpy as np
import pytest
from export_cases import BORDER, EMPTY, HOLE, PARTS, PIXEL, TOUCHING, drawn
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from strategies import masks

from wsl.export.contours import boundary_rings, one_ring
from wsl.masks import mask_to_box

CASES = {
    "border": BORDER,
    "pixel": PIXEL,
    "hole": HOLE,
    "parts": PARTS,
    "touching": TOUCHING,
    "empty": EMPTY,
}


def even_odd(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose center lies inside: rays to the left cross an odd number of vertical edges."""
    inside = np.zeros(shape, dtype=bool)
    for ring in rings:
        for (x, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x != x1 and y0 != y1:  # a line that joins rings, walked there and back
                continue
            inside[min(y0, y1) : max(y0, y1), x:] ^= True
    return inside


def area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_rings_enclose_the_mask(mask):
    rings = boundary_rings(mask)
    assert np.array_equal(even_odd([*rings.outer, *rings.holes], mask.shape), mask)


@given(masks())
def test_rings_enclose_any_mask_clockwise_and_holes_counter_clockwise(mask):
    rings = boundary_rings(mask)
    assert np.array_equal(even_odd([*rings.outer, *rings.holes], mask.shape), mask)
    assert all(area(ring) > 0 for ring in rings.outer)
    assert all(area(ring) < 0 for ring in rings.holes)
    assert sum(map(area, [*rings.outer, *rings.holes])) == mask.sum()
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(rings.outer) == count - 1
    outside, _ = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8))
    assert len(rings.holes) == outside - 2  # of 8-connected background, without the surroundings


def test_worked_by_hand():
    rings = boundary_rings(drawn("###", "#.#", "###"))
    assert [ring.tolist() for ring in rings.outer] == [[[0, 0], [3, 0], [3, 3], [0, 3]]]
    assert [ring.tolist() for ring in rings.holes] == [[[1, 1], [1, 2], [2, 2], [2, 1]]]


@given(masks())
def test_coco_gives_masks_without_holes_back_exactly(mask):
    rings = boundary_rings(mask)
    if not rings.outer or rings.holes:
        return
    polygons = [ring.ravel().tolist() for ring in rings.outer]
    packed = coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))
    assert np.array_equal(coco_mask.decode(packed).astype(bool), mask)


@given(masks())
def test_fill_poly_adds_at_most_a_pixel_to_the_right_and_below(mask):
    rings = boundary_rings(mask)
    filled = np.zeros(mask.shape, dtype=np.uint8)
    # Each part with its own holes, as a reader that takes polygons one by one would.
    for ring in rings.outer:
        cv2.fillPoly(filled, [ring.astype(np.int32)], 1)
    solid = even_odd(rings.outer, mask.shape)
    padded = np.pad(solid, ((1, 0), (1, 0)))
    grown = padded[1:, 1:] | padded[:-1, 1:] | padded[1:, :-1] | padded[:-1, :-1]
    assert not (solid & ~filled.astype(bool)).any()
    assert not (filled.astype(bool) & ~grown).any()


@given(masks())
def test_one_ring_encloses_the_mask_and_its_extremes_are_the_box(mask):
    if not mask.any():
        return
    ring = one_ring(boundary_rings(mask))
    assert area(ring) == mask.sum()
    box = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
    assert box == mask_to_box(mask)


def test_one_ring_is_read_back_by_the_even_odd_rule():
    for mask in (HOLE, PARTS, TOUCHING):
        ring = one_ring(boundary_rings(mask))
        # Enlarged, so that the outline and the joining lines are thin beside the pixels.
        canvas = np.zeros(np.array(mask.shape) * 8, dtype=np.uint8)
        cv2.fillPoly(canvas, [(ring * 8).astype(np.int32)], 1)
        assert np.array_equal(canvas[5::8, 5::8].astype(bool) & mask, mask)
        assert np.count_nonzero(canvas[5::8, 5::8].astype(bool) & ~mask) <= 2


def test_one_ring_of_nothing_is_refused():
    with pytest.raises(ValueError, match="an empty mask has no ring"):
        one_ring(boundary_rings(EMPTY))


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_rectangle_has_four_corners(height, width):
    rings = boundary_rings(np.ones((height, width), dtype=bool))
    corners = [[0, 0], [width, 0], [width, height], [0, height]]
    assert [ring.tolist() for ring in rings.outer] == [corners]
