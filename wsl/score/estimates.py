"""Estimates with 95 % intervals: Wilson's for proportions, the bootstrap's for everything else.

Images are the unit of resampling. All draws come from a seed, so that a score is the same whenever
and wherever it is computed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.errors import ScoreError

Unit = Literal["proportion", "mean", "difference"]

# Indices drawn at once: bounds the memory of the bootstrap to about 30 MB for any n.
_DRAWN_AT_ONCE = 1 << 20
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Estimate:
    """One number with its sample size and its 95 % interval. Nothing is rounded."""

    name: str
    """Name, such as ``"localization_error_top5"``."""
    value: float
    """A proportion is in [0, 1], not in percent."""
    n: int
    """Number of images (or of whatever else the protocol says it counts)."""
    low: float
    high: float
    """Ends of the interval."""
    unit: Unit = "proportion"
    """``proportion`` of the n; ``mean`` of a quantity in [0, 1]; ``difference`` of two proportions
    or means on the same images, in [-1, 1]."""
    higher_is_better: bool = True
    interval: Literal["wilson", "bootstrap"] = "wilson"

    def to_json(self) -> dict[str, str | float | int | bool]:
        """Return the estimate as JSON's types."""
        return asdict(self)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion [1]_.

    Parameters
    ----------
    successes : int
        In 0 to n.
    n : int
        With n = 0 nothing is known: the interval is (0, 1).
    confidence : float
        In (0, 1).

    Returns
    -------
    low, high : float
        In [0, 1], around ``successes / n``.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       J. Am. Stat. Assoc. 22 (1927).

    Examples
    --------
    >>> [round(end, 4) for end in wilson(5, 10)]
    [0.2366, 0.7634]
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0 to n = {n}, but got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), but got {confidence}")
    if n == 0:
        return (0.0, 1.0)
    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    # At the two ends the formula gives exactly 0 and 1, but for the rounding of its square root.
    low = 0.0 if successes == 0 else max(0.0, float(found.low))
    return (low, 1.0 if successes == n else min(1.0, float(found.high)))


def exact_mean(values: ArrayLike) -> float:
    """Mean whose sum is rounded once, so that it does not depend on the order of the images."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size:
        raise ScoreError("a mean needs at least one image, but there is none")
    return math.fsum(array.tolist()) / array.size


def accelerated_interval(
    value: float, replicates: ArrayLike, n: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a proportion of pooled counts [1]_.

    The acceleration is a sixth of the replicates' skewness, which for a sum over images is that of
    their jackknife; quantiles are Student's, of n - 1 degrees [2]_. Their coverage is measured in
    ``eval/results/coverage.md``.

    Parameters
    ----------
    value : float
        On all images.
    replicates : array_like, shape (B,)
        Its values on resampled images.
    n : int
        Number of images.
    confidence : float
        In (0, 1).

    Returns
    -------
    low, high : float
        Both the value if all replicates are equal.

    References
    ----------
    .. [1] B. Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82 (1987).
    .. [2] T. Hesterberg, "What teachers should know about the bootstrap", Am. Stat. 69 (2015).
    """
    from scipy.stats import norm

    drawn = np.asarray(replicates, dtype=np.float64)
    spread = drawn.std()
    if not spread:
        return (value, value)
    below = (np.count_nonzero(drawn < value) + np.count_nonzero(drawn == value) / 2) / drawn.size
    bias = norm.ppf(min(max(below, 1 / drawn.size), 1 - 1 / drawn.size))
    acceleration = ((drawn - drawn.mean()) ** 3).mean() / spread**3 / 6
    ends = bias + np.array([-1, 1]) * _widened(n, confidence)
    shares = norm.cdf(bias + ends / np.maximum(1 - acceleration * ends, 0.1))
    low, high = np.quantile(drawn, shares)
    return (min(float(low), value), max(float(high), value))


def symmetric_interval(
    value: float, replicates: ArrayLike, n: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of a mean of proportions that is symmetric in log odds.

    Its half width is the `confidence` quantile of the replicates' distance from the value, widened
    to Student's of n - 1 degrees. Where some classes have few images it covers more than one that
    corrects the bias, which hardly shows in resamples of those images; see
    ``eval/results/coverage.md``.

    Parameters
    ----------
    value, replicates, n, confidence
        As of `accelerated_interval`; in [0, 1].

    Returns
    -------
    low, high : float
        Both the value if all replicates are equal, or it is 0 or 1.
    """
    from scipy.special import expit, logit
    from scipy.stats import norm

    drawn = np.asarray(replicates, dtype=np.float64)
    if not drawn.std() or value in (0, 1):
        return (value, value)
    # A replicate of 0 or 1 is as far as can be told apart.
    distance = np.abs(logit(np.clip(drawn, 1e-9, 1 - 1e-9)) - logit(value))
    widened = _widened(n, confidence) / norm.ppf((1 + confidence) / 2)
    half = np.quantile(distance, confidence) * widened
    return (float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def _widened(n: int, confidence: float) -> float:
    """Student's quantile, for a spread whose mean square is short of a degree of freedom."""
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, max(n - 1, 1)) * math.sqrt(n / max(n - 1, 1)))


