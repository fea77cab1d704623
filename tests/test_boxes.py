from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import fractional_boxes, integer_boxes

from wsl.boxes import (
    as_boxes,
    box_area,
    box_iou,
    box_to_mask,
    centered_box,
    clip_box,
    from_inclusive,
    to_inclusive,
)
from wsl.masks import mask_iou, mask_to_box

SIDE = 20


def devkit_iou(first, second) -> float:
    """IoU as the challenge's kit states it: inclusive corners and widths of x1 - x0 + 1."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    width, height = right - left + 1, bottom - top + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (first, second)]
    return width * height / (sum(areas) - width * height)


@given(integer_boxes(), integer_boxes())
def test_iou_of_boxes_is_that_of_the_masks_they_fill(first, second):
    masks = [box_to_mask(box, (SIDE, SIDE)) for box in (first, second)]
    assert box_iou([first], [second])[0, 0] == mask_iou(*masks)


@given(integer_boxes())
def test_a_box_its_mask_and_the_masks_box_agree(box):
    mask = box_to_mask(box, (SIDE, SIDE))
    assert mask.sum() == box_area([box])[0]
    assert mask_to_box(mask) == (box if mask.any() else None)


@given(fractional_boxes, fractional_boxes)
def test_iou_is_symmetric_and_in_0_to_1(first, second):
    iou = box_iou([first], [second])[0, 0]
    assert 0 <= iou <= 1 + 1e-12
    assert iou == box_iou([second], [first])[0, 0]


@given(fractional_boxes)
def test_iou_with_itself_is_1_unless_there_is_no_area(box):
    area = box_area([box])[0]
    assert box_iou([box], [box])[0, 0] == (1 if area > 0 else 0)


@st.composite
def inclusive_boxes(draw):
    x0, y0 = draw(st.integers(-3, SIDE)), draw(st.integers(-3, SIDE))
    return (x0, y0, x0 + draw(st.integers(0, SIDE)), y0 + draw(st.integers(0, SIDE)))


@given(inclusive_boxes(), inclusive_boxes())
def test_iou_is_the_development_kits(first, second):
    found = box_iou([from_inclusive(first)], [from_inclusive(second)])[0, 0]
    assert found == devkit_iou(first, second)


def test_iou_worked_by_hand():
    found = box_iou([from_inclusive((1, 2, 5, 6))], [from_inclusive((3, 1, 4, 5))])
    assert found[0, 0] == 8 / 27
    pairs = box_iou([(0, 0, 2, 2), (0, 0, 4, 4)], [(0, 0, 2, 2), (2, 2, 4, 4), (9, 9, 9, 12)])
    np.testing.assert_array_equal(pairs, [[1, 0, 0], [0.25, 0.25, 0]])


def test_no_boxes():
    assert as_boxes([]).shape == (0, 4)
    assert box_iou([], [(0, 0, 1, 1)]).shape == (0, 1)
    assert box_iou([(0, 0, 1, 1)], []).shape == (1, 0)


def test_one_box_becomes_a_row_and_is_a_copy():
    given_box = np.array([1.0, 2, 3, 4])
    boxes = as_boxes(given_box)
    boxes[0, 0] = 9
    assert boxes.shape == (1, 4)
    assert given_box[0] == 1


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([(1, 2, 3)], r"shape \(N, 4\), but got \(1, 3\)"),
        (np.zeros((2, 2, 4)), r"but got \(2, 2, 4\)"),
        ([(0, 0, np.nan, 1)], "must be finite"),
        ([(0, 0, np.inf, 1)], "must be finite"),
        ([(0, 0, 1, 1), (5, 0, 4, 1)], r"x0 <= x1 and y0 <= y1, but got \[5.0, 0.0, 4.0, 1.0\]"),
        ([(0, 3, 1, 2)], "y0 <= y1"),
    ],
    ids=["three", "deep", "nan", "infinite", "reversed x", "reversed y"],
)
def test_what_is_no_box_is_refused(boxes, reason):
    with pytest.raises(ValueError, match=reason):
        as_boxes(boxes)


@given(integer_boxes())
def test_inclusive_and_back(box):
    assert to_inclusive(from_inclusive(box)) == box


def test_the_inclusive_box_of_a_whole_image_is_its_size():
    assert from_inclusive((0, 0, 226, 226)) == (0, 0, 227, 227)
    assert to_inclusive((0, 0, 227, 227)) == (0, 0, 226, 226)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ((-5, -1, 100, 200), (0, 0, 30, 20)),
        ((29, 19, 31, 21), (29, 19, 30, 20)),
        ((30, 0, 40, 5), None),
        ((0, -9, 5, 0), None),
        ((5, 5, 5, 9), None),
    ],
    ids=["inside", "around", "corner", "right of it", "above", "without area"],
)
def test_clip_box(box, clipped):
    assert clip_box(box, (20, 30)) == clipped


def test_centered_box():
    assert centered_box((20, 30), 1) == (0, 0, 30, 20)
    x0, y0, x1, y1 = centered_box((20, 30), 0.8)
    assert (x1 - x0, y1 - y0) == pytest.approx((24, 16))
    assert (x0 + x1, y0 + y1) == pytest.approx((30, 20))


@pytest.mark.parametrize("side", [0, -0.5, 1.01, float("nan")])
def test_a_side_outside_of_0_to_1_is_refused(side):
    with pytest.raises(ValueError, match=r"side must be in \(0, 1\]"):
        centered_box((20, 30), side)


def test_a_fractional_box_fills_the_pixels_whose_centers_it_holds():
    mask = box_to_mask((0.5, 0.6, 2.5, 2.4), (4, 4))
    assert np.argwhere(mask).tolist() == [[1, 0], [1, 1]]


def test_a_box_beyond_the_image_fills_what_is_inside():
    assert box_to_mask((-3, -3, 2, 1), (4, 4)).sum() == 2
    assert not box_to_mask((-3, -3, -1, 1), (4, 4)).any()
    assert box_to_mask((2, 2, 99, 99), (4, 4)).sum() == 4
