"""Boundary F and trimap IoU against loops over pixels, and known answers."""

import math

import cv2
import numpy as np
import pytest
from scored_runs import score_masks

from wsl.errors import ScoreError
from wsl.score.protocols.boundary import (
    BoundaryOptions,
    boundary_f,
    mask_boundary,
    trimap_iou,
)


def naive_boundary(mask):
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(v, u) for v, u in near if 0 <= v < height and 0 <= u < width]
            if mask[y, x] and any(not mask[at] for at in inside):
                found.append((y, x))
    return found


def naive_f(predicted, true, ignored, tolerance):
    found, real = naive_boundary(predicted), naive_boundary(true)
    if not found or not real:
        return float(bool(found) == bool(real))
    reach = tolerance * math.hypot(*true.shape)
    right = [p for p in found if min(math.dist(p, q) for q in real) <= reach]
    counted = [p for p in found if p in right or not ignored[p]]
    recall = sum(min(math.dist(p, q) for p in found) <= reach for q in real) / len(real)
    precision = len(right) / max(len(counted), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def naive_trimap(predicted, true, ignored, band):
    real = naive_boundary(true)
    if not real:
        return float(not ((predicted != true) & ~ignored).any())
    reach = band * math.hypot(*true.shape)
    both = either = 0
    for at in np.ndindex(*true.shape):
        if not ignored[at] and min(math.dist(at, q) for q in real) <= reach:
            both += predicted[at] and true[at]
            either += predicted[at] or true[at]
    return both / either if either else 0.0


def test_both_equal_the_naive_ones():
    generator = np.random.default_rng(0)
    for _ in range(300):
        size = tuple(generator.integers(2, 14, 2).tolist())
        predicted, true, ignored = generator.random((3, *size)) < generator.choice(
            [0, 0.2, 0.7, 1], (3, 1, 1)
        )
        tolerance = float(generator.choice([0.03, 0.13, 0.31]))
        assert mask_boundary(true).nonzero()[0].size == len(naive_boundary(true))
        assert boundary_f(predicted, true, ignored, tolerance=tolerance) == pytest.approx(
            naive_f(predicted, true, ignored, tolerance), abs=1e-12
        )
        assert trimap_iou(predicted, true, ignored, band=tolerance) == pytest.approx(
            naive_trimap(predicted, true, ignored, tolerance), abs=1e-12
        )


def square(side, size=(400, 300)):
    mask = np.zeros(size, dtype=bool)
    mask[100 : 100 + side, 100 : 100 + side] = True
    return mask


def test_the_tolerance_is_a_fraction_of_the_diagonal():
    # 500 pixels: 3.75 of them are 0.75 %.
    none = np.zeros((400, 300), dtype=bool)
    true = square(100)
    for shift, value in ((3, 1.0), (4, 0.5)):
        moved = np.roll(true, shift, axis=1)
        found = boundary_f(moved, true, none, tolerance=0.0075)
        assert found == 1 if value == 1 else found < 1
    assert boundary_f(true, true, none, tolerance=0.0075) == 1
    assert boundary_f(square(40), true, none, tolerance=0.0075) < 0.5


def test_a_prediction_within_the_void_is_right():
    true = square(100)
    void = cv2.dilate(true.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~true
    grown = true | void
    assert boundary_f(grown, true, void, tolerance=0.0075) == 1
    assert trimap_iou(grown, true, void, band=0.02) == 1
    assert trimap_iou(grown, true, np.zeros_like(void), band=0.02) < 1


def test_the_protocol_gives_means_beside_the_baselines():
    true = square(100)
    scores = score_masks([("a", true, true), ("b", None, true)], BoundaryOptions())
    assert [one.name for one in scores.estimates] == ["boundary_f", "trimap_iou"]
    assert [one.value for one in scores.estimates] == [0.5, 0.5]
    # The whole image has no boundary, and its half of the band is wrong.
    whole = {one.name: one.value for one in scores.baselines[0].estimates}
    assert whole["boundary_f"] == 0
    assert 0.3 < whole["trimap_iou"] < 0.6


def test_refused():
    with pytest.raises(ScoreError, match="image a: masks must have one size"):
        score_masks([("a", square(9), square(9, (120, 120)))], BoundaryOptions())
    with pytest.raises(ValueError, match="greater than 0"):
        BoundaryOptions(tolerance=0)
