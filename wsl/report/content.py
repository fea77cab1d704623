"""The estimates, tables and comparisons of a report, before they are written in any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.report.runs import RunTable
from wsl.score.estimates import Estimate, difference_estimate, wilson
from wsl.score.protocols.diagnosis import KINDS, Diagnosis
from wsl.score.result import Scores

DIFFERING_SHOWN = 200
"""So many of the images on which two runs differ are listed, the largest differences first."""

_LABELS = {
    "classification_error_top1": "Classification error, top-1",
    "classification_error_top5": "Classification error, top-5",
    "localization_error_top1": "Localization error, top-1",
    "localization_error_top5": "Localization error, top-5",
    "gt_known_0.3": "GT-known localization, IoU ≥ 0.3",
    "gt_known_0.5": "GT-known localization, IoU ≥ 0.5",
    "gt_known_0.7": "GT-known localization, IoU ≥ 0.7",
    "mean_iou": "Mean IoU, class known",
}
_KIND_LABELS = {
    "right": "Right",
    "wrong_class_box_right": "Wrong class, box right",
    "wrong_class_box_wrong": "Wrong class, box wrong",
    "part": "Part of the object",
    "too_large": "Too large",
    "several": "One box over several instances",
    "shifted": "Shifted, meets it in part",
    "background": "Background",
    "no_box": "No box",
    "failed": "Image failed",
}
_METRICS = {
    "top1": "The top-1 prediction, its class and its box",
    "gt_known": "The box of the image's own class, whatever was predicted",
}


@dataclass(frozen=True)
class MetricRow:
    """One estimate of all runs, and of the baselines."""

    name: str
    label: str
    higher_is_better: bool
    runs: tuple[Estimate | None, ...]
    """Estimates of the runs, in their order; None where a run has none."""
    baselines: tuple[Estimate | None, ...]
    """Estimates of the first run's baselines, in their order."""


def metric_label(name: str) -> str:
    """Return the label of an estimate."""
    return _LABELS.get(name, name.replace("_", " "))


def metric_rows(scores: Sequence[Scores]) -> list[MetricRow]:
    """Lay the estimates of one protocol side by side: one entry of `scores` per run."""
    order: dict[str, Estimate] = {}
    for one in scores:
        for estimate in one.estimates:
            order.setdefault(estimate.name, estimate)
    return [
        MetricRow(
            name=name,
            label=metric_label(name),
            higher_is_better=estimate.higher_is_better,
            runs=tuple(_named(one.estimates, name) for one in scores),
            baselines=tuple(_named(baseline.estimates, name) for baseline in scores[0].baselines),
        )
        for name, estimate in order.items()
    ]


def _named(estimates: Sequence[Estimate], name: str) -> Estimate | None:
    return next((estimate for estimate in estimates if estimate.name == name), None)


def against_baseline(table: RunTable) -> tuple[str, Estimate] | None:
    """Compare a run's right boxes with those of the better trivial baseline, image by image.

    Returns
    -------
    (str, Estimate) or None
        The baseline's name and the paired difference run - baseline of GT-known localization at
        IoU 0.5; None if the run has no boxes of the ground-truth class.
    """
    if table.boxes_of != "ground-truth class":
        return None
    columns = {"whole image": "whole_iou", "centered box": "center_iou"}
    rights = {
        name: (table.images[column] >= 0.5).to_numpy()
        for name, column in columns.items()
        if column in table.images
    }
    name = max(rights, key=lambda name: float(rights[name].mean()))
    return name, difference_estimate("gt_known_0.5", rights[name], table.images["right"].to_numpy())


@dataclass(frozen=True)
class ErrorGroup:
    """Error kinds by one metric."""

    column: str
    """One of ``kind``, ``top1_kind``. Categories of the runs' images."""
    metric: str
    """One of ``top1``, ``gt_known``."""
    kinds: tuple[str, ...]
    """Those that any run has, in the order of `wsl.score.protocols.diagnosis`."""

    @property
    def title(self) -> str:
        """Title of the metric."""
        return _METRICS[self.metric]

    def diagnosis(self, table: RunTable) -> Diagnosis | None:
        """Return the run's own diagnosis."""
        return table.run.diagnosis if self.column == "kind" else table.run.top1_diagnosis


