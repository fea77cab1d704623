"""What tuning found: every candidate with its estimates, the best, and the best centered box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from wsl.run.config import RunConfig, to_yaml
from wsl.run.tuned_on import TunedOn
from wsl.score.estimates import Estimate, exact_mean, mean_estimate, proportion_estimate
from wsl.score.protocols.ilsvrc import GT_KNOWN_IOUS
from wsl.storage import write_json, write_text
from wsl.tune.ious import Ious
from wsl.tune.options import Objective, TuneOptions
from wsl.tune.space import Candidate, SearchSpace

SCHEMA = 1
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate with its estimates."""

    candidate: Candidate
    estimates: tuple[Estimate, ...]
    """``gt_known_mean, gt_known_0.3, gt_known_0.5, gt_known_0.7, mean_iou``, and ``mask_iou`` where
    the true masks are known."""

    def estimate(self, name: str) -> Estimate:
        """Return the estimate with this name."""
        return next(estimate for estimate in self.estimates if estimate.name == name)


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What tuning found."""

    options: TuneOptions
    space: SearchSpace
    trials: tuple[Trial, ...]
    """Trials in the order in which they were made; the configuration as given is the first."""
    best: Trial
    center: tuple[tuple[float, Estimate], ...]
    """Side of the centered box and its estimate by the objective."""
    center_side: float
    """The best of them; of equals the smallest."""
    failures: tuple[tuple[str, str], ...]
    """Images that could not be processed, and why: wrong by every candidate."""
    excluded: int
    """Images without a readable annotation of their class."""
    tuned_on: TunedOn

    @property
    def ordered(self) -> list[Trial]:
        """Trials, the best first."""
        name = self.options.objective
        others = [one for one in self.trials if one is not self.best]
        return [self.best, *sorted(others, key=lambda one: -one.estimate(name).value)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the estimates must know."""
        where, n = self.tuned_on.dataset, self.best.estimates[0].n
        notes = [
            f"chosen and measured on the same {n:,} images of {where}, which flatters the best of "
            f"{len(self.trials)}; report figures on other images",
        ]
        values = {one.estimate(self.options.objective).value for one in self.trials}
        if len(self.trials) > 1 and len(values) == 1:
            notes.append(
                f"all settings give the same {self.options.objective}: boxes of a cut of their own "
                "depend on the keys below localize.box alone, and masks do not depend on them"
            )
        if self.excluded:
            notes.append(f"{self.excluded:,} images without an annotation of their class left out")
        if self.failures:
            name, why = self.failures[0]
            notes.append(
                f"{len(self.failures):,} images could not be processed and are wrong for every "
                f"candidate, the first {name!r}: {why}"
            )
        return tuple(notes)

    @property
    def beside(self) -> TunedOn:
        """The record with the list of images beside the file that has it."""
        return self.tuned_on.model_copy(update={"images": Path(self.tuned_on.images).name})

    def configure(self, config: RunConfig) -> RunConfig:
        """Put what was chosen into a configuration, with the record of where it was chosen."""
        return config.model_copy(
            update={"localize": self.best.candidate.options, "tuned_on": self.tuned_on}
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON's types, nothing rounded."""
        name = self.options.objective
        return {
            "schema": SCHEMA,
            "objective": name,
            "search": self.options.model_dump(mode="json"),
            "space": {key: list(values) for key, values in self.space.values.items()},
            "tuned_on": self.beside.model_dump(mode="json"),
            "chosen": dict(self.best.candidate.choices),
            "candidates": [
                {
                    "choices": dict(one.candidate.choices),
                    "chosen": one is self.best,
                    "estimates": {estimate.name: estimate.to_json() for estimate in one.estimates},
                }
                for one in self.trials
            ],
            "center_side": self.center_side,
            "center": [{"side": side, **estimate.to_json()} for side, estimate in self.center],
            "notes": list(self.notes),
            "failures": [{"image_id": name, "reason": why} for name, why in self.failures],
        }


def known_estimates(iou: NDArray[np.float64], *, seed: int = 0) -> tuple[Estimate, ...]:
    """Estimates of boxes of the ground-truth class, from their IoU with the best instance (N,)."""
    return (
        mean_estimate("gt_known_mean", _mean_of_shares(iou), seed=seed),
        *(proportion_estimate(f"gt_known_{at}", iou >= at) for at in GT_KNOWN_IOUS),
        mean_estimate("mean_iou", iou, seed=seed),
    )


def estimates(ious: Ious, *, seed: int = 0) -> tuple[Estimate, ...]:
    """Estimates of boxes, and of masks where all true masks are known."""
    boxes = known_estimates(ious.box, seed=seed)
    if np.isnan(ious.mask).any():
        return boxes
    return (*boxes, mean_estimate("mask_iou", ious.mask, seed=seed))


def objective_value(ious: Ious, objective: Objective) -> float:
    """Value of an objective alone: that of the estimate of its name."""
    values = {
        "gt_known_mean": _mean_of_shares(ious.box),
        "gt_known_0.5": ious.box >= 0.5,
        "mean_iou": ious.box,
        "mask_iou": ious.mask,
    }
    return exact_mean(values[objective])


def _mean_of_shares(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.mean([iou >= at for at in GT_KNOWN_IOUS], axis=0))


def tuning_table(result: TuningResult) -> Group:
    """Lay the best candidates out for the terminal, with the notes."""
    title = f"tuned on {result.tuned_on.dataset}: {result.options.objective}"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("%", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings")
    ordered = result.ordered
    shown = ordered[:_SHOWN]
    given = result.trials[0]
    for one in shown if given in shown else [*shown, given]:
        estimate = one.estimate(result.options.objective)
        table.add_row(*_interval_cells(estimate), Text(one.candidate.text))
    side = result.center_side
    table.add_row(*_interval_cells(dict(result.center)[side]), f"centered box, side {side:g}")
    more = len(ordered) - len(shown)
    lines = [f"… and {more} more"] if more > 0 else []
    return Group(table, *(Text(line) for line in (*lines, *result.notes)))


def write_tuning(result: TuningResult, config: RunConfig, folder: Path) -> Path:
    """Write what was found into the folder of the tuning.

    ``tuned.yaml`` (the configuration, for ``wsl run``), ``tuning.json`` and ``tuning.md`` (every
    candidate with its estimates).

    Returns
    -------
    Path
        Path of the configuration.
    """
    write_json(folder / "tuning.json", result.to_json())
    write_text(folder / "tuning.md", _markdown(result))
    header = [
        f"Chosen by {result.options.objective} among {len(result.trials)} settings on",
        f"{result.tuned_on.dataset} ({result.best.estimates[0].n:,} images): score other images.",
        f"Chosen: {result.best.candidate.text}",
    ]
    path = folder / "tuned.yaml"
    comment = "".join(f"# {line}\n" for line in header)
    configured = result.configure(config).model_copy(update={"tuned_on": result.beside})
    write_text(path, f"{comment}\n{to_yaml(configured)}")
    return path


def _markdown(result: TuningResult) -> str:
    heads = ["settings", result.options.objective, "95 % interval", "n", "0.3", "0.5", "0.7", "IoU"]
    rows = [[one.candidate.text, *_cells(result, one)] for one in result.ordered]
    estimate = dict(result.center)[result.center_side]
    rows.append(
        [f"centered box, side {result.center_side:g}", *_interval_cells(estimate), *[""] * 4]
    )
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {note}" for note in result.notes)
    return f"# Tuned on {result.tuned_on.dataset}\n\n{table}\n\n{notes}\n"


def _cells(result: TuningResult, one: Trial) -> list[str]:
    names = [*(f"gt_known_{at}" for at in GT_KNOWN_IOUS), "mean_iou"]
    return [
        *_interval_cells(one.estimate(result.options.objective)),
        *(f"{100 * one.estimate(name).value:.2f}" for name in names),
    ]


def _interval_cells(estimate: Estimate) -> Sequence[str]:
    return (
        f"{100 * estimate.value:.2f}",
        f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f}",
        f"{estimate.n:,}",
    )
