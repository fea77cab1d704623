"""What the published tables share: rows of Markdown, intervals in percent, names of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["interval", "line", "slug"]


def line(cells: Iterable[str]) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def interval(figure: Mapping[str, Any], *, signed: bool = False) -> str:
    """Write an estimate in percent, with its interval.

    Examples
    --------
    >>> interval({"value": 0.5, "low": 0.4, "high": 0.61})
    '50.0 (40.0 to 61.0)'
    """
    sign = "+" if signed else ""
    value, low, high = (100 * figure[end] for end in ("value", "low", "high"))
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def slug(name: str) -> str:
    """Turn a name into that of a file.

    Examples
    --------
    >>> slug("Grad-CAM at 0.26")
    'grad-cam-at-0.26'
    """
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in name.lower()).split())
