"""Measure how often the 95 % intervals of scores hold the true value, by simulation.

    python -m eval.figures.coverage [--trials 1000] [--only px_ap miou …]

For each score, images are drawn from a population whose value is known (that of 200,000 drawn
images), n at a time; the interval is computed as `wsl.score` does, and beside it the plain
percentile interval of the same resamples. Results go to ``eval/results/coverage.json`` and
``coverage.md``. Of 500 trials the share itself is known to within two points (twice its standard
error), of 1,000 to within 1.4.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from eval.mean_iou import _ratios
from eval.provenance import stamp
from wsl.score.average_precision import _precision_recall
from wsl.score.estimates import (
    accelerated_interval,
    mean_interval,
    proportion_estimate,
    symmetric_interval,
)
from wsl.score.protocols.pxap import average_precision

RESULTS = Path(__file__).parents[1] / "results"
SIZES = (50, 100, 325, 650)
RESAMPLES = 1000
POPULATION = 200_000

Floats = NDArray[np.float64]
Interval = tuple[float, float]
# The truth, and a function that draws n images and returns the percentile and the own interval.
Experiment = tuple[float, Callable[[np.random.Generator, int], tuple[Interval, Interval]]]


def percentile(replicates: Floats) -> Interval:
    """Return the plain interval."""
    low, high = np.quantile(replicates, [0.025, 0.975])
    return float(low), float(high)


def of_sums(
    draw: Callable[[np.random.Generator, int], Floats],
    score: Callable[[Floats], Floats],
    interval: Callable[[float, Floats, int], Interval],
) -> Experiment:
    """Score sums of images' vectors, resampled with Poisson's weights."""
    truth = float(score(draw(np.random.default_rng(9), POPULATION).sum(axis=0)))

    def trial(generator: np.random.Generator, n: int) -> tuple[Interval, Interval]:
        images = draw(generator, n)
        weights = generator.poisson(1.0, (RESAMPLES, n)).astype(np.float32)
        replicates = score((weights @ images.astype(np.float32)).astype(np.float64))
        some = replicates[~np.isnan(replicates)]
        return percentile(some), interval(float(score(images.sum(axis=0))), some, n)

    return truth, trial


def px_ap() -> Experiment:
    """Draw maps of many qualities: scores of foreground and background are normal in log odds."""
    edges = logit(np.linspace(0, 1, 51))[None]

    def draw(generator: np.random.Generator, n: int) -> Floats:
        apart, share = generator.normal(1.2, 1.2, n)[:, None], generator.beta(1.5, 4, n)[:, None]
        moved = generator.normal(0, 0.7, n)[:, None]
        positive = share * np.diff(ndtr(edges - moved - apart / 2))
        negative = (1 - share) * np.diff(ndtr(edges - moved + apart / 2))
        return np.asarray(np.concatenate([negative, positive], axis=1), dtype=np.float32)

    def score(sums: Floats) -> Floats:
        return average_precision(sums[..., 50:], sums[..., :50])

    return of_sums(draw, score, accelerated_interval)


def miou(classes: int) -> Experiment:
    """One object per image, of classes that occur unequally often; a fifth is taken for another."""

    def draw(generator: np.random.Generator, n: int) -> Floats:
        share = np.linspace(2, 1, classes - 1)
        true = 1 + generator.choice(classes - 1, n, p=share / share.sum())
        other = 1 + generator.choice(classes - 1, n)
        predicted = np.where(generator.random(n) < 0.8, true, other)
        area = generator.beta(1.5, 4, n)
        found = np.minimum(area * np.exp(generator.normal(0, 0.4, n)), 1)
        iou = generator.beta(2, 1.2, n) * (generator.random(n) > 0.1)
        common = np.minimum(iou / (1 + iou) * (area + found), np.minimum(area, found))
        both = np.zeros((3, n, classes))
        rows = np.arange(n)
        both[0, rows, true] = np.where(true == predicted, common, 0)
        both[1, rows, true], both[2, rows, predicted] = area, found
        both[:, :, 0] = np.stack([np.maximum(1 - area - found + common, 0), 1 - area, 1 - found])
        return np.concatenate([both[0], both[1] + both[2] - both[0]], axis=1)

    def score(sums: Floats) -> Floats:
        return np.asarray(np.nanmean(_ratios(sums[..., :classes], sums[..., classes:]), axis=-1))

    return of_sums(draw, score, symmetric_interval)


def pointing(classes: int) -> Experiment:
    """Mean over classes of the share of hits."""

    def draw(generator: np.random.Generator, n: int) -> Floats:
        label = generator.integers(0, classes, n)
        hit = generator.random(n) < np.linspace(0.4, 0.95, classes)[label]
        one = np.eye(classes)[label]
        return np.concatenate([one * hit[:, None], one], axis=1)

    def score(sums: Floats) -> Floats:
        return np.asarray(np.nanmean(_ratios(sums[..., :classes], sums[..., classes:]), axis=-1))

    return of_sums(draw, score, symmetric_interval)


_Detections = tuple[NDArray[Any], ...]


def ap(classes: int) -> Experiment:
    """One object per image and one or two detections, whose scores say something of their IoU."""
    recalls = np.linspace(0, 1, 101)

    def draw(generator: np.random.Generator, n: int) -> _Detections:
        true, ability = generator.integers(0, classes, n), generator.normal(0.6, 1, n)
        iou = expit(ability + generator.normal(0, 0.6, n))
        score = expit(ability + generator.normal(0, 1, n))
        right = generator.random(n) < 0.8
        label = np.where(right, true, generator.integers(0, classes, n))
        matched = (iou[:, None] >= np.linspace(0.5, 0.95, 10)) & (label == true)[:, None]
        second = np.where(generator.random(n) < 0.5, generator.integers(0, classes, n), -1)
        return true, label, score, matched, second, score * generator.random(n)

    def value(images: _Detections, weights: NDArray[np.int64]) -> Floats:
        true, label, score, matched, second, second_score = images
        of_class = []
        for number in range(classes):
            first, more = np.flatnonzero(label == number), np.flatnonzero(second == number)
            order = np.argsort(
                -np.concatenate([score[first], second_score[more]]), kind="mergesort"
            )
            owner = np.concatenate([first, more])[order]
            hits = np.concatenate([matched[first], np.zeros((len(more), 10), dtype=bool)])[order].T
            totals = weights[:, true == number].sum(axis=1)
            none = np.zeros_like(hits)
            of_class.append(_precision_recall(weights[:, owner], totals, hits, none, recalls)[0])
        return np.asarray(np.nanmean(np.stack(of_class, axis=-1), axis=(1, 2)))

    def trial(generator: np.random.Generator, n: int) -> tuple[Interval, Interval]:
        images = draw(generator, n)
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES // 2)
        replicates, own = value(images, drawn), value(images, np.ones((1, n), dtype=np.int64))
        return percentile(replicates), accelerated_interval(float(own[0]), replicates, n)

    population = draw(np.random.default_rng(9), POPULATION)
    return float(value(population, np.ones((1, POPULATION), dtype=np.int64))[0]), trial


def mean_iou() -> Experiment:
    """IoUs, of which a third is 0."""

    def trial(generator: np.random.Generator, n: int) -> tuple[Interval, Interval]:
        values = generator.beta(0.6, 2.5, n) * (generator.random(n) > 0.3)
        drawn = values[generator.integers(0, n, (RESAMPLES, n))].mean(axis=1)
        return percentile(drawn), mean_interval(values, resamples=RESAMPLES)

    return 0.7 * 0.6 / 3.1, trial


def proportion() -> Experiment:
    """Right answers, nine of ten."""

    def trial(generator: np.random.Generator, n: int) -> tuple[Interval, Interval]:
        flags = generator.random(n) < 0.9
        drawn = generator.binomial(n, flags.mean(), RESAMPLES) / n
        found = proportion_estimate("right", flags)
        return percentile(drawn), (found.low, found.high)

    return 0.9, trial


EXPERIMENTS: dict[str, tuple[str, Callable[[], Experiment]]] = {
    "proportion": ("Wilson", proportion),
    "mean_iou": ("studentized", mean_iou),
    "px_ap": ("BCa", px_ap),
    "miou, 6 classes": ("symmetric in log odds", lambda: miou(6)),
    "miou, 21 classes": ("symmetric in log odds", lambda: miou(21)),
    "pointing by class, 20 classes": ("symmetric in log odds", lambda: pointing(20)),
    "ap, 1 class": ("BCa", lambda: ap(1)),
    "ap, 6 classes": ("BCa", lambda: ap(6)),
}


def main() -> None:
    """Measure all, or some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--only", nargs="*", choices=[*EXPERIMENTS])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    made_with = stamp("eval.figures.coverage", "numpy", "scipy")
    rows: list[dict[str, Any]] = []
    for name in arguments.only or EXPERIMENTS:
        method, make = EXPERIMENTS[name]
        truth, trial = make()
        for n in SIZES:
            rows.append({"score": name, "method": method, "truth": truth, "n": n})
            rows[-1] |= coverage(truth, trial, n, arguments.trials)
            print(rows[-1], flush=True)
    content = {"what": "coverage of 95 % intervals", **made_with, "rows": rows}
    (arguments.results / "coverage.json").write_text(json.dumps(content, indent=2) + "\n")
    (arguments.results / "coverage.md").write_text(table(content))


