"""Insertion and deletion against a program that builds every image anew."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from wsl.errors import ScoreError
from wsl.score.causal import CausalScorer, filled, trapezoid_area


class Linear(torch.nn.Module):
    """Scores of two classes, linear in the pixels."""

    def __init__(self, size=(3, 6, 5)):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(2, math.prod(size), generator=generator)

    def forward(self, images):
        return images.flatten(1) @ self.weight.T


def naive_curve(model, start, end, map_, label, step):
    order = sorted(
        ((y, x) for y in range(map_.shape[0]) for x in range(map_.shape[1])),
        key=lambda at: (-map_[at], at),
    )
    curve = []
    for changed in range(0, len(order) + step, step):
        image = start.copy()
        for y, x in order[:changed]:
            image[:, y, x] = end[:, y, x]
        scores = model(torch.from_numpy(image)[None])[0].double().tolist()
        curve.append(math.exp(scores[label]) / sum(math.exp(score) for score in scores))
    return curve


@pytest.mark.parametrize("steps", [1, 4, 7, 30, 224])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_curves_equal_naive_ones(steps, batch_size):
    model, generator = Linear(), np.random.default_rng(steps)
    image = generator.normal(size=(3, 6, 5)).astype(np.float32)
    map_ = generator.integers(0, 4, (6, 5)).astype(float)
    scorer = CausalScorer(model, steps=steps, batch_size=batch_size)
    insertion, deletion = scorer.add(image, map_, label=1, name="a")
    step = math.ceil(30 / steps)
    blurred = filled(image, "blur")
    expected = naive_curve(model, blurred, image, map_, 1, step)
    assert insertion == pytest.approx(expected, abs=1e-6)
    expected_deletion = naive_curve(model, image, np.zeros_like(image), map_, 1, step)
    assert deletion == pytest.approx(expected_deletion, abs=1e-6)
    scores = scorer.scores()
    area = sum((a + b) / 2 for a, b in pairwise(expected))
    assert scores.estimate("insertion_auc").value == pytest.approx(area / (len(expected) - 1))
    assert not scores.estimate("deletion_auc").higher_is_better


def test_batches_change_nothing():
    image = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    map_ = np.random.default_rng(1).random((6, 5))
    curves = [
        CausalScorer(Linear(), steps=10, batch_size=size).add(image, map_, label=0, name="a")
        for size in (1, 4, 100)
    ]
    for insertion, deletion in curves[1:]:
        assert insertion == pytest.approx(curves[0][0], abs=1e-6)
        assert deletion == pytest.approx(curves[0][1], abs=1e-6)


def test_the_right_order_is_better_than_its_reverse():
    model = Linear(size=(1, 6, 5))
    image = np.ones((1, 6, 5), dtype=np.float32)
    gain = (model.weight[0] - model.weight[1]).reshape(6, 5).numpy()
    good, bad = (CausalScorer(model, insertion_start="zero") for _ in range(2))
    good.add(image, gain, label=0, name="a")
    bad.add(image, -gain, label=0, name="a")
    good, bad = good.scores(), bad.scores()
    assert good.estimate("insertion_auc").value > bad.estimate("insertion_auc").value
    assert good.estimate("deletion_auc").value < bad.estimate("deletion_auc").value


def test_fills():
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert not filled(image, "zero").any()
    assert filled(image, "mean")[:, 0, 0].tolist() == [2.5, 8.5]
    flat = np.full((3, 20, 20), 2, dtype=np.float32)
    assert filled(flat, "blur") == pytest.approx(flat)


def test_areas():
    assert trapezoid_area([1.0, 1.0]) == 1
    assert trapezoid_area([1.0, 0.0, 0.0]) == 0.25


def test_arguments_come_back_untouched():
    image = torch.ones(3, 6, 5, requires_grad=True)
    map_ = np.random.default_rng(0).random((6, 5))
    before = map_.copy()
    CausalScorer(Linear()).add(image, map_, label=0, name="a")
    assert image.grad is None
    assert torch.equal(image, torch.ones(3, 6, 5))
    assert np.array_equal(map_, before)


_IMAGE = np.ones((3, 6, 5), dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: CausalScorer(Linear(), deletion_end="blurr"),
            "no fill 'blurr'. Did you mean",
        ),
        (lambda: CausalScorer(Linear(), steps=0), "must be 1 or more, but are 0 and 32"),
        (lambda: CausalScorer(Linear()).scores(), "at least one image"),
        (
            lambda: CausalScorer(Linear()).add(_IMAGE, [[np.nan]], label=0, name="x"),
            "map of x: must be finite",
        ),
        (
            lambda: CausalScorer(Linear()).add(_IMAGE[0], [[1.0]], label=0, name="x"),
            "image x: must be finite, of shape",
        ),
        (
            lambda: CausalScorer(Linear()).add(_IMAGE, [[1.0]], label=2, name="x"),
            "image x: the class must be in 0 to 1, but is 2",
        ),
    ],
    ids=["fill", "steps", "no image", "nan", "shape", "label"],
)
def test_refused(call, message):
    with pytest.raises(ScoreError, match=message):
        call()
