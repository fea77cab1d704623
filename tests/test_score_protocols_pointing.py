"""The pointing game against a naive program that looks at every pixel, and known answers."""

import math
import random

import numpy as np
import pytest

from wsl.boxes import box_to_mask
from wsl.errors import ScoreError
from wsl.score.estimates import wilson
from wsl.score.protocols.pointing import (
    PointingGame,
    PointingOptions,
    box_distance,
    highest_point,
    mask_distance,
)


def naive_distance(point, mask):
    best = math.inf
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                best = min(best, math.sqrt((x - point[0]) ** 2 + (y - point[1]) ** 2))
    return best


def test_distances_equal_naive_ones():
    draw = random.Random(2)
    for _ in range(1500):
        size = (draw.randint(1, 12), draw.randint(1, 12))
        point = (draw.randrange(size[1]), draw.randrange(size[0]))
        x, y = draw.randint(0, 4 * size[1]) / 4, draw.randint(0, 4 * size[0]) / 4
        box = (x, y, draw.randint(int(4 * x), 4 * size[1]) / 4, draw.uniform(y, size[0]))
        mask = box_to_mask(box, size)
        assert box_distance(point, box) == naive_distance(point, mask)
        assert mask_distance(point, mask) == naive_distance(point, mask)
        speckle = np.array([[draw.random() < 0.1] * size[1]] * size[0])
        assert mask_distance(point, speckle) == naive_distance(point, speckle)


def test_game_equals_a_naive_one():
    draw = random.Random(3)
    generator = np.random.default_rng(3)
    for _ in range(400):
        game, hits = PointingGame(PointingOptions(tolerance=2.5)), {}
        for number in range(draw.randint(1, 15)):
            size = (draw.randint(2, 12), draw.randint(2, 12))
            map_ = generator.integers(0, 3, size).astype(float)  # Many equal maxima.
            label = draw.randrange(3)
            masks = [generator.random(size) < 0.05 for _ in range(draw.randint(1, 3))]
            game.add(map_, masks, size, label=label, name=str(number))
            point = next(
                (x, y) for y in range(size[0]) for x in range(size[1]) if map_[y, x] == map_.max()
            )
            hit = any(naive_distance(point, mask) < 2.5 for mask in masks)
            hits.setdefault(label, []).append(hit)
        scores = game.scores()
        every = [hit for of_class in hits.values() for hit in of_class]
        overall = scores.estimate("pointing_accuracy")
        assert overall.value == sum(every) / len(every)
        assert (overall.low, overall.high) == wilson(sum(every), len(every))
        means = [sum(of_class) / len(of_class) for of_class in hits.values()]
        by_class = scores.estimate("pointing_accuracy_by_class")
        assert by_class.value == pytest.approx(sum(means) / len(means))
        assert scores.counts["classes"] == len(hits)


def test_tolerance():
    map_ = np.zeros((40, 60))
    map_[10, 20] = 1
    for distance, value in ((0, 1), (14, 1), (15, 0), (16, 0)):
        game = PointingGame()
        game.add(map_, [(20 + distance, 5, 60, 40)], (40, 60), label=0, name="a")
        assert game.scores().estimate("pointing_accuracy").value == value


def test_highest_point():
    assert highest_point(np.ones((3, 4)), (3, 4), name="a") == (0, 0)
    assert highest_point([[0, 1], [1, 0]], (2, 2), name="a") == (1, 0)
    x, y = highest_point([[0, 0], [0, 1]], (20, 40), name="a")
    assert x >= 29
    assert y >= 14


def test_empty_instances_are_never_hit():
    assert box_distance((0, 0), (3, 3, 3, 5)) == math.inf
    game = PointingGame()
    game.add([[1.0]], [np.zeros((1, 1), dtype=bool)], (1, 1), label=0, name="a")
    assert game.scores().estimate("pointing_accuracy").value == 0


def test_the_center_stands_beside():
    game = PointingGame(PointingOptions(tolerance=1))
    game.add(np.eye(9), [(4, 4, 5, 5)], (9, 9), label=0, name="a")
    scores = game.scores()
    assert scores.estimate("pointing_accuracy").value == 0
    assert scores.baselines[0].estimates[0].value == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PointingGame(PointingOptions(tolerance=-1)), "greater than 0"),
        (lambda: PointingGame().scores(), "at least one image"),
        (
            lambda: PointingGame().add([[np.nan]], [(0, 0, 1, 1)], (1, 1), label=0, name="x"),
            "map of x: must be finite",
        ),
        (
            lambda: PointingGame().add([[1.0]], [], (1, 1), label=0, name="x"),
            "image x: must have at least one instance",
        ),
        (
            lambda: PointingGame().add(
                [[1.0]], [np.zeros((2, 2), dtype=bool)], (1, 1), label=0, name="x"
            ),
            r"image x: masks must have the image's size \(1, 1\), but got \(2, 2\)",
        ),
    ],
    ids=["tolerance", "no image", "nan", "no instance", "size"],
)
def test_refused(call, message):
    with pytest.raises((ScoreError, ValueError), match=message):
        call()