def error_groups(tables: Sequence[RunTable]) -> list[ErrorGroup]:
    """Metrics of the errors: the top-1 predictions, if all runs know them, and each run's boxes."""
    groups = []
    if all(table.run.top1_diagnosis is not None for table in tables):
        groups.append(ErrorGroup("top1_kind", "top1", _kinds(tables, "top1_kind")))
    diagnosis = next((table.run.diagnosis for table in tables if table.run.diagnosis), None)
    if diagnosis is not None:
        groups.append(ErrorGroup("kind", diagnosis.metric, _kinds(tables, "kind")))
    return groups


def _kinds(tables: Sequence[RunTable], column: str) -> tuple[str, ...]:
    found = {kind for table in tables for kind in table.images[column].dropna()}
    return tuple(kind for kind in KINDS if kind in found)


def kind_label(kind: str) -> str:
    """Return the label of an error kind."""
    return _KIND_LABELS[kind]


def kind_shares(table: RunTable, group: ErrorGroup) -> list[dict[str, Any]]:
    """Count the images of each kind, with Wilson's interval of the share."""
    counts = table.images[group.column].value_counts()
    n = len(table.images)
    rows = []
    for kind in group.kinds:
        count = int(counts.get(kind, 0))
        low, high = wilson(count, n)
        rows.append({"kind": kind, "count": count, "share": count / n, "low": low, "high": high})
    return rows


def kinds_by_size(table: RunTable, group: ErrorGroup) -> list[dict[str, Any]]:
    """Share of each kind by the size of the object: ``size, n, shares`` (in the kinds' order)."""
    diagnosis = group.diagnosis(table)
    if diagnosis is None:
        return []
    return [
        {
            "size": str(size),
            "n": int(row["n"]),
            "shares": [float(row[kind]) for kind in group.kinds],
        }
        for size, row in diagnosis.by_size().iterrows()
    ]


def class_table(table: RunTable) -> pd.DataFrame:
    """One row per class of the images' labels.

    Returns
    -------
    DataFrame
        ``label, category, id`` (the dataset's, or None), ``images, right`` (share of boxes with
        an IoU of at least 0.5), ``low, high`` (its 95 % interval), ``mean_iou, class_right``
        (share of top-1 predictions with the right class; missing if unknown) and ``commonest``
        (the commonest error kind; None without errors), in the order of the labels.
    """
    ids = table.run.categories.ids
    rows: list[dict[str, Any]] = []
    for label, images in table.images.groupby("label", sort=True):
        right = int(images["right"].sum())
        low, high = wilson(right, len(images))
        known = images["class_right_top1"].dropna()
        errors = images["kind"][images["kind"].notna() & (images["kind"] != "right")]
        rows.append(
            {
                "label": int(str(label)),
                "category": images["category"].iloc[0],
                "id": ids[int(str(label))] if ids is not None else None,
                "images": len(images),
                "right": right / len(images),
                "low": low,
                "high": high,
                "mean_iou": float(images["iou"].mean()),
                "class_right": float(known.mean()) if len(known) else np.nan,
                "commonest": errors.mode().iloc[0] if len(errors) else None,
            }
        )
    return pd.DataFrame(rows)


