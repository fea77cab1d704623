"""The guided filter at the image's own size."""

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsl.localize import boundary
from wsl.localize.boundary import GuidedFilter, guided_filter, resize_mask
from wsl.masks import mask_iou, mask_to_box


def disc(size=(240, 320), center=(113, 151), radius=67):
    y, x = np.ogrid[: size[0], : size[1]]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def colored(mask, seed=0, noise=40):
    """Noise around one color inside of the mask, around another outside."""
    found = np.random.default_rng(seed).integers(0, noise, (*mask.shape, 3))
    return (found + np.where(mask[..., None], (180, 60, 40), (30, 120, 150))).astype(np.uint8)


def shrunk(mask, factor):
    size = mask.shape[1] // factor, mask.shape[0] // factor
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0


def by_least_squares(guide, values, radius, epsilon):
    """The definition, window by window: ridge regression of the values on the colors."""
    padded = [np.pad(x, [(2 * radius,) * 2] * 2 + [(0, 0)] * (x.ndim - 2), mode="symmetric")
              for x in (guide / 255.0, values.astype(float))]  # fmt: skip
    height, width = values.shape
    total = np.zeros((height, width))
    span = 2 * radius + 1
    for y in range(height + 2 * radius):  # each window, by its first row and column
        for x in range(width + 2 * radius):
            colors = padded[0][y : y + span, x : x + span].reshape(-1, 3)
            inside = padded[1][y : y + span, x : x + span].ravel()
            centered = colors - colors.mean(axis=0)
            covariance = centered.T @ centered / len(colors) + epsilon * np.eye(3)
            slope = np.linalg.solve(covariance, centered.T @ (inside - inside.mean()) / len(colors))
            offset = inside.mean() - slope @ colors.mean(axis=0)
            top, left = max(0, y - 2 * radius), max(0, x - 2 * radius)
            part = slice(top, y + 1), slice(left, x + 1)
            total[part] += (guide[part] / 255.0) @ slope + offset
    return total / span**2


@pytest.mark.parametrize("radius", [1, 2])
def test_it_is_ridge_regression_in_every_window(radius):
    rng = np.random.default_rng(0)
    guide = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    values = rng.random((9, 11)).astype(np.float32)
    found = guided_filter(guide, values, radius, 0.01)
    np.testing.assert_allclose(found, by_least_squares(guide, values, radius, 0.01), atol=1e-4)


def test_a_rough_boundary_becomes_the_true_one():
    mask = disc()
    rough = shrunk(mask, 4)
    plain = resize_mask(rough, mask.shape)
    found = GuidedFilter()(colored(mask, noise=10), rough)
    assert mask_iou(plain, mask) < 0.98
    assert mask_iou(found, mask) > 0.995


def test_on_a_flat_image_the_boundary_stays():
    mask = disc()
    flat = np.full((*mask.shape, 3), 90, np.uint8)
    assert mask_iou(GuidedFilter()(flat, mask), mask) > 0.99


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.integers(5, 40),
    share=st.floats(0.02, 0.1),
    seed=st.integers(0, 99),
)
def test_tiles_change_nothing(size, tile, share, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    mask = cv2.blur(rng.random(size).astype(np.float32), (5, 5)) > 0.5
    step = GuidedFilter(radius=share)
    radius = max(1, round(share * max(size)))
    whole = guided_filter(image, mask.astype(np.float32), radius, step.epsilon)
    kept = boundary._TILE
    try:
        boundary._TILE = tile
        found = step(image, mask)
    finally:
        boundary._TILE = kept
    sure = np.abs(whole - 0.5) > 1e-3
    expected = whole >= 0.5 if found.any() and (whole >= 0.5).any() else mask
    np.testing.assert_array_equal(found[sure], expected[sure])


@pytest.mark.parametrize("value", [True, False])
def test_a_mask_without_a_boundary_stays_what_it_is(value):
    image = colored(disc((50, 60)))
    assert (GuidedFilter()(image, np.full((20, 24), value)) == value).all()


def test_a_mask_that_the_filter_would_lose_is_kept():
    image = np.full((200, 200, 3), 90, np.uint8)
    mask = np.zeros((200, 200), bool)
    mask[100, 100] = True
    np.testing.assert_array_equal(GuidedFilter()(image, mask), mask)


def test_memory_does_not_grow_with_the_image():
    mask = disc((2000, 3000), (900, 1400), 300)
    image = np.zeros((*mask.shape, 3), np.uint8)
    small = shrunk(mask, 10)
    tracemalloc.start()
    GuidedFilter()(image, small)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The soft mask has 4 bytes a pixel, the masks have one; a filter of it all had over 100.
    assert peak < 16 * mask.size


def test_resizing_a_mask_keeps_where_it_is():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:8] = True
    assert mask_to_box(resize_mask(mask, (40, 40))) == (12, 8, 32, 24)
    assert resize_mask(mask, (10, 10)) is mask
