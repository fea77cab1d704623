"""The heat-map-to-box protocol against naive loops over pixels, and known answers."""

import random

import numpy as np
import pytest

from wsl.errors import ScoreError
from wsl.score.protocols.heatmap import ALPHAS, Heatmap, HeatmapOptions, heatmap_boxes, unit_map


def naive_box(map_, rule, alpha):
    pixels = [(float(v), y, x) for (y, x), v in np.ndenumerate(map_)]
    if rule == "value":
        kept = [(y, x) for v, y, x in pixels if v > alpha]
    elif rule == "mean":
        mean = sum(v for v, _, _ in pixels) / len(pixels)
        kept = [(y, x) for v, y, x in pixels if v > alpha * mean]
    else:
        total = sum(v for v, _, _ in pixels)
        kept = []
        # The smallest set {v >= level} that holds the share; none if there is nothing to hold.
        for level in sorted({v for v, _, _ in pixels}, reverse=True):
            if alpha == 0 or total == 0:
                break
            kept = [(y, x) for v, y, x in pixels if v >= level]
            if sum(v for v, _, _ in pixels if v >= level) >= alpha * total:
                break
    if not kept:
        return (0, 0, map_.shape[1], map_.shape[0]) if rule == "mean" else None
    rows, columns = [y for y, _ in kept], [x for _, x in kept]
    return (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


@pytest.mark.parametrize("rule", ["value", "energy", "mean"])
def test_boxes_equal_naive_ones(rule):
    draw = random.Random(5)
    generator = np.random.default_rng(5)
    # Eighths: every sum is exact, so that ties at the threshold are ties in both programs.
    alphas = [0, 0.125, 0.25, 0.5, 0.75, 0.875, 1] + ([2, 4, 8] if rule == "mean" else [])
    for _ in range(1500):
        size = (2 ** draw.randint(0, 3), 2 ** draw.randint(0, 3))
        top = draw.choice([1, 2, 8])
        map_ = generator.integers(0, top + 1, size) / top * (generator.random(size) < 0.6)
        assert heatmap_boxes(map_, rule, alphas) == [naive_box(map_, rule, a) for a in alphas]


def test_scaling():
    map_ = unit_map([[1.0, 3.0]], (1, 2), name="a")
    assert map_.tolist() == [[0, 1]]
    assert unit_map([[1.0, 3.0]], (10, 20), name="a").shape == (10, 20)
    assert not unit_map([[3.0, 3.0]], (10, 20), name="a").any()


def stepped(size, inner, outer):
    """1 in the inner box, 0.5 in the rest of the outer one."""
    map_ = np.zeros(size)
    map_[outer[1] : outer[3], outer[0] : outer[2]] = 0.5
    map_[inner[1] : inner[3], inner[0] : inner[2]] = 1
    return map_


def scorer_of(**options):
    return Heatmap(HeatmapOptions(**options))


_INNER, _OUTER = (5, 5, 10, 10), (2, 2, 18, 18)


def test_alpha_is_chosen_on_some_images_and_frozen_for_others():
    map_ = stepped((20, 20), _INNER, _OUTER)
    tuning = scorer_of()
    tuning.add(map_, [_INNER], (20, 20), name="a")
    tuned = tuning.scores()
    curve = tuned.curves["heatmap_error"]
    assert curve.chosen == 0.5
    assert tuned.estimate("heatmap_error").value == 0
    assert curve.x == ALPHAS["value"]
    assert curve.y == tuple(float(alpha < 0.5) for alpha in curve.x)
    assert "oracle" in tuned.notes[0]
    scorer = scorer_of(alpha=0.5)
    scorer.add(map_, [_OUTER], (20, 20), name="b")
    scorer.add(map_, [_OUTER, _INNER], (20, 20), name="c")
    scores = scorer.scores()
    assert scores.estimate("heatmap_error").value == 0.5
    assert scores.estimate("heatmap_mean_iou").value == (25 / 256 + 1) / 2
    assert scores.notes == ("alpha = 0.5 was given by score.alpha",)
    assert scores.baselines[0].estimates[1].value == 256 / 400
    assert scores.baselines[1].estimates[1].value == 225 / 256  # 2.5 … 17.5 lies within.


def test_an_image_without_a_map_is_wrong():
    scorer = scorer_of(rule="mean", alpha=2)
    scorer.add(None, [(0, 0, 4, 4)], (4, 4), name="a")
    scorer.add(np.ones((4, 4)), [(0, 0, 4, 4)], (4, 4), name="b")
    scores = scorer.scores()
    # No pixel of a flat map is above twice its mean: the box is the whole image.
    assert scores.estimate("heatmap_error").value == 0.5
    assert scores.baselines[0].estimates[0].value == 0


def test_a_flat_map_has_no_box_and_is_wrong():
    scorer = scorer_of(rule="energy", alpha=0.9)
    scorer.add(np.ones((4, 4)), [(0, 0, 4, 4)], (4, 4), name="a")
    assert scorer.scores().estimate("heatmap_error").value == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scorer_of(rule="values"), "'value', 'energy' or 'mean'"),
        (lambda: scorer_of(alpha=1.5), r"alpha of the rule value must be in \[0, 1\], but is 1.5"),
        (lambda: scorer_of(rule="mean", alpha=-1), "greater than or equal to 0"),
        (lambda: scorer_of().scores(), "at least one image"),
        (
            lambda: scorer_of().add([[np.nan]], [(0, 0, 1, 1)], (1, 1), name="x"),
            "map of x: must be finite",
        ),
        (
            lambda: scorer_of().add([[1.0]], [], (1, 1), name="x"),
            "image x: must have at least one ground-truth box",
        ),
    ],
    ids=["rule", "alpha", "mean alpha", "no image", "nan", "no box"],
)
def test_refused(call, message):
    with pytest.raises((ScoreError, ValueError), match=message):
        call()