def confusions(tables: Sequence[RunTable]) -> pd.DataFrame | None:
    """Pairs of confused classes, the most frequent first.

    Returns
    -------
    DataFrame or None
        ``label, predicted, category, predicted_category, images`` (of the class), and a column
        per run with the number of images whose top-1 prediction is the other class; None if a run
        has no top-1 predictions.
    """
    if not all(table.images["class_right_top1"].notna().all() for table in tables):
        return None
    pairs = ["label", "predicted", "category", "predicted_category"]
    counts = []
    for table in tables:
        wrong = table.images[table.images["predicted"] != table.images["label"]]
        counts.append(wrong.dropna(subset=["predicted"]).groupby(pairs).size().rename(table.name))
    found = pd.concat(counts, axis=1).fillna(0).astype(int)
    order = found.sum(axis=1).sort_values(ascending=False, kind="stable").index
    found = found.loc[order].reset_index().astype({"predicted": int})
    sizes = tables[0].images["label"].value_counts()
    found.insert(4, "images", found["label"].map(sizes))
    return found


def differences(first: RunTable, second: RunTable) -> list[Estimate]:
    """Paired differences second - first of the estimates that both runs have, with intervals."""
    found = []
    a_values, b_values = _per_image(first), _per_image(second)
    for name, (a, higher_is_better) in a_values.items():
        if name in b_values:
            b = b_values[name][0]
            found.append(difference_estimate(name, a, b, higher_is_better=higher_is_better))
    return found


def _per_image(table: RunTable) -> dict[str, tuple[NDArray[np.float64], bool]]:
    """Per estimate the images' values that it is the mean of, and whether higher is better."""
    images = table.images
    values: dict[str, tuple[NDArray[np.float64], bool]] = {}
    for name, column in (("classification", "class_right"), ("localization", "box_right")):
        for k in (1, 5):
            right = images.get(f"{column}_top{k}")
            if right is not None and right.notna().all():
                values[f"{name}_error_top{k}"] = (1.0 - right.to_numpy(dtype=np.float64), False)
    if table.boxes_of == "ground-truth class":
        iou = images["iou"].to_numpy(dtype=np.float64)
        for at in (0.3, 0.5, 0.7):
            values[f"gt_known_{at}"] = ((iou >= at).astype(np.float64), True)
        values["mean_iou"] = (iou, True)
    return values


def differing_images(
    first: RunTable, second: RunTable, *, shown: int = DIFFERING_SHOWN
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Images that one run gets right and the other does not.

    Returns
    -------
    DataFrame
        ``image_id, category, first_iou, second_iou, first_kind, second_kind``: at most `shown`
        of them, those whose IoU differs most first.
    dict
        ``both``, ``only_first``, ``only_second``, ``neither``: how many images each gets right.
    """
    a, b = first.images, second.images
    counts = {
        "both": int((a["right"] & b["right"]).sum()),
        "only_first": int((a["right"] & ~b["right"]).sum()),
        "only_second": int((~a["right"] & b["right"]).sum()),
        "neither": int((~a["right"] & ~b["right"]).sum()),
    }
    frame = pd.DataFrame(
        {
            "image_id": a.index,
            "category": a["category"].to_numpy(),
            "first_iou": a["iou"].to_numpy(),
            "second_iou": b["iou"].to_numpy(),
            "first_kind": a["kind"].to_numpy(),
            "second_kind": b["kind"].to_numpy(),
        }
    )
    differing = frame[(a["right"] != b["right"]).to_numpy()]
    size = (differing["second_iou"] - differing["first_iou"]).abs()
    order = size.sort_values(ascending=False, kind="stable").index[:shown]
    return differing.loc[order].reset_index(drop=True), counts


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries, None where a value is missing."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def percent(value: float | None, places: int = 1) -> str:
    """Write a proportion in percent, without the sign; a dash for what is missing.

    Examples
    --------
    >>> percent(0.123), percent(None)
    ('12.3', '—')
    """
    return "—" if value is None or value != value else f"{100 * value:.{places}f}"


def signed(value: float, places: int = 1) -> str:
    """Write a difference in percentage points with its sign; what rounds to zero has none.

    Examples
    --------
    >>> signed(0.123), signed(-0.04), signed(-0.0001)
    ('+12.3', '−4.0', '0.0')
    """
    text = f"{100 * abs(value):.{places}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "−") + text
