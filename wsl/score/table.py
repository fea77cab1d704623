"""Scores for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from wsl.score.estimates import Estimate
from wsl.score.result import Baseline, Scores

# Counts that a reader expects even if they are 0; others are shown if there is anything to tell.
_ALWAYS_COUNTED = ("listed", "scored", "failed")


def scores_table(scores: Scores) -> Group:
    """Lay scores out for the terminal.

    Returns
    -------
    rich.console.Group
        A table with one line per estimate (value and 95 % interval in percent, with n, and the
        baselines beside), then the counts, what was omitted and why, and the notes.
    """
    title = f"{scores.protocol}: {scores.dataset}" if scores.dataset else scores.protocol
    # Text and not str: brackets in a name would be taken for markup.
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for heading in ("n", "%", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for baseline in scores.baselines:
        table.add_column(Text(baseline.name), justify="right")
    for estimate in scores.estimates:
        table.add_row(
            _readable(estimate),
            f"{estimate.n:,}",
            _percent(estimate.value),
            f"{_percent(estimate.low)} to {_percent(estimate.high)}",
            *(_beside(baseline, estimate.name) for baseline in scores.baselines),
        )
    return Group(table, *(Text(line) for line in _lines(scores)))


def _lines(scores: Scores) -> list[str]:
    """Everything that a reader of the estimates must know."""
    counted = [
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in scores.counts.items()
        if count or name in _ALWAYS_COUNTED
    ]
    lines = [f"images: {', '.join(counted)}"] if counted else []
    lines += [f"{baseline.name}: {baseline.note}" for baseline in scores.baselines]
    reasons: dict[str, list[str]] = {}
    for name, why in scores.omitted.items():
        reasons.setdefault(why, []).append(name)
    lines += [f"without {', '.join(names)}: {why}" for why, names in reasons.items()]
    lines += scores.notes
    if scores.excluded:
        name, why = scores.excluded[0]
        lines.append(f"left out: {len(scores.excluded):,}, the first {name!r}: {why}")
    return lines


def _readable(estimate: Estimate) -> str:
    arrow = "↑" if estimate.higher_is_better else "↓"
    return f"{estimate.name.replace('_', ' ')} {arrow}"


def _beside(baseline: Baseline, name: str) -> str:
    found = [estimate for estimate in baseline.estimates if estimate.name == name]
    return _percent(found[0].value) if found else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
