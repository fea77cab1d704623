"""MaxBoxAcc and MaxBoxAccV2 against a naive program, threshold by threshold."""

import random

import cv2
import numpy as np
import pytest

from wsl.errors import ScoreError
from wsl.score.estimates import wilson
from wsl.score.evaluator import (
    best_ious,
    boxes_at_level,
    evaluator_map,
    inclusive_iou,
    prepare_map,
    scale_corners,
    scaled_ground_truth,
    threshold_grid,
)
from wsl.score.protocols.max_box_acc import MaxBoxAcc, MaxBoxAccOptions

# ---- the oracle ----


def naive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    both = max(0, width) * max(0, height)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    union = area_a + area_b - both
    return both / union if union > 0 else 0.0


def naive_boxes(map_, threshold):
    """Box of the largest contour, and the boxes of all."""
    height, width = map_.shape
    gray = np.zeros(map_.shape, dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            gray[y, x] = int(255 * map_[y, x])
    level = int(threshold * gray.max())
    _, binary = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)
    contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if len(contours) == 0:
        return (0, 0, 0, 0), [(0, 0, 0, 0)]
    boxes, largest, most = [], None, -1.0
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        box = (x, y, min(x + w, width - 1), min(y + h, height - 1))
        boxes.append(box)
        if cv2.contourArea(contour) > most:
            most, largest = cv2.contourArea(contour), box
    return largest, boxes


def naive_scores(images, thresholds):
    """Accuracies of (map, truth in the map's pixels) at the best threshold of each."""
    hits = {(which, delta): [0] * len(thresholds) for which in (1, 2) for delta in (30, 50, 70)}
    for map_, truth in images:
        for t, threshold in enumerate(thresholds):
            largest, boxes = naive_boxes(map_, threshold)
            for which, candidates in ((1, [largest]), (2, boxes)):
                best = max(naive_iou(a, b) for a in candidates for b in truth)
                for delta in (30, 50, 70):
                    hits[which, delta][t] += best >= delta / 100
    names = {(1, 30): "max_box_acc_30", (1, 50): "max_box_acc", (1, 70): "max_box_acc_70"}
    names |= {(2, delta): f"max_box_acc_v2_{delta}" for delta in (30, 50, 70)}
    return {names[key]: [one / len(images) for one in counts] for key, counts in hits.items()}


def random_map(draw, size):
    """A map with plateaus, blobs, speckle, or nothing; in [0, 1]."""
    generator = np.random.default_rng(draw.randrange(2**32))
    kind = draw.randrange(5)
    if kind == 0:
        return generator.integers(0, 5, size) / 4
    if kind == 1:
        return generator.random(size)
    if kind == 2:
        return np.full(size, draw.choice([0.0, 0.3, 1.0]))
    map_ = cv2.GaussianBlur(generator.random(size), (0, 0), draw.choice([1.0, 2.0]))
    map_ -= map_.min()
    map_ /= max(map_.max(), 1e-9)  # One pixel is flat.
    return map_ if kind == 3 else map_ * 0.5 + 0.25


def random_boxes(draw, size):
    boxes = []
    for _ in range(draw.randint(1, 3)):
        x, y = draw.randrange(size[1]), draw.randrange(size[0])
        boxes.append((x, y, draw.randint(x, size[1] - 1), draw.randint(y, size[0] - 1)))
    return boxes


def scorer_of(**options):
    return MaxBoxAcc(MaxBoxAccOptions(**options))


def test_best_ious_equal_naive_ones():
    draw = random.Random(7)
    thresholds = threshold_grid(0.05)
    for _ in range(1500):
        size = (draw.randint(1, 12), draw.randint(1, 12))
        map_, truth = random_map(draw, size), random_boxes(draw, size)
        found = best_ious(map_, np.array(truth), thresholds)
        for t, threshold in enumerate(thresholds):
            largest, boxes = naive_boxes(map_, threshold)
            assert found[t, 0] == max(naive_iou(largest, b) for b in truth)
            assert found[t, 1] == max(naive_iou(a, b) for a in boxes for b in truth)


