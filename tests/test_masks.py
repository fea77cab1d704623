from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies import mask_pairs, masks

from wsl.masks import (
    components,
    decode_rle,
    encode_rle,
    largest_component,
    mask_iou,
    mask_to_box,
    rle_area,
)


def drawn(*rows: str) -> np.ndarray:
    return np.array([[letter != "." for letter in row] for row in rows])


def flood_components(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected components by flooding, the largest first, then by the first pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        grown, front = set(), [min(left)]
        while front:
            y, x = front.pop()
            if (y, x) in left:
                left.remove((y, x))
                grown.add((y, x))
                front += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found.append(grown)
    return sorted(found, key=lambda pixels: (-len(pixels), min(pixels)))


@given(masks())
def test_run_lengths_round_trip(mask):
    rle = encode_rle(mask)
    decoded = decode_rle(rle, mask.shape)
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)
    assert rle_area(rle, mask.shape) == mask.sum()


def test_run_lengths_go_column_by_column():
    # 1 of background, 2 of foreground, 1 of background; 6 bits a number, lowest first, plus 48.
    assert encode_rle(drawn(".#", "#.")) == "".join(chr(48 + run) for run in (1, 2, 1))


def test_run_lengths_of_sides_without_pixels_of_a_kind():
    full, empty = np.ones((3, 2), dtype=bool), np.zeros((3, 2), dtype=bool)
    assert encode_rle(full) == chr(48) + chr(54)
    assert encode_rle(empty) == chr(54)


@given(mask_pairs())
def test_iou_is_symmetric_and_in_0_to_1(pair):
    first, second = pair
    assert 0 <= mask_iou(first, second) <= 1
    assert mask_iou(first, second) == mask_iou(second, first)
    assert mask_iou(first, first) == float(first.any())


def test_iou_worked_by_hand():
    assert mask_iou(drawn("##.", "##."), drawn(".##", ".##")) == 2 / 6
    assert mask_iou(drawn("..."), drawn("...")) == 0


def test_masks_of_two_sizes_have_no_iou():
    with pytest.raises(ValueError, match=r"one size, but got \(1, 2\) and \(2, 1\)"):
        mask_iou(drawn("#."), drawn("#", "."))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 2), dtype=np.uint8), np.zeros((1, 2, 2), dtype=bool)],
    ids=["numbers", "deep"],
)
@pytest.mark.parametrize("function", [mask_to_box, components, encode_rle, largest_component])
def test_what_is_no_mask_is_refused(function, wrong):
    with pytest.raises(ValueError, match=r"a mask must be a \(H, W\) array of bool, but got"):
        function(wrong)


@given(masks())
def test_components_are_those_of_a_flood(mask):
    found = components(mask)
    as_pixels = [{(int(y), int(x)) for y, x in np.argwhere(part)} for part in found]
    assert as_pixels == flood_components(mask)
    largest = found[0] if found else np.zeros_like(mask)
    np.testing.assert_array_equal(largest_component(mask), largest)


def test_touching_corners_connect_and_the_first_of_equals_is_first():
    mask = drawn("..#..", "...#.", "#....", ".#..#")
    np.testing.assert_array_equal(
        largest_component(mask), drawn("..#..", "...#.", ".....", ".....")
    )
    assert [int(part.sum()) for part in components(mask)] == [2, 2, 1]


@given(masks())
def test_the_box_of_a_mask_is_tight(mask):
    box = mask_to_box(mask)
    if box is None:
        assert not mask.any()
        return
    x0, y0, x1, y1 = box
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    edges = [mask[y0, x0:x1], mask[y1 - 1, x0:x1], mask[y0:y1, x0], mask[y0:y1, x1 - 1]]
    assert all(edge.any() for edge in edges)


def test_the_box_of_a_full_mask_is_the_image():
    assert mask_to_box(np.ones((2, 3), dtype=bool)) == (0, 0, 3, 2)