def mean_interval(
    values: ArrayLike, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Symmetric studentized bootstrap interval of a mean, resampling the images [1]_.

    Its half width is the `confidence` quantile of ``|mean* - mean| / s*`` over the resamples, times
    the sample's own standard deviation; never less than Student's. For 50 images or more its
    coverage is within two points of the nominal 95 % for skewed IoUs and for differences alike,
    which that of the percentile interval is not.

    Parameters
    ----------
    values : array_like, shape (n,)
        One value per image.
    seed : int
        Two calls with one seed and one n draw the same images.
    resamples : int
        Number of replicates.
    confidence : float
        In (0, 1).

    Returns
    -------
    low, high : float
        Both the mean if all values are equal.

    Raises
    ------
    ScoreError
        If there is no image, or a value is not finite.

    References
    ----------
    .. [1] P. Hall, "On symmetric bootstrap confidence intervals", J. R. Stat. Soc. B 50 (1988).
    """
    from scipy.stats import t

    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size:
        raise ScoreError("a bootstrap needs at least one image, but there is none")
    if not np.isfinite(array).all():
        raise ScoreError("a bootstrap needs finite values, but got NaN or infinity")
    mean = exact_mean(array)
    if (array == array[0]).all():
        return (mean, mean)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // array.size)
    ratios: list[NDArray[np.float64]] = []
    for start in range(0, resamples, at_once):
        shape = (min(at_once, resamples - start), array.size)
        drawn = array[generator.integers(0, array.size, size=shape, dtype=np.int32)]
        distance, spread = np.abs(drawn.mean(axis=1) - mean), drawn.std(axis=1)
        ratios.append(distance[spread > 0] / spread[spread > 0])
    # Of very few images hardly any resample differs; Student's t bounds the interval from below.
    student = t.ppf((1 + confidence) / 2, array.size - 1) / math.sqrt(array.size - 1)
    half = max(np.quantile(np.concatenate(ratios), confidence), student) * array.std()
    return (mean - half, mean + half)


class PoissonBootstrap:
    """Bootstrap of sums over images that are seen once, one after the other.

    Each image counts in each replicate as often as a draw from Poisson(1) says: for many images
    that is drawing images with replacement, without going through them a second time.

    Parameters
    ----------
    width : int
        Length of the vector that is summed over images.
    seed : int
    resamples : int
        Number of replicates.

    References
    ----------
    N. Chamandy et al., "Estimating uncertainty for massive data streams", Google (2012).
    """

    def __init__(self, width: int, *, seed: int = 0, resamples: int = 1000) -> None:
        self._generator = np.random.default_rng(seed)
        self._sums = np.zeros((resamples, width))
        self._weights = np.zeros(resamples)
        self._waiting: list[NDArray[np.float64]] = []

    def add(self, vector: ArrayLike) -> None:
        """Add one image's vector, shape (width,)."""
        self._waiting.append(np.array(vector, dtype=np.float64))
        # One matrix product for many images costs little more than for one.
        if len(self._waiting) == _IMAGES_AT_ONCE:
            self._count()

    def sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each replicate's sums, (resamples, width), and number of images, (resamples,)."""
        self._count()
        return self._sums.copy(), self._weights.copy()

    def _count(self) -> None:
        if not self._waiting:
            return
        drawn = self._generator.poisson(1.0, size=(len(self._waiting), len(self._weights)))
        # Single precision: seven digits of some images' sum are more than an interval needs.
        self._sums += drawn.T.astype(np.float32) @ np.stack(self._waiting).astype(np.float32)
        self._weights += drawn.sum(axis=0)
        self._waiting.clear()


def proportion_estimate(name: str, flags: ArrayLike, *, higher_is_better: bool = True) -> Estimate:
    """Proportion of images for which a flag is true, with Wilson's interval.

    Raises
    ------
    ScoreError
        If there is no image.
    """
    array = np.asarray(flags, dtype=bool).ravel()
    if not array.size:
        raise ScoreError(f"{name} needs at least one image, but there is none")
    count = int(np.count_nonzero(array))
    low, high = wilson(count, array.size)
    return Estimate(name, count / array.size, array.size, low, high, "proportion", higher_is_better)


def mean_estimate(
    name: str, values: ArrayLike, *, higher_is_better: bool = True, seed: int = 0
) -> Estimate:
    """Mean over images of a quantity in [0, 1], with a bootstrap interval within [0, 1]."""
    array = np.asarray(values, dtype=np.float64).ravel()
    low, high = (min(max(end, 0.0), 1.0) for end in mean_interval(array, seed=seed))
    mean = exact_mean(array)
    return Estimate(name, mean, array.size, low, high, "mean", higher_is_better, "bootstrap")


def difference_estimate(
    name: str, first: ArrayLike, second: ArrayLike, *, higher_is_better: bool = True, seed: int = 0
) -> Estimate:
    """Paired difference mean(second) - mean(first) on the same images, with its interval.

    Raises
    ------
    ScoreError
        If the two have different lengths, or as `mean_interval`.
    """
    a = np.asarray(first, dtype=np.float64).ravel()
    b = np.asarray(second, dtype=np.float64).ravel()
    if a.shape != b.shape:
        raise ScoreError(
            f"a paired difference needs the same images on both sides, but got {a.size} and "
            f"{b.size}"
        )
    low, high = (min(max(end, -1.0), 1.0) for end in mean_interval(b - a, seed=seed))
    mean = exact_mean(b - a)
    return Estimate(name, mean, a.size, low, high, "difference", higher_is_better, "bootstrap")
