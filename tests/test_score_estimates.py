"""Estimates and their intervals, against formulas solved in another way and simulated coverage."""

import json
import math
import statistics

import numpy as np
import pytest
from scipy.special import logit, ndtr
from scipy.stats import bootstrap

from wsl.errors import ScoreError
from wsl.score.estimates import (
    Estimate,
    PoissonBootstrap,
    accelerated_interval,
    difference_estimate,
    exact_mean,
    mean_estimate,
    mean_interval,
    proportion_estimate,
    symmetric_interval,
    wilson,
)
from wsl.score.protocols.pxap import average_precision


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_ends_solve_the_score_equation():
    z = 1.959963984540054
    for n in (1, 2, 7, 650, 50_000):
        for successes in {0, 1, n // 3, n // 2, n - 1, n}:
            for end in wilson(successes, n):
                gap = (successes / n - end) ** 2 - z * z * end * (1 - end) / n
                assert abs(gap) < 1e-12


def test_wilson_is_the_closed_formula():
    z = statistics.NormalDist().inv_cdf(0.975)
    for n in (3, 50, 650):
        for k in range(1, n, max(n // 7, 1)):
            p = k / n
            half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
            low, high = ((p + z * z / (2 * n) + s * half) / (1 + z * z / n) for s in (-1, 1))
            assert wilson(k, n) == pytest.approx((low, high), abs=3e-16, rel=0)


def test_wilson_degenerate():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
    with pytest.raises(ValueError, match="in 0 to n = 3, but got 4"):
        wilson(4, 3)
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
        wilson(1, 3, confidence=1.0)


def test_wilson_narrows_with_n_and_widens_with_confidence():
    few, many = wilson(5, 10), wilson(500, 1000)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    sure = wilson(5, 10, confidence=0.99)
    assert sure[0] < few[0]
    assert sure[1] > few[1]


def test_the_interval_is_that_of_the_studentized_distances_of_resampled_means():
    values = np.random.default_rng(1).random(30) ** 8
    mean, spread = sum(values) / 30, statistics.pstdev(values)
    drawn = np.random.default_rng(3).integers(0, 30, size=(500, 30), dtype=np.int32)
    ratios = sorted(
        abs(statistics.fmean(values[row]) - mean) / statistics.pstdev(values[row]) for row in drawn
    )
    low, high = mean_interval(values, seed=3, resamples=500)
    assert low + high == pytest.approx(2 * mean)
    assert ratios[473] <= (high - mean) / spread <= ratios[475]


def test_the_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).random(4000)
    half = 1.96 * values.std() / math.sqrt(4000)
    low, high = mean_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=half / 8)
    assert high == pytest.approx(values.mean() + half, abs=half / 8)


def test_bootstrap_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    values = np.random.default_rng(1).random(30) ** 8
    whole = mean_interval(values, seed=5)
    monkeypatch.setattr("wsl.score.estimates._DRAWN_AT_ONCE", 64)
    assert mean_interval(values, seed=5) == whole
    assert mean_interval(values, seed=6) != whole


def ious(generator, n):
    """Skewed: a third of the objects is missed."""
    return generator.beta(0.6, 2.5, n) * (generator.random(n) > 0.3)


def changes(generator, n):
    """Of paired right or wrong answers."""
    return generator.choice([-1.0, 0.0, 1.0], n, p=[0.06, 0.84, 0.10])


@pytest.mark.parametrize("n", [50, 100, 325])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [(ious, 0.7 * 0.6 / 3.1), (changes, 0.04)],
    ids=["ious", "differences"],
)
def test_intervals_of_means_cover_what_they_say(draw, mean, n):
    generator, trials = np.random.default_rng(n), 1500
    ends = [mean_interval(draw(generator, n), seed=s, resamples=400) for s in range(trials)]
    covered = sum(low <= mean <= high for low, high in ends) / trials
    assert 0.93 <= covered <= 0.97


def test_few_images_say_little():
    low, high = mean_interval([0.4, 0.6])
    assert high - low > 2
    estimate = mean_estimate("mean_iou", [0.4, 0.6])
    assert (estimate.low, estimate.high) == (0, 1)
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_paired_difference_uses_the_pairs():
    generator = np.random.default_rng(0)
    first = generator.random(300)
    second = first + 0.01
    steady = difference_estimate("x", first, second)
    assert (steady.low, steady.high) == pytest.approx((0.01, 0.01))
    estimate = difference_estimate("x", first > 0.5, first > 0.4)
    assert estimate.value == np.mean((first > 0.4) & (first <= 0.5))
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.n, estimate.unit) == (300, "difference")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "at least one image"),
        (lambda: mean_interval([0.5, np.nan]), "finite values, but got NaN"),
        (lambda: difference_estimate("x", [1.0], [1.0, 2.0]), "but got 1 and 2"),
        (lambda: proportion_estimate("gt_known_0.5", []), "gt_known_0.5 needs at least one image"),
        (lambda: exact_mean([]), "at least one image"),
    ],
    ids=["empty", "nan", "unpaired", "proportion", "mean"],
)
def test_refused(call, message):
    with pytest.raises(ScoreError, match=message):
        call()