def test_whole_protocol_equals_a_naive_one():
    draw = random.Random(3)
    size = (300, 200)
    scorer = scorer_of(step=0.04)
    images = []
    for number in range(6):
        small = random_map(draw, (14, 14))
        map_ = prepare_map(small)
        # Objects where the map is high, so that there are hits.
        x0, y0, x1, y1 = naive_boxes(map_, 0.5)[0]
        boxes = [
            (x0 * 200 / 224, y0 * 300 / 224, (x1 + 1) * 200 / 224 + 2, (y1 + 1) * 300 / 224 + 2),
            (5, 5, 25, 45),
        ]
        truth = [
            (
                int(a * 224.0 / 200),
                int(b * 224.0 / 300),
                int((c - 1) * 224.0 / 200),
                int((d - 1) * 224.0 / 300),
            )
            for a, b, c, d in boxes
        ]
        images.append((map_, truth))
        scorer.add(map_, boxes, size, name=str(number))
    scores = scorer.scores()
    curves = naive_scores(images, np.arange(0, 1, 0.04))
    for name, curve in curves.items():
        assert list(scores.curves[name].y) == curve
        assert scores.estimate(name).value == max(curve)
        assert scores.curves[name].chosen == np.arange(0, 1, 0.04)[curve.index(max(curve))]
    parts = [max(curves[f"max_box_acc_v2_{delta}"]) for delta in (30, 50, 70)]
    assert scores.estimate("max_box_acc_v2").value == pytest.approx(sum(parts) / 3, abs=1e-15)
    assert 0 < scores.estimate("max_box_acc_v2").value < 1
    estimate = scores.estimate("max_box_acc")
    assert (estimate.low, estimate.high) == wilson(round(estimate.value * 6), 6)


# ---- known answers ----


def test_known_iou():
    assert inclusive_iou(np.array([[1, 2, 5, 6]]), np.array([[3, 1, 4, 5]])) == 8 / 27
    zero = np.zeros((1, 4), dtype=int)
    assert inclusive_iou(zero, zero) == 1
    assert inclusive_iou(zero, zero - (0, 0, 1, 1)) == 0


def test_known_scaling():
    assert scale_corners(np.array([[1, 2, 4, 3]]), (20, 10), (10, 35)).tolist() == [[3, 1, 14, 1]]
    # Half-open in, inclusive out, truncated.
    assert scaled_ground_truth([(0, 0, 227, 100)], (100, 227)).tolist() == [[0, 0, 223, 221]]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "at least one ground-truth box"),
        ([(-1, 0, 5, 5)], "must lie at 0 or above"),
        ([(3, 0, 3.5, 5)], "hold at least one pixel"),
    ],
    ids=["none", "negative", "thinner than a pixel"],
)
def test_bad_ground_truth(boxes, message):
    with pytest.raises(ScoreError, match=message):
        scaled_ground_truth(boxes, (10, 10))


_ONE_PEAK = np.array(
    [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]]
)


def test_boxes_end_one_pixel_past_the_contour():
    gray = (_ONE_PEAK * 255).astype(np.uint8)
    largest = []
    for threshold in np.arange(0, 1, 0.2):
        boxes, index = boxes_at_level(gray, int(threshold * 255))
        largest.append(boxes[index].tolist())
    assert largest[:2] == [[1, 1, 4, 3], [1, 1, 4, 3]]
    assert largest[3:] == [[2, 2, 4, 3], [2, 2, 3, 3]]


def test_borders_of_holes_count():
    gray = np.full((9, 9), 200, dtype=np.uint8)
    gray[3:6, 3:6] = 0
    boxes, largest = boxes_at_level(gray, 100)
    assert sorted(boxes.tolist()) == [[0, 0, 8, 8], [2, 2, 7, 7]]
    assert boxes[largest].tolist() == [0, 0, 8, 8]


def test_a_flat_map_has_one_zero_box():
    assert boxes_at_level(np.zeros((4, 4), np.uint8), 0)[0].tolist() == [[0, 0, 0, 0]]


def test_prepare_map():
    assert not prepare_map(np.full((3, 3), 7.0)).any()
    assert not prepare_map(np.array([[np.nan, 1.0]])).any()
    map_ = prepare_map(np.random.default_rng(0).normal(size=(13, 20)))
    assert map_.shape == (224, 224)
    assert (map_.min(), map_.max()) == (0, 1)
    wide = np.random.default_rng(0).random((13, 20))
    expected = cv2.resize(wide, (224, 224), interpolation=cv2.INTER_CUBIC)
    expected = expected - expected.min()
    assert np.array_equal(prepare_map(wide), expected / expected.max())
    with pytest.raises(ScoreError, match="map of x: must be finite"):
        prepare_map(np.array([[np.inf, 1.0]]), name="x")


# ---- thresholds ----


def peaked(fraction):
    """A map that is 1 in a corner square, and 0.5 in one of twice its side."""
    map_ = np.zeros((224, 224))
    map_[: 2 * fraction, : 2 * fraction] = 0.5
    map_[:fraction, :fraction] = 1
    return map_


