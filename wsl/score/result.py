"""What every protocol returns: figures, the baselines beside them, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsl.errors import ScoreError, choices_hint
from wsl.score.intervals import Figure

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
    figures : tuple of Figure
        Under the names of the run's figures.
    """

    name: str
    note: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Scores:
    """Result of one protocol on one set of images.

    Attributes
    ----------
    protocol : str
        Such as ``"ilsvrc"``.
    dataset : str
        Name of what was scored, for reports.
    figures : tuple of Figure
    baselines : tuple of Baseline
        On the same images.
    counts : mapping of str to int
        What was read, scored, failed and left out.
    omitted : mapping of str to str
        Name of a figure that could not be computed, and why.
    notes : tuple of str
        What a reader must know: which split chose a threshold, what was left out.
    left_out : tuple of (str, str)
        Every image that was not scored, and why.
    """

    protocol: str
    dataset: str
    figures: tuple[Figure, ...]
    baselines: tuple[Baseline, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    omitted: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    def figure(self, name: str) -> Figure:
        """Return the figure with this name.

        Raises
        ------
        ScoreError
            If it was omitted (the reason is given) or never existed (the nearest is offered).
        """
        for figure in self.figures:
            if figure.name == name:
                return figure
        if name in self.omitted:
            raise ScoreError(f"{name} was not computed: {self.omitted[name]}")
        hint = choices_hint(name, [figure.name for figure in self.figures])
        raise ScoreError(f"{self.protocol} scores have no figure {name!r}. {hint}")
