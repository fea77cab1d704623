"""Outlines and colors."""

import numpy as np
import pytest

from wsl.demo.objects import OBJECTS
from wsl.demo.shapes import (
    arc,
    box_outline,
    darker,
    ellipse,
    hsv,
    lighter,
    polar,
    smooth,
    stroke,
)


def area(outline):
    x, y = outline.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def test_box_outline_has_its_corners():
    assert box_outline(1, 2, 3, 5).tolist() == [[1, 2], [3, 2], [3, 5], [1, 5]]


def test_rounding_takes_the_corners_away():
    rounded = box_outline(0, 0, 4, 2, radius=0.5)
    assert rounded.min(axis=0) == pytest.approx([0, 0])
    assert rounded.max(axis=0) == pytest.approx([4, 2])
    assert area(rounded) == pytest.approx(8 - (4 - np.pi) * 0.25, rel=0.01)


def test_ellipse_has_its_area_whatever_its_angle():
    assert area(ellipse((3, 4), (2, 1), angle=0.7, count=400)) == pytest.approx(2 * np.pi, rel=1e-3)


def test_ellipse_turns_clockwise_on_the_screen():
    turned = ellipse((0, 0), (2, 1), angle=np.pi / 4, count=401)
    farthest = turned[np.linalg.norm(turned, axis=1).argmax()]
    assert farthest[0] * farthest[1] > 0  # right and down, or left and up


def test_arc_ends_where_it_should():
    np.testing.assert_allclose(arc((1, 1), (2, 3), 0, np.pi / 2)[[0, -1]], [[3, 1], [1, 4]])


def test_smooth_goes_through_its_points():
    points = np.array([(0.0, 0.0), (2.0, 0.5), (1.5, 3.0), (-1.0, 2.0)])
    np.testing.assert_allclose(smooth(points, steps=5)[::5], points)


def test_polar_is_a_circle_where_radii_are_equal():
    np.testing.assert_allclose(np.linalg.norm(polar(np.full(9, 2.0), angle=0.3), axis=1), 2)


def test_stroke_of_a_straight_line_is_a_rectangle():
    assert area(stroke([(0, 0), (3, 4)], 0.5)) == pytest.approx(2.5)


def test_stroke_may_taper():
    assert area(stroke([(0, 0), (1, 0), (2, 0)], [1.0, 0.0])) == pytest.approx(1.0)


def test_colors():
    assert hsv(1 / 3, 1, 1) == pytest.approx((0, 255, 0))
    assert hsv(-2 / 3, 2, 1) == pytest.approx((0, 255, 0))
    assert darker((100.0, 50.0, 0.0), 0.5) == (50, 25, 0)
    assert lighter((55.0, 255.0, 155.0), 0.5) == (155, 255, 205)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_objects_are_of_several_parts_and_unit_size(name):
    make, tilt = OBJECTS[name]
    assert 0 < tilt <= np.pi
    sizes = set()
    for seed in range(20):
        parts = make(np.random.default_rng(seed))
        points = np.concatenate([line for each in parts for line in each.outlines])
        assert 4 <= len(parts) < 255
        assert np.isfinite(points).all()
        assert np.abs(points).max() < 1.6
        sizes.add(tuple(np.ptp(points, axis=0)))
    assert len(sizes) == 20  # never twice the same