def test_a_threshold_chosen_elsewhere_is_used_and_said():
    tuning = scorer_of(step=0.1)
    tuning.add(peaked(50), [(0, 0, 101, 101)], (224, 224), name="a")
    tuned = tuning.scores()
    assert tuned.estimate("max_box_acc").value == 1
    assert any("oracle" in note for note in tuned.notes)
    best = {name: curve.chosen for name, curve in tuned.curves.items()}
    for threshold, value in ((best, 0), (0.6, 1)):
        scorer = scorer_of(threshold=threshold)
        scorer.add(peaked(50), [(0, 0, 51, 51)], (224, 224), name="b")
        scores = scorer.scores()
        assert scores.estimate("max_box_acc").value == value
        assert scores.notes == ("the thresholds were given by score.threshold",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "step\n.*greater than 0"),
        ({"threshold": 1.0}, r"threshold must be in \[0, 1\), but is 1"),
        ({"threshold": {"max_box_acc": 0.5}}, "must be given for max_box_acc_30"),
        ({"iou_thresholds": (50, 50)}, "different numbers in 1 to 100"),
        ({"iou_thresholds": (0,)}, "different numbers in 1 to 100"),
    ],
    ids=["step", "range", "lacking", "twice", "zero"],
)
def test_bad_options(options, message):
    with pytest.raises((ScoreError, ValueError), match=message):
        scorer_of(**options)


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        (np.full((224, 224), 2.0), r"map of x: must be in \[0, 1\], but goes from 2 to 2"),
        (np.full((224, 224), -0.1), r"must be in \[0, 1\]"),
        (np.full((224, 224), np.nan), "must be finite, but holds NaN"),
        (np.zeros((224, 224, 1)), "must have shape"),
        (np.zeros((100, 224)), "must be 224 × 224, but is 100 × 224"),
        (np.array([["a"]]), "must hold real numbers"),
    ],
    ids=["high", "low", "nan", "3-D", "size", "text"],
)
def test_bad_maps_are_refused(map_, message):
    with pytest.raises(ScoreError, match=message):
        scorer_of(step=0.5).add(map_, [(0, 0, 5, 5)], (10, 10), name="x")


def test_nothing_added():
    with pytest.raises(ScoreError, match="at least one image"):
        scorer_of(step=0.5).scores()
    with pytest.raises(ScoreError, match="image x: an image must have at least one"):
        scorer_of(step=0.5).add(np.zeros((224, 224)), [], (10, 10), name="x")


def test_other_lists_of_ious():
    scorer = scorer_of(step=0.5, iou_thresholds=(10, 90))
    scorer.add(peaked(50), [(0, 0, 51, 51)], (224, 224), name="a")
    found = scorer.scores()
    assert [one.name for one in found.estimates] == [
        *("max_box_acc_10", "max_box_acc_90", "max_box_acc_v2"),
        *("max_box_acc_v2_10", "max_box_acc_v2_90"),
    ]
    assert found.estimate("max_box_acc_90").value == 1


def test_stored_maps_are_taken_as_they_are_and_never_stretched():
    faint = peaked(50) * 0.5 + 0.25
    assert np.array_equal(evaluator_map(faint, name="a", stored=True), faint)
    assert np.array_equal(evaluator_map(faint, name="a", stored=False), prepare_map(faint))
    small = np.random.default_rng(0).random((14, 14))
    assert np.array_equal(evaluator_map(small, name="a", stored=True), prepare_map(small))
    for stored in (True, False):
        with pytest.raises(ScoreError, match=r"must be in \[0, 1\], but goes from 0 to 3"):
            evaluator_map(small.round() * 3, name="a", stored=stored)


def test_baselines():
    scorer = scorer_of(step=0.5)
    scorer.add(np.zeros((224, 224)), [(0, 0, 100, 100)], (100, 100), name="a")
    scorer.add(np.zeros((224, 224)), [(10, 10, 90, 90)], (100, 100), name="b")
    whole, center = scorer.scores().baselines
    values = {f.name: f.value for f in whole.estimates}
    assert values["max_box_acc"] == 1  # 0.64 and 1.
    assert values["max_box_acc_v2_70"] == 0.5
    values = {f.name: f.value for f in center.estimates}
    assert values["max_box_acc_v2_70"] == 0.5  # 0.5625 and about 0.88.
    assert values["max_box_acc_v2"] == pytest.approx(2.5 / 3)
