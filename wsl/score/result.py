"""The result of a protocol: estimates, the baselines beside them, counts and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from wsl.errors import ScoreError, choices_hint
from wsl.score.estimates import Estimate

SCHEMA = 2


@dataclass(frozen=True)
class Baseline:
    """A trivial localization on the same images."""

    name: str
    """Name, such as ``"whole image"``."""
    note: str
    """What it is, and where its parameters come from."""
    estimates: tuple[Estimate, ...]
    """Under the names of the run's estimates."""


@dataclass(frozen=True)
class Curve:
    """A metric as a function of a threshold."""

    x_name: str
    """Name of the threshold."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    chosen: float | None = None
    """The threshold of the estimate."""


@dataclass(frozen=True)
class Scores:
    """Result of one protocol on one set of images."""

    protocol: str
    """Name, such as ``"ilsvrc"``."""
    estimates: tuple[Estimate, ...]
    baselines: tuple[Baseline, ...] = ()
    """On the same images."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """``listed`` images of the dataset; those ``scored``; those of them that ``failed``, which
    count as wrong; and what else the protocol counts."""
    omitted: Mapping[str, str] = field(default_factory=dict)
    """Name of an estimate that could not be computed, and why."""
    notes: tuple[str, ...] = ()
    """What a reader must know; the first says why n is not the number of listed images, if so."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Every image that was not scored, and why."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By the name of the estimate."""
    dataset: str = ""
    """Name of what was scored."""
    per_image: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)
    """One row per scored image, of the protocols that have such a table; else empty."""

    def estimate(self, name: str) -> Estimate:
        """Return the estimate with this name.

        Raises
        ------
        ScoreError
            If it was omitted (the reason is given) or never existed (the nearest is offered).
        """
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        if name in self.omitted:
            raise ScoreError(f"{name} was not computed: {self.omitted[name]}")
        hint = choices_hint(name, [estimate.name for estimate in self.estimates])
        raise ScoreError(f"{self.protocol} scores have no estimate {name!r}. {hint}")

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON's types, nothing rounded; estimates and curves by name."""
        return {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "dataset": self.dataset,
            "counts": dict(self.counts),
            "estimates": {one.name: one.to_json() for one in self.estimates},
            "baselines": [
                {
                    "name": baseline.name,
                    "note": baseline.note,
                    "estimates": {one.name: one.to_json() for one in baseline.estimates},
                }
                for baseline in self.baselines
            ],
            "omitted": dict(self.omitted),
            "notes": list(self.notes),
            "excluded": [{"image_id": name, "reason": why} for name, why in self.excluded],
            "curves": {name: _curve_to_json(curve) for name, curve in self.curves.items()},
        }


def _curve_to_json(curve: Curve) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(curve).items()}
