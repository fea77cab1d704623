"""What every protocol returns: estimates, the baselines beside them, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsl.errors import ScoreError, choices_hint
from wsl.score.estimates import Estimate

__all__ = ["Baseline", "Scores"]


@dataclass(frozen=True)
class Baseline:
    """A trivial localization on the same images.

    Attributes
    ----------
    name : str
        Such as ``"whole image"``.
    note : str
        What it is, and where its parameters come from.
    estimates : tuple of Estimate
        Under the names of the run's estimates.
    """

    name: str
    note: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True)
class Scores:
    """Result of one protocol on one set of images.

    Attributes
    ----------
    protocol : str
        Such as ``"ilsvrc"``.
    dataset : str
        Name of what was scored, for reports.
    estimates : tuple of Estimate
    baselines : tuple of Baseline
        On the same images.
    counts : mapping of str to int
        What was read, scored, failed and left out.
    omitted : mapping of str to str
        Name of an estimate that could not be computed, and why.
    notes : tuple of str
        What a reader must know: which split chose a threshold, what was left out.
    excluded : tuple of (str, str)
        Every image that was not scored, and why.
    """

    protocol: str
    dataset: str
    estimates: tuple[Estimate, ...]
    baselines: tuple[Baseline, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    omitted: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()

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
