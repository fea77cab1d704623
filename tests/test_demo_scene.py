"""The drawn pictures and the truth about them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsl.boxes import box_iou, centered_box
from wsl.demo.scene import CATEGORIES, DEMO_SEED, Composition, draw_image


@pytest.fixture(scope="module")
def sixty():
    return [draw_image(index, seed=DEMO_SEED) for index in range(60)]


def brute_force_box(mask):
    on = [(y, x) for y, row in enumerate(mask) for x, value in enumerate(row) if value]
    rows, columns = zip(*on, strict=True)
    return (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


@settings(max_examples=20)
@given(index=st.integers(0, 10**6), seed=st.integers(0, 2**32))
def test_same_arguments_same_picture(index, seed):
    first, second = draw_image(index, seed=seed), draw_image(index, seed=seed)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert (first.label, first.boxes) == (second.label, second.boxes)


def test_order_does_not_matter(sixty):
    np.testing.assert_array_equal(draw_image(37, seed=DEMO_SEED).image, sixty[37].image)


def test_pictures_differ(sixty):
    assert len({drawn.image.tobytes() for drawn in sixty}) == len(sixty)
    other = draw_image(0, seed=DEMO_SEED + 1)
    assert other.image.tobytes() != sixty[0].image.tobytes()


def test_image_is_rgb_of_stated_size(sixty):
    sizes = np.array([drawn.image.shape[:2] for drawn in sixty])
    assert all(drawn.image.dtype == np.uint8 and drawn.image.shape[2] == 3 for drawn in sixty)
    assert sizes.min() >= 160
    assert sizes.max() <= 500
    assert (sizes[:, 0] > sizes[:, 1]).any()
    assert (sizes[:, 0] < sizes[:, 1]).any()


def test_masks_are_disjoint_and_fit_the_image(sixty):
    for drawn in sixty:
        assert len(drawn.masks) == len(drawn.boxes) >= 1
        assert all(m.shape == drawn.image.shape[:2] and m.dtype == np.bool_ for m in drawn.masks)
        assert np.sum(drawn.masks, axis=0).max() == 1


def test_boxes_are_the_tightest_of_their_masks(sixty):
    for drawn in sixty[:12]:
        assert [brute_force_box(mask) for mask in drawn.masks] == list(drawn.boxes)


def test_objects_have_many_sizes_and_some_are_several_or_cut(sixty):
    shares = []
    for drawn in sixty:
        height, width = drawn.image.shape[:2]
        shares += [max((x1 - x0) / width, (y1 - y0) / height) for x0, y0, x1, y1 in drawn.boxes]
    assert 0.08 < min(shares) < 0.25
    assert 0.6 < max(shares) <= 0.78
    counts = np.bincount([len(drawn.masks) for drawn in sixty], minlength=4)
    assert counts[1] > 30
    assert counts[2] > 0
    assert counts[3] > 0
    assert any(
        box[0] == 0 or box[1] == 0 or box[2] == drawn.image.shape[1] or box[3] == len(drawn.image)
        for drawn in sixty
        for box in drawn.boxes
    )


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_every_ten_pictures_show_each_class_once(seed):
    small = Composition(sides=(160, 160))
    labels = [draw_image(i, seed=seed, composition=small).label for i in range(30)]
    for start in (0, 10, 20):
        assert sorted(labels[start : start + 10]) == list(range(10))
    assert labels[:10] != labels[10:20]


def test_centered_box_is_rarely_right(sixty):
    right = [
        box_iou(drawn.boxes, [centered_box(drawn.image.shape[:2], 0.75)]).max() >= 0.5
        for drawn in sixty
    ]
    assert 0 < np.mean(right) < 0.5


def test_object_and_ground_differ_in_texture_or_color(sixty):
    # Not a plain cut-out: colors vary within objects and within the ground.
    for drawn in sixty:
        inside = np.any(drawn.masks, axis=0)
        assert drawn.image[inside].std(axis=0).max() > 3
        assert drawn.image[~inside].std(axis=0).max() > 1


def test_categories_are_shaped_like_imagenets():
    assert len(CATEGORIES) == 10
    assert CATEGORIES.ids[0] == "n90000001"
    assert CATEGORIES.index("butterfly") == CATEGORIES.index("n90000010") == 9


def test_composition_is_kept():
    composition = Composition(sides=(128, 128), shares=(0.5, 0.6), counts=(1.0,), cut=0.0)
    for index in range(10):
        drawn = draw_image(index, seed=5, composition=composition)
        assert drawn.image.shape == (128, 128, 3)
        ((x0, y0, x1, y1),) = drawn.boxes
        assert 0.45 * 128 <= max(x1 - x0, y1 - y0) <= 0.63 * 128


@pytest.mark.parametrize(("index", "seed"), [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(index, seed):
    with pytest.raises(ValueError, match=f"must be >= 0, but got {index} and {seed}"):
        draw_image(index, seed=seed)
