"""Charts as inline SVG.

Charts are drawn on a small canvas, so that their type stays readable on a telephone; colors come
from the page's style sheet by class. Only numbers and fixed words go in, and text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from wsl.score.estimates import Estimate, wilson

__all__ = [
    "coverage_chart",
    "coverage_curve",
    "histogram_chart",
    "interval_chart",
    "reliability_bins",
    "reliability_chart",
    "share_bar",
    "success_chart",
]

_WIDTH, _HEIGHT = 380, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 22, 34
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM


def histogram_chart(iou: ArrayLike, baseline: ArrayLike | None, *, bins: int = 20) -> Markup:
    """Histogram of IoU in [0, 1]; the baseline's as a line of steps over it."""
    edges = np.linspace(0, 1, bins + 1)
    shares = _histogram(np.asarray(iou, dtype=np.float64), edges)
    other = None if baseline is None else _histogram(np.asarray(baseline, dtype=float), edges)
    top = _nice_top(max(shares.max(), 0.0 if other is None else other.max()))
    parts = [_axes("IoU with the true box", "images", top)]
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        style = "bar good" if low >= 0.5 - 1e-9 else "bar"
        height = _PLOT_HEIGHT * share / top
        parts.append(
            f'<rect class="{style}" x="{_x(low) + 0.75:.2f}" y="{_y(share, top):.2f}" '
            f'width="{_PLOT_WIDTH / bins - 1.5:.2f}" height="{height:.2f}">'
            f"<title>IoU {low:.2f} to {high:.2f}: {100 * share:.1f} %</title></rect>"
        )
    if other is not None:
        parts.append(f'<path class="reference" d="{_steps(edges, other, top)}"/>')
    return _svg(parts, "Histogram of the IoU of the predicted box with the true box")


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(values, bins=edges)
    return np.asarray(counts / max(values.size, 1), dtype=np.float64)


def _steps(edges: NDArray[np.float64], shares: NDArray[np.float64], top: float) -> str:
    points = [f"M{_x(edges[0]):.2f} {_y(shares[0], top):.2f}"]
    for edge, share in zip(edges[1:], [*shares[1:], shares[-1]], strict=True):
        points.append(f"H{_x(edge):.2f}V{_y(share, top):.2f}")
    return "".join(points)


def success_chart(iou: ArrayLike, baseline: ArrayLike | None, *, points: int = 101) -> Markup:
    """Draw the share of images whose IoU reaches a threshold, over all thresholds."""
    thresholds = np.linspace(0, 1, points)
    parts = [_axes("threshold of IoU", "images at or above it", 1.0)]
    if baseline is not None:
        parts.append(f'<path class="reference" d="{_success(baseline, thresholds)}"/>')
    parts.append(f'<path class="curve" d="{_success(iou, thresholds)}"/>')
    return _svg(parts, "Share of images whose IoU reaches a threshold")


def _success(iou: ArrayLike, thresholds: NDArray[np.float64]) -> str:
    values = np.sort(np.asarray(iou, dtype=np.float64))
    below = np.searchsorted(values, thresholds, side="left")
    shares = 1 - below / max(values.size, 1)
    at = [f"{_x(x):.1f} {_y(y, 1):.1f}" for x, y in zip(thresholds, shares, strict=True)]
    return "M" + "L".join(at)


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
                f'<rect class="range" x="{low:.1f}" y="{middle - 3}" '
                f'width="{max(high - low, 1):.1f}" height="6" rx="3"/>'
                f'<circle class="dot" cx="{estimate.value * width:.1f}" cy="{middle}" r="3.5"/>'
            )
    for baseline in baselines:
        if baseline is not None:
            x = baseline.value * width
            parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{height - 2}"/>')
    return Markup(
        f'<svg class="interval" viewBox="-5 0 {width + 10} {height}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def share_bar(share: float, *, largest: float = 1.0, good: bool = False) -> Markup:
    """Draw a horizontal bar of a share; the longest of its table has the share `largest`."""
    length = 100 * share / largest if largest > 0 else 0
    style = "bar good" if good else "bar"
    return Markup(
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{style}" width="{length:.2f}" height="10"/></svg>'
    )


def coverage_curve(
    quality: ArrayLike, right: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of right images among those of the highest quality.

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


def coverage_chart(quality: ArrayLike, right: ArrayLike, *, points: int = 400) -> Markup:
    """Draw `coverage_curve`, the share of all images as a dashed line."""
    coverage, accuracy = coverage_curve(quality, right)
    if coverage.size > points:
        at = np.unique(np.linspace(0, coverage.size - 1, points).round().astype(int))
        coverage, accuracy = coverage[at], accuracy[at]
    line = "L".join(f"{_x(x):.1f} {_y(y, 1):.1f}" for x, y in zip(coverage, accuracy, strict=True))
    base = _y(float(accuracy[-1]), 1)
    parts = [
        _axes("share of images kept, the surest first", "right", 1.0),
        f'<line class="reference" x1="{_x(0)}" x2="{_x(1)}" y1="{base:.1f}" y2="{base:.1f}"/>',
        f'<path class="curve" d="M{line}"/>',
    ]
    return _svg(parts, "Share of right images against the share of images kept")


def reliability_bins(
    quality: ArrayLike, right: ArrayLike, *, bins: int = 10
) -> list[dict[str, float]]:
    """Share of right images in bins of quality.

    Returns
    -------
    list of dict
        For each bin that has images: ``low, high`` (its ends; the last holds 1.0), ``n``,
        ``quality`` (mean), ``right`` (share) and ``right_low, right_high`` (95 % interval).
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


def reliability_chart(quality: ArrayLike, right: ArrayLike) -> Markup:
    """Draw `reliability_bins`: a dot and an interval per bin; on the diagonal both are equal."""
    parts = [
        _axes("quality", "right", 1.0),
        f'<line class="reference" x1="{_x(0)}" y1="{_y(0, 1)}" x2="{_x(1)}" y2="{_y(1, 1)}"/>',
    ]
    for found in reliability_bins(quality, right):
        x = _x(found["quality"])
        parts.append(
            f"<g><title>quality {found['low']:.1f} to {found['high']:.1f}: {found['n']} images, "
            f"{100 * found['right']:.1f} % right</title>"
            f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" '
            f'y1="{_y(found["right_low"], 1):.1f}" y2="{_y(found["right_high"], 1):.1f}"/>'
            f'<circle class="dot" cx="{x:.1f}" cy="{_y(found["right"], 1):.1f}" r="4"/></g>'
        )
    return _svg(parts, "Share of right images by quality")


def _x(value: float) -> float:
    return _LEFT + _PLOT_WIDTH * float(value)


def _y(value: float, top: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - float(value) / top)


def _nice_top(largest: float) -> float:
    """Return the smallest of a few round shares that is not below the largest bar."""
    steps = (0.02, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    return next((step for step in steps if step >= largest), 1.0)


def _axes(x_title: str, y_title: str, top: float) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share * top, top)
        label = f"{100 * share * top:g} %"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = _HEIGHT - _BOTTOM + 14
        parts.append(f'<text x="{_x(value):.1f}" y="{y}" text-anchor="middle">{value:g}</text>')
    middle = _LEFT + _PLOT_WIDTH / 2
    parts.append(
        f'<text class="title" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{escape(x_title)}</text>"
        f'<text class="title" x="{_LEFT}" y="{_TOP - 9}">{escape(y_title)}</text>'
    )
    return "".join(parts)


def _svg(parts: Sequence[str], label: str) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