def coverage(
    truth: float,
    trial: Callable[[np.random.Generator, int], tuple[Interval, Interval]],
    n: int,
    trials: int,
) -> dict[str, Any]:
    """Share of trials, in percent, whose intervals hold the truth, and mean widths."""
    generator = np.random.default_rng(n)
    ends = np.array([trial(generator, n) for _ in range(trials)])  # (trials, 2, 2)
    held = (ends[:, :, 0] <= truth) & (truth <= ends[:, :, 1])
    share, width = 100 * held.mean(axis=0), (ends[:, :, 1] - ends[:, :, 0]).mean(axis=0)
    return {
        "trials": trials,
        "percentile": round(float(share[0]), 1),
        "own": round(float(share[1]), 1),
        "percentile_width": float(width[0]),
        "own_width": float(width[1]),
    }


def table(content: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Coverage of the 95 % intervals", "",
        f"`{content['command']}`, {content['commit']}, {content['date']}. Percent of the trials in",
        "which the interval holds the population's value; beside it the percentile interval's, and",
        "the mean widths in points.", "",
        "| score | method | n | trials | held | width | percentile | width |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    lines += [
        f"| {r['score']} | {r['method']} | {r['n']} | {r['trials']:,} | {r['own']:.1f} | "
        f"{100 * r['own_width']:.1f} | {r['percentile']:.1f} | {100 * r['percentile_width']:.1f} |"
        for r in content["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
