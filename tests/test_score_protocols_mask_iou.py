"""IoU of masks against loops over pixels, and known answers."""

import numpy as np
import pytest
from scored_runs import score_masks

from wsl.errors import ScoreError
from wsl.score.baselines import TrivialBoxes


def naive_iou(a, b):
    both = sum(bool(p and q) for p, q in zip(a.ravel(), b.ravel(), strict=True))
    either = sum(bool(p or q) for p, q in zip(a.ravel(), b.ravel(), strict=True))
    return both / either if either else 0.0


def test_mask_iou_equals_the_naive_mean():
    generator = np.random.default_rng(0)
    for _ in range(1500):
        pairs, ious = [], []
        for number in range(generator.integers(1, 8)):
            size = generator.integers(1, 8, 2)
            predicted, true = generator.random((2, *size)) < generator.choice(
                [0, 0.3, 1], (2, 1, 1)
            )
            missing = generator.random() < 0.2
            pairs.append((str(number), None if missing else predicted, true))
            ious.append(0.0 if missing else naive_iou(predicted, true))
        estimate = score_masks(pairs).estimate("mask_iou")
        assert estimate.value == pytest.approx(sum(ious) / len(ious), abs=1e-15)
        assert estimate.n == len(pairs)


def test_mask_baselines():
    true = np.zeros((8, 8), dtype=bool)
    true[1:7, 1:7] = True
    whole, center = score_masks([("a", None, true)], boxes=TrivialBoxes(0.75)).baselines
    assert whole.estimates[0].value == 36 / 64
    assert center.estimates[0].value == 1


def test_ignored_pixels_do_not_count():
    true, predicted, ignored = np.zeros((3, 4, 4), dtype=bool)
    true[:2], predicted[:3], ignored[2] = True, True, True
    pairs = [("a", predicted, true, ignored), ("b", predicted, true, None)]
    assert score_masks(pairs[:1]).estimate("mask_iou").value == 1
    assert score_masks(pairs).estimate("mask_iou").value == (1 + 2 / 3) / 2
    assert score_masks(pairs[:1]).baselines[0].estimates[0].value == 2 / 3


def test_masks_refused():
    with pytest.raises(ScoreError, match="at least one image"):
        score_masks([])
    with pytest.raises(ScoreError, match="image a: masks must have one size"):
        score_masks([("a", np.zeros((2, 2), dtype=bool), np.zeros((2, 3), dtype=bool))])
    with pytest.raises(ScoreError, match="image a: a mask must be"):
        score_masks([("a", np.zeros((2, 2)), np.zeros((2, 2), dtype=bool))])
