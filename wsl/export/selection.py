"""Selection of the localizations that an export contains, with the reasons for the others.

In this order:

1. `classes` selects rows. Rows of other classes are not counted as left out.
2. ``not in the class list``: another class than those of `class_list`.
3. ``nothing found``: the run found no object (an empty mask; no box, where boxes are written).
4. ``score too low``: below `min_score`.
5. ``quality too low``: below `min_quality`, or without a quality.
6. ``not among the best``: by `top_fraction`, a fraction of what passes the steps before. Of n
   localizations (of one class, or of all) the ceil(fraction × n) of the highest quality are kept,
   and those that tie with the last of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from wsl.errors import ConfigError, RunError
from wsl.export.base import ClassChoice, ExportFormat, Run, Scan
from wsl.export.classes import read_class_list
from wsl.export.names import FileNames, fingerprint, repeated
from wsl.run.rows import read_table

_COLUMNS = (
    *("image_id", "label", "rank", "is_ground_truth", "score", "quality", "mask_area", "x0"),
)


def scan(run: Run) -> Scan:
    """Scan a run once, one part file at a time.

    Raises
    ------
    RunError
        If a file is damaged, or two images have one id.
    """
    ids: list[int] = []
    keys: list[int] = []
    truth = quality = False
    numeric = True
    for part in run.parts():
        rows = _rows(part, "image_id", "is_ground_truth", "quality")
        truth = truth or bool(rows["is_ground_truth"].any())
        quality = quality or bool(rows["quality"].notna().any())
        for image_id in rows["image_id"].unique():
            ids.append(fingerprint(image_id))
            keys.append(fingerprint(FileNames.key(image_id)))
            numeric = numeric and _is_number(image_id)
    if len(repeated(ids)):
        raise RunError(f"{run.path} has two images of one id in different part files")
    names = FileNames(frozenset(repeated(keys).tolist()))
    return Scan(len(ids), truth, quality, numeric, names)


def _rows(part: Path, *columns: str) -> pd.DataFrame:
    return pd.DataFrame(read_table([part], columns=columns).to_pandas())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 15 and str(int(text)) == text


@dataclass(frozen=True, eq=False)
class Selection:
    """The rule by which localizations are taken or left out."""

    format: ExportFormat
    classes: ClassChoice
    labels: tuple[int, ...] | None
    """The classes that the export names; None until the occurring ones are known."""
    thresholds: pd.Series[float] | None = None
    """Minimum quality of each label by `top_fraction`."""

    def reasons(self, part: Path) -> dict[tuple[str, int], str]:
        """Reason why each selected localization is left out; empty if it is taken.

        Returns
        -------
        dict of (str, int) to str
            By image id and label.
        """
        rows = self.judged(part)
        keys = zip(rows["image_id"], rows["label"].astype(int), strict=True)
        return dict(zip(keys, rows["reason"], strict=True))

    def judged(self, part: Path) -> pd.DataFrame:
        """Rows of a part file for the selected classes, with the column ``reason``."""
        rows = _rows(part, *_COLUMNS)
        rows = rows[rows["label"].notna()]
        if self.classes == "ground_truth":
            rows = rows[rows["is_ground_truth"].astype(bool)]
        elif self.classes == "top1":
            rows = rows[rows["rank"] == 1]
        quality = rows["quality"].fillna(-1.0)  # below every quality
        has_mask = rows["mask_area"] > 0
        usable = {
            "mask": has_mask,
            "box": has_mask | rows["x0"].notna(),
            "class": pd.Series(True, index=rows.index),
        }
        objections: dict[str, pd.Series[bool]] = {}
        if self.labels is not None:
            objections["not in the class list"] = ~rows["label"].isin(self.labels)
        objections["nothing found"] = ~usable[self.format.needs]
        if self.format.min_score is not None:
            objections["score too low"] = ~(rows["score"] >= self.format.min_score)
        if self.format.min_quality is not None:
            objections["quality too low"] = ~(quality >= self.format.min_quality)
        if self.thresholds is not None:
            objections["not among the best"] = quality < rows["label"].map(self.thresholds)
        reason = np.select(list(objections.values()), list(objections), default="")
        return rows.assign(reason=reason, quality=quality)


def make_selection(run: Run, options: ExportFormat, scanned: Scan) -> Selection:
    """Prepare the selection; the run is read again for thresholds and the occurring classes.

    Raises
    ------
    ConfigError
        If it goes by quality or by labels of the images and the run has none, or the class list
        cannot be used.
    """
    classes = options.classes or ("ground_truth" if scanned.has_ground_truth else "top1")
    if classes == "ground_truth" and not scanned.has_ground_truth:
        raise ConfigError(
            f"classes must be top1 or all, since {run.path} has no localization of a given label"
        )
    by_quality = options.min_quality is not None or options.top_fraction is not None
    if by_quality and not scanned.has_quality:
        raise ConfigError(f"min_quality and top_fraction need qualities, but {run.path} has none")
    selection = Selection(options, classes, read_class_list(options.class_list, run.categories))
    if options.top_fraction is not None:
        candidates = pd.concat(_candidates(run, selection), ignore_index=True)
        selection = replace(
            selection,
            thresholds=quality_thresholds(
                candidates, options.top_fraction, per_class=options.top_fraction_per_class
            ),
        )
    if selection.labels is None:
        occurring = {
            int(label) for rows in _candidates(run, selection) for label in rows["label"].unique()
        }
        selection = replace(selection, labels=tuple(sorted(occurring)))
    return selection


def _candidates(run: Run, selection: Selection) -> Iterator[pd.DataFrame]:
    """Yield label and quality of the rows that a selection takes, one part file at a time."""
    for part in run.parts():
        rows = selection.judged(part)
        taken = rows.loc[rows["reason"] == "", ["label", "quality"]]
        yield taken.astype({"label": np.int32})


def quality_thresholds(
    candidates: pd.DataFrame, fraction: float, *, per_class: bool
) -> pd.Series[float]:
    """Minimum quality of the best localizations of each label.

    Parameters
    ----------
    candidates : DataFrame
        ``label`` and ``quality``.
    fraction : float
        In (0, 1].
    per_class : bool
        Whether the fraction applies to each class.
    """

    def threshold(qualities: pd.Series[float]) -> float:
        # Without the rounding, 0.07 of 100 would be 8 in binary floating point.
        count = max(1, math.ceil(round(fraction * len(qualities), 9)))
        return float(qualities.nlargest(count).iloc[-1])

    by_class = candidates.groupby("label")["quality"]
    if per_class:
        return by_class.agg(threshold)
    overall = threshold(candidates["quality"]) if len(candidates) else 0.0
    return pd.Series(overall, index=pd.Index(candidates["label"].unique(), name="label"))
