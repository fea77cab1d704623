"""Charts as inline SVG, and the curves that they show.

Colors and line styles come from the page's style sheet by class: ``run-0``, ``run-1``, … for the
runs in their order, so that a chart fits the page in light and dark. Only numbers and fixed words
go in. The canvas is small, so that type stays readable on a telephone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from wsl.score.estimates import Estimate, wilson

_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 24, 40
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_LIGHT = ' class="light"'

Points = tuple[NDArray[np.float64], NDArray[np.float64]]


def histogram_chart(
    runs: Sequence[ArrayLike], baseline: ArrayLike | None, *, bins: int = 20
) -> Markup:
    """Histogram of IoU in [0, 1]: bars of one run, lines of steps of several and of a baseline."""
    edges = np.linspace(0, 1, bins + 1)
    heights = [_proportions(iou, edges) for iou in runs]
    reference = None if baseline is None else _proportions(baseline, edges)
    shown = heights if reference is None else [*heights, reference]
    top = _nice_top(max(float(each.max()) for each in shown))
    parts = [_axes("IoU with the true box", "images", top)]
    if len(runs) == 1:
        for low, height in zip(edges[:-1], heights[0], strict=True):
            style = "bar run-0" if low >= 0.5 - 1e-9 else "bar"
            parts.append(
                f'<rect class="{style}" x="{_x(low) + 0.75:.2f}" y="{_y(height / top):.2f}" '
                f'width="{_PLOT_WIDTH / bins - 1.5:.2f}" '
                f'height="{_PLOT_HEIGHT * height / top:.2f}">'
                f"<title>IoU {low:.2f} to {low + 1 / bins:.2f}: {100 * height:.1f} %</title></rect>"
            )
    else:
        parts += [_steps(f"curve run-{i}", edges, each / top) for i, each in enumerate(heights)]
    if reference is not None:
        parts.append(_steps("reference", edges, reference / top))
    return _svg(parts, "Histogram of the IoU of the predicted box with the true box")


def _proportions(values: ArrayLike, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    counts, _ = np.histogram(array, bins=edges)
    return np.asarray(counts / max(array.size, 1), dtype=np.float64)


def success_chart(
    runs: Sequence[ArrayLike], baseline: ArrayLike | None, *, points: int = 101
) -> Markup:
    """Draw the proportion of images whose IoU reaches a threshold, over all thresholds."""
    thresholds = np.linspace(0, 1, points)

    def reached(iou: ArrayLike) -> Points:
        values = np.sort(np.asarray(iou, dtype=np.float64))
        below = np.searchsorted(values, thresholds, side="left")
        return thresholds, 1 - below / max(values.size, 1)

    parts = [_axes("threshold of IoU", "images at or above it")]
    if baseline is not None:
        parts.append(_line("reference", reached(baseline)))
    parts += [_line(f"curve run-{index}", reached(iou)) for index, iou in enumerate(runs)]
    return _svg(parts, "Proportion of images whose IoU reaches a threshold")


def interval_chart(
    estimates: Sequence[Estimate | None], baselines: Sequence[Estimate | None]
) -> Markup:
    """Draw estimates with their intervals on lines from 0 to 100 %, the baselines as ticks."""
    width, line = 160, 14
    height = line * len(estimates) + 6
    parts = []
    for at, estimate in enumerate(estimates):
        middle = 3 + line * (at + 0.5)
        parts.append(f'<line class="rule" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>')
        if estimate is not None:
            low, high = estimate.low * width, estimate.high * width
            parts.append(
                f'<g class="run-{at}"><rect class="range" x="{low:.1f}" y="{middle - 3}" '
                f'width="{max(high - low, 1):.1f}" height="6" rx="3"/>'
                f'<circle class="dot" cx="{estimate.value * width:.1f}" cy="{middle}" r="3.5"/></g>'
            )
    for baseline in baselines:
        if baseline is not None:
            x = baseline.value * width
            parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{height - 2}"/>')
    return Markup(
        f'<svg class="interval" viewBox="-5 0 {width + 10} {height}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def proportion_bars(proportions: Sequence[float], *, largest: float = 1.0) -> Markup:
    """Draw one horizontal bar per run; the longest of a table has the proportion `largest`."""
    bars = "".join(
        f'<rect class="bar run-{at}" y="{10 * at}" height="8" '
        f'width="{100 * value / largest if largest > 0 else 0:.2f}"/>'
        for at, value in enumerate(proportions)
    )
    return Markup(
        f'<svg class="share" height="{10 * len(proportions)}" '
        f'viewBox="0 0 100 {10 * len(proportions) - 2}" '
        f'preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
    )


def coverage_curve(quality: ArrayLike, right: ArrayLike) -> Points:
    """Proportion of right images among those of the highest quality.

    Parameters
    ----------
    quality : array_like, shape (n,)
    right : array_like of bool, shape (n,)

    Returns
    -------
    coverage, accuracy : ndarray of float64
        Images of equal quality enter together, so that their order does not matter.

    Examples
    --------
    >>> coverage, accuracy = coverage_curve([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    >>> coverage.tolist(), accuracy.round(3).tolist()
    ([0.25, 0.75, 1.0], [1.0, 0.667, 0.5])
    """
    values, flags = np.asarray(quality, dtype=np.float64), np.asarray(right, dtype=bool)
    order = np.argsort(-values, kind="stable")
    kept = np.arange(1, values.size + 1)
    hits = np.cumsum(flags[order])
    last = np.append(np.diff(values[order]) != 0, True)
    return kept[last] / values.size, hits[last] / kept[last]


def coverage_chart(
    runs: Sequence[tuple[int, ArrayLike, ArrayLike]], *, points: int = 400
) -> Markup:
    """Draw each run's `coverage_curve`, and its proportion of all images as a dashed line.

    Parameters
    ----------
    runs : sequence of (int, array_like, array_like)
        The run's place in the report, its images' qualities, and whether they are right.
    """
    parts = [_axes("proportion of images kept, the surest first", "right")]
    for index, quality, right in runs:
        coverage, accuracy = coverage_curve(quality, right)
        if coverage.size > points:
            at = np.unique(np.linspace(0, coverage.size - 1, points).round().astype(int))
            coverage, accuracy = coverage[at], accuracy[at]
        base = np.full(2, accuracy[-1])
        parts.append(_line(f"reference run-{index}", (np.array([0.0, 1.0]), base)))
        parts.append(_line(f"curve run-{index}", (coverage, accuracy)))
    return _svg(parts, "Proportion of right images against the proportion of images kept")


def reliability_bins(
    quality: ArrayLike, right: ArrayLike, *, bins: int = 10
) -> list[dict[str, float]]:
    """Proportion of right images in bins of quality.

    Returns
    -------
    list of dict
        For each bin that has images: ``low, high`` (its ends; the last holds 1.0), ``n``,
        ``quality`` (mean), ``right`` (proportion) and ``right_low, right_high`` (95 % interval).
    """
    values, flags = np.asarray(quality, dtype=np.float64), np.asarray(right, dtype=bool)
    which = np.minimum((values * bins).astype(int), bins - 1)
    found = []
    for at in range(bins):
        inside = which == at
        n = int(inside.sum())
        if n:
            low, high = wilson(int(flags[inside].sum()), n)
            found.append(
                {
                    "low": at / bins,
                    "high": (at + 1) / bins,
                    "n": n,
                    "quality": float(values[inside].mean()),
                    "right": float(flags[inside].mean()),
                    "right_low": low,
                    "right_high": high,
                }
            )
    return found


def reliability_chart(runs: Sequence[tuple[int, ArrayLike, ArrayLike]]) -> Markup:
    """Draw `reliability_bins` of the runs; on the dashed diagonal quality would be a probability.

    `runs` is as of `coverage_chart`. Of several runs the dots of a bin stand beside each other.
    """
    diagonal = np.array([0.0, 1.0])
    parts = [_axes("quality", "right"), _line("reference", (diagonal, diagonal))]
    for place, (index, quality, right) in enumerate(runs):
        for found in reliability_bins(quality, right):
            x = _x(found["quality"]) + 5 * (place - (len(runs) - 1) / 2)
            parts.append(
                f'<g class="run-{index}"><title>quality {found["low"]:.1f} to {found["high"]:.1f}: '
                f"{found['n']} images, {100 * found['right']:.1f} % right</title>"
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" '
                f'y1="{_y(found["right_low"]):.1f}" y2="{_y(found["right_high"]):.1f}"/>'
                f'<circle class="dot" cx="{x:.1f}" cy="{_y(found["right"]):.1f}" r="3.5"/></g>'
            )
    return _svg(parts, "Proportion of right images by quality")


def confusion_chart(names: Sequence[str], counts: NDArray[np.integer]) -> Markup:
    """Draw a confusion matrix: true classes by row, predicted ones by column.

    The darker a cell, the larger the proportion of its row.
    """
    side, left, above = 22, 120, 96
    size = side * len(names)
    parts = []
    for at, name in enumerate(names):
        middle = side * (at + 0.5)
        short = escape(name if len(name) <= 18 else name[:17] + "…")
        parts.append(
            f'<text x="{left - 6}" y="{above + middle + 4}" text-anchor="end">{short}</text>'
            f'<text transform="translate({left + middle + 3} {above - 6}) rotate(-50)">'
            f"{short}</text>"
        )
    totals = counts.sum(axis=1)
    for row, column in np.ndindex(counts.shape):
        count = int(counts[row, column])
        share = count / totals[row] if totals[row] else 0.0
        x, y = left + side * column, above + side * row
        title = f"{names[row]} taken for {names[column]}: {count} of {int(totals[row])}"
        parts.append(
            f'<g class="cell{" right" if row == column else ""}"><title>{escape(title)}</title>'
            f'<rect x="{x}" y="{y}" width="{side - 1}" height="{side - 1}" '
            f'fill-opacity="{share:.3f}"/>'
            + (
                f'<text x="{x + side / 2}" y="{y + 15}"{_LIGHT if share > 0.55 else ""} '
                f'text-anchor="middle">{count}</text>'
                if count
                else ""
            )
            + "</g>"
        )
    return Markup(
        f'<svg class="confusion" viewBox="0 0 {left + size + 60} {above + size}" role="img" '
        f'aria-label="Confusion matrix" width="{left + size + 60}">{"".join(parts)}</svg>'
    )


def _x(value: float) -> float:
    return _LEFT + _PLOT_WIDTH * float(value)


def _y(value: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - float(value))


def _nice_top(largest: float) -> float:
    """Return the smallest of a few round proportions that is not below the largest bar."""
    steps = (0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8)
    return next((step for step in steps if step >= largest), 1.0)


def _line(style: str, points: Points) -> str:
    at = "L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in zip(*points, strict=True))
    return f'<path class="{style}" d="M{at}"/>'


def _steps(style: str, edges: NDArray[np.float64], heights: NDArray[np.float64]) -> str:
    return _line(style, (np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)))


def _axes(x_title: str, y_title: str, top: float = 1.0) -> str:
    bottom = _HEIGHT - _BOTTOM
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    ]
    for share in _range(5):
        y, label = round(_y(share), 1), f"{100 * share * top:g} %"
        parts.append(
            f'<line class="grid" x1="{_LEFT - 4}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end">{label}</text>'
        )
    for value in _range(11):
        long = round(10 * value) % 2 == 0
        parts.append(
            f'<line class="axis" x1="{_x(value):.1f}" x2="{_x(value):.1f}" '
            f'y1="{bottom}" y2="{bottom + (5 if long else 3)}"/>'
        )
        if long:
            parts.append(
                f'<text x="{_x(value):.1f}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>'
            )
    parts.append(
        f'<text class="title" x="{_LEFT + _PLOT_WIDTH / 2}" y="{_HEIGHT - 4}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="title" x="{_LEFT}" y="{_TOP - 10}">{escape(y_title)}</text>'
    )
    return "".join(parts)


def _range(count: int) -> Iterable[float]:
    """Yield evenly spaced numbers from 0 to 1, as people write them."""
    return (round(index / (count - 1), 4) for index in range(count))


def _svg(parts: Sequence[str], label: str) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
