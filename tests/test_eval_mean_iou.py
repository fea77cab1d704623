"""mIoU against loops over pixels, and known answers."""

import numpy as np
import pytest

from eval.mean_iou import MeanIoU
from wsl.errors import ScoreError


def naive_miou(pairs, classes):
    ious = []
    for label in range(classes):
        both = either = 0
        for predicted, true in pairs:
            for p, t in zip(predicted.ravel(), true.ravel(), strict=True):
                if t != 255:
                    both += p == label and t == label
                    either += p == label or t == label
        if either:
            ious.append(both / either)
    return ious


def test_miou_equals_the_naive_one():
    generator = np.random.default_rng(1)
    for _ in range(600):
        classes = int(generator.integers(1, 6))
        pairs, scorer = [], MeanIoU(classes)
        for number in range(generator.integers(1, 5)):
            size = generator.integers(1, 7, 2)
            # Not all classes occur, and what is predicted where nothing counts may be anything.
            predicted = generator.integers(0, max(1, classes - 1), size).astype(np.uint8)
            true = generator.integers(0, classes, size).astype(np.uint8)
            true[generator.random(size) < 0.2] = 255
            true[0, 0] = 0
            predicted[true == 255] = 99
            pairs.append((predicted, true))
            scorer.add(predicted, true, name=str(number))
        expected = naive_miou(pairs, classes)
        scores = scorer.scores()
        assert scores.estimate("miou").value == pytest.approx(sum(expected) / len(expected))
        assert scores.counts["classes"] == len(expected)
        by_class = scorer.by_class()
        assert by_class[~np.isnan(by_class)].tolist() == expected


def test_miou_by_hand():
    scorer = MeanIoU(3)
    scorer.add(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 255]]), name="a")
    assert scorer.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    scores = scorer.scores()
    assert scores.estimate("miou").value == 0.5
    assert scores.counts["classes"] == 2
    assert scores.baselines[0].estimates[0].value == (1 / 3 + 0) / 2


def test_miou_refused():
    with pytest.raises(ScoreError, match="one class or more"):
        MeanIoU(0)
    with pytest.raises(ScoreError, match="the ignored label none of them"):
        MeanIoU(300)
    scorer = MeanIoU(2)
    with pytest.raises(ScoreError, match="predicted labels must be in 0 to 1, but one is 2"):
        scorer.add(np.array([[2]]), np.array([[0]]), name="a")
    with pytest.raises(ScoreError, match="image a: true labels must be in 0 to 1, but one is -1"):
        scorer.add(np.array([[0]]), np.array([[-1]]), name="a")
    with pytest.raises(ScoreError, match="must have one"):
        scorer.add(np.array([[0]]), np.array([[0, 1]]), name="a")
    scorer.add(np.array([[1]]), np.array([[255]]), name="a")
    with pytest.raises(ScoreError, match="at least one pixel that counts"):
        scorer.scores()