def test_exact_mean_does_not_depend_on_order():
    values = np.random.default_rng(0).random(10_001)
    assert exact_mean(values) == exact_mean(values[::-1]) == exact_mean(np.sort(values))
    assert exact_mean([0.1] * 10) == 0.1


def test_estimates():
    share = proportion_estimate("error", [True, False, False, True], higher_is_better=False)
    assert share == Estimate("error", 0.5, 4, *wilson(2, 4), "proportion", False, "wilson")
    mean = mean_estimate("mean_iou", [0.25, 0.75])
    assert (mean.value, mean.n, mean.unit, mean.interval) == (0.5, 2, "mean", "bootstrap")
    assert 0 <= mean.low <= 0.5 <= mean.high <= 1
    assert json.loads(json.dumps(share.to_json())) == {
        "name": "error",
        "value": 0.5,
        "n": 4,
        "low": wilson(2, 4)[0],
        "high": wilson(2, 4)[1],
        "unit": "proportion",
        "higher_is_better": False,
        "interval": "wilson",
    }


INTERVALS = [accelerated_interval, symmetric_interval]


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda f: f.__name__)
def test_intervals_of_equal_replicates_are_the_value(interval):
    assert interval(0.5, [0.5, 0.5], 9) == (0.5, 0.5)


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda f: f.__name__)
def test_intervals_hold_the_value_and_widen_for_few_images(interval):
    drawn = np.random.default_rng(0).beta(30, 20, 1000)
    widths = []
    for n in (5, 50, 5000):
        low, high = interval(0.62, drawn, n)
        assert 0 < low < 0.62 < high < 1
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    low, high = interval(0.9999, drawn, 50)  # beyond all replicates
    assert low <= 0.9999 <= high


def test_the_accelerated_interval_is_scipys_of_a_mean():
    """Of a skewed mean, within the noise of the resamples; widened for n images."""
    values = np.random.default_rng(1).beta(0.6, 2.5, 400)
    generator = np.random.default_rng(2)
    drawn = values[generator.integers(0, 400, (9000, 400))].mean(axis=1)
    low, high = accelerated_interval(float(values.mean()), drawn, 400)
    found = bootstrap((values,), np.mean, n_resamples=9000, random_state=3).confidence_interval
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.02 * (high - low))


def test_the_symmetric_interval_is_as_far_on_both_sides_in_log_odds():
    low, high = symmetric_interval(0.7, np.random.default_rng(0).beta(30, 20, 1000), 60)
    assert logit(high) - logit(0.7) == pytest.approx(logit(0.7) - logit(low))


def pooled(generator, n):
    """Pixels of foreground and background in 20 bins of scores, by image."""
    apart, share = generator.normal(1.2, 1.2, n)[:, None], generator.beta(1.5, 4, n)[:, None]
    edges = logit(np.linspace(0, 1, 21))[None]
    positive = share * np.diff(ndtr(edges - apart / 2))
    negative = (1 - share) * np.diff(ndtr(edges + apart / 2))
    return np.concatenate([negative, positive], axis=1)


def test_intervals_of_pxap_cover_what_they_say():
    """The percentile interval covers 92 to 93 of a hundred here; see eval/results/coverage.md."""
    generator, n, trials = np.random.default_rng(0), 60, 800

    def score(sums):
        return average_precision(sums[..., 20:], sums[..., :20])

    truth, covered = score(pooled(generator, 200_000).sum(axis=0)), 0
    for _ in range(trials):
        images = pooled(generator, n)
        drawn = score(generator.poisson(1, (400, n)) @ images)
        low, high = accelerated_interval(float(score(images.sum(axis=0))), drawn, n)
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.97


def test_poisson_bootstrap_weights_whole_images():
    bootstrap = PoissonBootstrap(2, seed=1, resamples=50)
    values = np.random.default_rng(0).random(130)  # More than one batch, and a rest.
    for value in values:
        bootstrap.add([value, 1])
    sums, weights = bootstrap.sums()
    assert np.array_equal(sums[:, 1], weights)
    generator = np.random.default_rng(1)
    drawn = np.concatenate([generator.poisson(1.0, size=(n, 50)) for n in (64, 64, 2)])
    assert sums[:, 0] == pytest.approx(drawn.T @ values)
    again, _ = bootstrap.sums()
    assert np.array_equal(again, sums)


def test_poisson_bootstrap_agrees_with_the_other():
    values = np.random.default_rng(0).random(2000)
    bootstrap = PoissonBootstrap(1)
    for value in values:
        bootstrap.add([value])
    sums, weights = bootstrap.sums()
    low, high = np.quantile(sums[:, 0] / weights, [0.025, 0.975])
    expected = mean_interval(values)
    width = expected[1] - expected[0]
    assert (low, high) == pytest.approx(expected, abs=width / 8)
