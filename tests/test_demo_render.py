"""Coverage, shading and composition of drawn objects."""

import cv2
import numpy as np
import pytest

from wsl.demo.render import Layer, noise, paint_layer, render
from wsl.demo.shapes import Paint, box_outline, ellipse, part

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def drawn(*parts, size=(40, 50), matrix=IDENTITY):
    return render(parts, matrix, size, light=(0.6, 0.8), texture=0.1, rng=np.random.default_rng(0))


def full(layer, size=(40, 50)):
    coverage = np.zeros(size)
    coverage[layer.window] = layer.coverage
    return coverage


def test_rectangle_on_pixel_borders_covers_exactly_its_pixels():
    expected = np.zeros((40, 50))
    expected[10:25, 5:30] = 1
    square = part((200.0, 10.0, 10.0), box_outline(5, 10, 30, 25))
    np.testing.assert_array_equal(full(drawn(square)) >= 0.5, expected > 0)
    # OpenCV fills the samples under the outline too: at most one of three on each side.
    assert np.abs(full(drawn(square)) - expected).max() <= 1 / 3 + 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_ellipse_covers_its_area(shift):
    center, radii = (25 + shift, 20 - shift), (15.0, 9.0)
    layer = drawn(part((0.0, 0.0, 0.0), ellipse(center, radii, count=200)))
    y, x = np.mgrid[0:400, 0:500] / 10 + 0.05  # an oracle with 100 samples per pixel
    inside = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 <= 1
    expected = inside.reshape(40, 10, 50, 10).mean(axis=(1, 3))
    assert np.abs(full(layer) - expected).max() < 0.4
    assert full(layer).sum() == pytest.approx(expected.sum(), rel=0.04)


def test_second_outline_of_a_part_is_a_hole():
    ring = part((9.0, 9.0, 9.0), box_outline(5, 5, 35, 35), box_outline(15, 15, 25, 25))
    coverage = full(drawn(ring))
    assert coverage[20, 20] == 0
    assert coverage[20, 10] == 1


def test_parts_side_by_side_leave_no_seam():
    left = part((250.0, 0.0, 0.0), box_outline(5, 5, 20.4, 30))
    right = part((0.0, 250.0, 0.0), box_outline(20.4, 5, 40, 30))
    assert (full(drawn(left, right))[6:29, 6:39] == 1).all()


def test_later_part_hides_earlier_one():
    back = part(Paint((250.0, 0.0, 0.0), relief=0), box_outline(5, 5, 35, 35))
    front = part(Paint((0.0, 0.0, 250.0), relief=0), box_outline(10, 10, 30, 30))
    layer = drawn(back, front)
    red, green, blue = layer.color[:, 20 - layer.top, 20 - layer.left]
    assert red == green == 0
    assert blue > 100


def test_object_outside_the_image_is_no_layer():
    assert drawn(part((1.0, 2.0, 3.0), box_outline(100, 100, 120, 120))) is None


def test_object_over_the_border_is_cut():
    layer = drawn(part((1.0, 2.0, 3.0), box_outline(-10, -10, 8, 6)))
    assert (layer.top, layer.left) == (0, 0)
    np.testing.assert_array_equal(np.argwhere(layer.coverage >= 0.5).max(axis=0), (5, 7))


@pytest.mark.parametrize("pattern", ["stripes", "dots", "checks", "bricks"])
def test_pattern_shows_both_colors_and_turns_with_the_object(pattern):
    paint = Paint((255.0, 0.0, 0.0), (0.0, 0.0, 255.0), pattern, 0.5, relief=0)
    square = part(paint, box_outline(-1, -1, 1, 1))
    matrix = np.array([[15.0, 0, 25], [0, 15, 20]])
    quarter = np.array([[0, -15.0, 25], [15, 0, 20]])
    flat = {"light": (1.0, 0.0), "texture": 0.0}
    first, turned = (
        render([square], each, (40, 50), rng=np.random.default_rng(0), **flat)
        for each in (matrix, quarter)
    )
    red, blue = first.color[0], first.color[2]
    assert (red > 200).any()
    assert (blue > 200).any()
    inner = (slice(None), slice(8, 22), slice(8, 22))
    centered = [
        layer.color[:, 20 - layer.top - 15 :, 25 - layer.left - 15 :] for layer in (first, turned)
    ]
    np.testing.assert_allclose(
        np.rot90(centered[0][:, :30, :30], -1, axes=(1, 2))[inner],
        centered[1][:, :30, :30][inner],
        atol=1.0,
    )


def test_paint_layer_blends_by_coverage():
    image = np.full((3, 4, 4), 100, dtype=np.float32)
    coverage = np.array([[0.0, 0.25], [0.5, 1.0]], dtype=np.float32)
    paint_layer(image, Layer(1, 2, coverage, coverage * np.full((3, 1, 1), 200, np.float32)))
    np.testing.assert_allclose(image[:, 1:3, 2:4], np.broadcast_to(100 + 100 * coverage, (3, 2, 2)))
    assert (image[:, :, :2] == 100).all()


def test_shadow_darkens_only_the_ground():
    image = np.full((3, 40, 50), 100, dtype=np.float32)
    layer = drawn(part(Paint((200.0, 200.0, 200.0), relief=0), box_outline(10, 10, 30, 25)))
    paint_layer(image, layer, shadow=0.5, offset=(3, 3))
    assert image[0, 26, 20] < 80
    lit = image.copy()
    lit[layer.window] = 0
    inside = layer.coverage == 1
    np.testing.assert_allclose(image[layer.window][:, inside], layer.color[:, inside], rtol=1e-5)


def test_noise_has_its_size_and_range():
    field = noise(np.random.default_rng(1), (30, 70), 6, octaves=3)
    assert field.shape == (30, 70)
    assert field.dtype == np.float32
    assert np.abs(field).max() < 2.5
    assert field.std() > 0.2


def test_opencv_threads_change_nothing():
    disc = part(Paint((90.0, 80.0, 70.0), pattern="dots"), ellipse((25, 20), (12, 9)))
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = drawn(disc).color
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(drawn(disc).color, one)
    finally:
        cv2.setNumThreads(before)
