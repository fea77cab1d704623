"""PxAP against a naive pooled precision-recall curve, and known answers."""

import numpy as np
import pytest

from wsl.errors import ScoreError
from wsl.score.baselines import TrivialBoxes
from wsl.score.protocols.pxap import PxAP, PxAPOptions, average_precision, scaled_mask

_SIZE = (224, 224)


def naive_ap(scores, labels, step):
    """Pool pixels, cut at every edge of the bins from the top, sum precision × recall step."""
    edges = [*np.arange(0, 1, step), 1.0]
    total = sum(labels)
    area, recall = 0.0, 0.0
    for edge in reversed(edges):
        above = [label for score, label in zip(scores, labels, strict=True) if score >= edge]
        if not above:
            continue
        reached = sum(above) / total
        area += sum(above) / len(above) * (reached - recall)
        recall = reached
    return area


def blocks(generator, values, side):
    """A 224 × 224 array of square blocks, so that a coarse array says all of it."""
    coarse = generator.choice(values, size=(side, side))
    return coarse, np.kron(coarse, np.ones((224 // side, 224 // side), dtype=coarse.dtype))


def test_equals_the_naive_curve():
    generator = np.random.default_rng(4)
    values = np.array([0.0, 0.0999, 0.1, 0.25, 0.3, 0.5, 0.7, 0.999, 1.0])
    for step in (0.1, 0.25, 0.3):
        for _ in range(200):
            scorer = PxAP(PxAPOptions(step=step))
            scores, labels = [], []
            for name in ("a", "b", "c"):
                coarse, map_ = blocks(generator, values, 4)
                first, mask = blocks(generator, np.array([True, False, False]), 4)
                second, other = blocks(generator, np.array([True, False, False, False]), 4)
                hidden, ignore = blocks(generator, np.array([True, False]), 4)
                scorer.add(map_, [mask, other], ignore=ignore, name=name)
                foreground = first | second
                counted = foreground | ~hidden
                scores += coarse[counted].tolist()
                labels += foreground[counted].tolist()
            found = scorer.scores().estimate("px_ap")
            assert found.value == pytest.approx(naive_ap(scores, labels, step), abs=1e-14)
            assert found.n == 3
            assert found.low <= found.high


def peer_histograms(map_, foreground, ignored, step):
    """What wsolevaluation's evaluator adds for one image: NumPy's own histograms."""
    edges = np.append(np.arange(0, 1, step), [1.0, 2.0, 3.0])
    counted = ~(ignored & ~foreground)
    return [
        np.histogram(map_[chosen & counted], bins=edges)[0] for chosen in (foreground, ~foreground)
    ]


@pytest.mark.parametrize("step", [0.001, 0.01, 0.07, 1 / 3])
def test_bins_are_numpys(step):
    generator = np.random.default_rng(0)
    edges = np.append(np.arange(0, 1, step), 1.0)
    values = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 2)])
    map_ = generator.choice(np.clip(values, 0, 1), _SIZE)
    map_[:100] = generator.random((100, 224)).astype(np.float32)
    foreground, ignored = generator.random((2, *_SIZE)) < 0.3
    scorer = PxAP(PxAPOptions(step=step))
    scorer.add(map_, [foreground], ignore=ignored, name="a")
    positive, negative = peer_histograms(map_, foreground, ignored, step)
    found, wrong = positive[::-1].cumsum(), negative[::-1].cumsum()
    precision = found / np.maximum(found + wrong, 1)
    expected = (precision[1:] * np.diff(found / found[-1])).sum()
    assert scorer.scores().estimate("px_ap").value == pytest.approx(expected, abs=1e-15)


def test_an_image_without_foreground_counts():
    generator = np.random.default_rng(0)
    mask, maps = np.zeros(_SIZE, dtype=bool), generator.random((2, *_SIZE))
    mask[50:100, 50:100] = True
    alone, both = PxAP(), PxAP()
    for scorer in (alone, both):
        scorer.add(maps[0], [mask], name="a")
    both.add(maps[1], [], name="b")
    assert both.scores().estimate("px_ap").n == 2
    assert both.scores().estimate("px_ap").value < alone.scores().estimate("px_ap").value


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_has_the_share_of_foreground(value):
    mask = np.zeros(_SIZE, dtype=bool)
    mask[:56] = True
    scorer = PxAP()
    scorer.add(np.full(_SIZE, value), [mask], name="a")
    scores = scorer.scores()
    assert scores.estimate("px_ap").value == 0.25
    assert scores.baselines[0].estimates[0].value == 0.25


@pytest.mark.parametrize("ignored", [0.0, 1.0])
def test_a_perfect_map_is_perfect_whatever_the_ignore_zone_holds(ignored):
    mask, ignore = np.zeros(_SIZE, dtype=bool), np.zeros(_SIZE, dtype=bool)
    mask[50:100, 50:100] = True
    ignore[90:150, 90:150] = True
    map_ = mask.astype(float)
    map_[ignore & ~mask] = ignored
    scorer = PxAP()
    scorer.add(map_, [mask], ignore=ignore, name="a")
    assert scorer.scores().estimate("px_ap").value == 1


def test_the_centered_box_beside():
    mask = np.zeros(_SIZE, dtype=bool)
    mask[28:196, 28:196] = True
    scorer = PxAP(boxes=TrivialBoxes(0.75))
    scorer.add(np.zeros(_SIZE), [mask], name="a")
    assert scorer.scores().baselines[1].estimates[0].value == 1


def test_average_precision_by_hand():
    # From the top: 1 right of 1, then 1 right of 4 more.
    assert average_precision(np.array([1.0, 1.0]), np.array([3.0, 0.0])) == 0.5 + 0.5 * 2 / 5


def test_masks_are_scaled_by_nearest_neighbor():
    mask = np.array([[True, False], [False, True]])
    scaled = scaled_mask(mask)
    assert scaled[:112, :112].all()
    assert scaled[112:, 112:].all()
    assert scaled.mean() == 0.5


def test_refused():
    scorer = PxAP()
    with pytest.raises(ScoreError, match="at least one image"):
        scorer.scores()
    with pytest.raises(ScoreError, match="map of a: must be 224 × 224, but is 2 × 2"):
        scorer.add(np.zeros((2, 2)), [], name="a")
    with pytest.raises(ScoreError, match=r"map of a: must be in \[0, 1\]"):
        scorer.add(np.full(_SIZE, 1.5), [], name="a")
    with pytest.raises(ScoreError, match="array of bool, but is float64"):
        scorer.add(np.zeros(_SIZE), [np.zeros(_SIZE)], name="a")
    scorer.add(np.zeros(_SIZE), [np.zeros((5, 5), dtype=bool)], name="a")
    with pytest.raises(ScoreError, match="needs foreground pixels"):
        scorer.scores()
