"""Which localizations of a run an export takes, and why the others are left out.

In this order:

1. `classes` says which rows are meant. Rows of other classes are not counted as left out.
2. ``nothing found``: the run found no object (an empty mask; no box, where boxes are written).
3. ``score too low``: below `min_score`.
4. ``quality too low``: below `min_quality`, or without a quality.
5. ``not among the best``: by `top_fraction`, a share of what the steps before leave. Of n
   localizations (of one class, or of all) the best ceil(share × n) by quality stay, and all that
   equal the last of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from wsl.errors import ConfigError, RunError
from wsl.export.names import FileNames, fingerprint, repeated
from wsl.export.options import ClassChoice, ExportOptions
from wsl.export.reading import Run
from wsl.localize.prediction import Localization, Prediction
from wsl.run.rows import read_predictions, read_table

__all__ = ["Scan", "Selection", "make_selection", "scan"]


@dataclass(frozen=True)
class Scan:
    """What must be known of the whole run before its first image is written.

    Attributes
    ----------
    images : int
    has_ground_truth : bool
        Some row is of its image's label.
    has_quality : bool
    numeric_ids : bool
        All image ids are whole numbers >= 0 that fit a COCO file.
    names : FileNames
    """

    images: int
    has_ground_truth: bool
    has_quality: bool
    numeric_ids: bool
    names: FileNames


def scan(run: Run) -> Scan:
    """Look through a run once, a part file at a time.

    Raises
    ------
    RunError
        If a file is damaged, or two images have one id.
    """
    ids: list[int] = []
    keys: list[int] = []
    truth = quality = False
    numeric = True
    for part in run.parts:
        table = read_table([part], columns=["image_id", "is_ground_truth", "quality"])
        truth = truth or bool(pc.any(table["is_ground_truth"]).as_py())
        quality = quality or table["quality"].null_count < len(table)
        for image_id in dict.fromkeys(table["image_id"].to_pylist()):
            ids.append(fingerprint(image_id))
            keys.append(fingerprint(FileNames.key(image_id)))
            numeric = numeric and _is_number(image_id)
    if len(repeated(ids)):
        raise RunError(f"{run.folder} has two images of one id in different part files")
    names = FileNames(frozenset(repeated(keys).tolist()))
    return Scan(len(ids), truth, quality, numeric, names)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 15 and str(int(text)) == text


@dataclass(frozen=True)
class Selection:
    """Takes an image's localizations or leaves them out.

    Attributes
    ----------
    classes : {'ground_truth', 'top1', 'all'}
    min_score, min_quality : float or None
    usable : callable
        Whether anything was found, for the format at hand.
    thresholds : dict of int to float, or None
        Least quality of each class that is among the best.
    """

    classes: ClassChoice
    min_score: float | None
    min_quality: float | None
    usable: Callable[[Localization], bool]
    thresholds: dict[int, float] | None = None

    def split(self, image: Prediction) -> tuple[tuple[Localization, ...], Counter[str]]:
        """Localizations of an image that are taken, and how many are left out by reason."""
        taken = []
        left_out: Counter[str] = Counter()
        for found in image.localizations:
            if not self._is_meant(found):
                continue
            reason = self._objection(found)
            if reason is None:
                taken.append(found)
            else:
                left_out[reason] += 1
        return tuple(taken), left_out

    def _is_meant(self, found: Localization) -> bool:
        if self.classes == "ground_truth":
            return found.is_ground_truth
        return self.classes == "all" or found.rank == 1

    def _objection(self, found: Localization) -> str | None:
        if not self.usable(found):
            return "nothing found"
        if self.min_score is not None and not found.score >= self.min_score:
            return "score too low"
        quality = -math.inf if found.quality is None else found.quality
        if self.min_quality is not None and not quality >= self.min_quality:
            return "quality too low"
        if self.thresholds is not None and not quality >= self.thresholds[found.label]:
            return "not among the best"
        return None


@dataclass
class _Candidates:
    """Qualities of the localizations among which the best are kept."""

    labels: list[int] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)


def make_selection(
    run: Run,
    options: ExportOptions,
    *,
    surveyed: Scan,
    classes: ClassChoice,
    usable: Callable[[Localization], bool],
) -> Selection:
    """Prepare the selection; `top_fraction` takes one more look through the run.

    Raises
    ------
    ConfigError
        If it goes by quality or by given labels and the run has none.
    """
    if classes == "ground_truth" and not surveyed.has_ground_truth:
        raise ConfigError(
            f"classes must be top1 or all, since {run.folder} has no localization of a given label"
        )
    by_quality = options.min_quality is not None or options.top_fraction is not None
    if by_quality and not surveyed.has_quality:
        raise ConfigError(f"min_quality and top_fraction need qualities, but {run.folder} has none")
    selection = Selection(classes, options.min_score, options.min_quality, usable)
    if options.top_fraction is None:
        return selection
    candidates = _Candidates()
    for part in run.parts:
        for image in read_predictions(part):
            for found in selection.split(image)[0]:
                candidates.labels.append(found.label)
                candidates.qualities.append(-1.0 if found.quality is None else found.quality)
    thresholds = _thresholds(
        candidates, options.top_fraction, within_class=options.keep_best_within == "class"
    )
    return Selection(classes, options.min_score, options.min_quality, usable, thresholds)


def _thresholds(candidates: _Candidates, share: float, *, within_class: bool) -> dict[int, float]:
    labels = np.array(candidates.labels, dtype=np.int64)
    qualities = np.array(candidates.qualities, dtype=np.float64)
    found = {}
    for label in np.unique(labels).tolist():
        group = np.sort(qualities[labels == label] if within_class else qualities)[::-1]
        # Without the rounding, 0.07 of 100 would be 8 in binary floating point.
        count = max(1, math.ceil(round(share * len(group), 9)))
        found[label] = float(group[count - 1])
    return found
