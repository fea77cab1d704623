"""Input of a report, validated: runs with their scores, one row per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.draw.overlays import Picture
from wsl.errors import ScoreError
from wsl.masks import Mask
from wsl.score.matching import RIGHT_IOU
from wsl.score.protocols.diagnosis import Diagnosis
from wsl.score.result import Scores

_NEEDED = (
    *("image_id", "status", "height", "width", "label", "predicted", "predicted_score"),
    *("predicted_iou", "class_right_top1", "gt_iou", "gt_x0", "gt_y0", "gt_x1", "gt_y1"),
    "whole_iou",
)


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps from one image to its box; what is None or empty is left out of the pictures."""

    image: Picture
    """Shape (H, W, 3)."""
    saliency: NDArray[np.floating] | None = None
    """Shape (h, w). At the image's size or the working size."""
    seeds: NDArray[np.uint8] | None = None
    """Shape (h, w)."""
    mask: Mask | None = None
    """Shape (H, W)."""
    box: Box | None = None
    """The predicted box, in pixels of the image."""
    gt_boxes: tuple[Box, ...] = ()
    """The annotated boxes of the image's class."""


StepsOf = Callable[[str], Steps]
"""From an image's id to its steps, for the class whose box is scored: the ground-truth class where
the run has it, else the top-1 prediction."""


@dataclass(frozen=True, eq=False)
class ReportRun:
    """Content of a report about one run."""

    name: str
    """Runs of one name are numbered."""
    scores: Scores
    """Scores by the protocol ``ilsvrc``."""
    categories: Categories
    diagnosis: Diagnosis | None = None
    """The error kind of each image."""
    top1_diagnosis: Diagnosis | None = None
    """The error kind of each top-1 prediction, where `diagnosis` is of the ground-truth class's
    boxes."""
    quality: Mapping[str, float] | None = None
    """The quality score of each image's localization, by its id; see `quality_by_image`."""
    steps: StepsOf | None = None
    """Steps by image; None: the report has no pictures."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the run was: classifier, device, dataset, ..."""
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage; this and the two above as in ``run.json``."""


@dataclass(frozen=True, eq=False)
class RunTable:
    """A run's images, checked."""

    run: ReportRun
    name: str
    """Name, unique in the report."""
    boxes_of: str
    """One of ``ground-truth class``, ``top-1 prediction``. Whose box ``iou`` is of."""
    images: pd.DataFrame
    """The scores' ``per_image``, indexed by image id, in the order of the report's first run, and
    beside its columns ``iou``, ``right`` (IoU at least 0.5), ``category`` and
    ``predicted_category`` (class names), ``kind`` and ``top1_kind`` (of `ReportRun.diagnosis` and
    `ReportRun.top1_diagnosis`) and ``quality`` (missing where unknown)."""

    def row(self, image_id: str) -> dict[str, Any]:
        """Return the row of one image."""
        return {str(name): value for name, value in self.images.loc[image_id].items()}

    def class_name(self, label: float) -> str | None:
        """First synonym of a class; None for the label of no class."""
        categories = self.run.categories
        return None if label < 0 else categories.names[int(label)].split(",")[0].strip()

    def differs(self, image_id: str, box: Box | None) -> bool:
        """Whether a box computed again is not the one that was scored.

        Of a run that holds top-1 predictions only, the scored boxes are not known here: False.
        """
        if self.boxes_of != "ground-truth class":
            return False
        row = self.row(image_id)
        scored = np.array([row[f"gt_{name}"] for name in ("x0", "y0", "x1", "y1")], dtype=float)
        found = np.full(4, np.nan) if box is None else np.asarray(box, dtype=np.float64)
        return not np.allclose(scored, found, atol=0.5, equal_nan=True)


def quality_by_image(predictions: pd.DataFrame) -> dict[str, float] | None:
    """Quality of each image's localization: of the ground-truth class, else the top-1 prediction.

    Parameters
    ----------
    predictions : DataFrame
        Rows of a run (`wsl.run.rows`).

    Returns
    -------
    dict or None
        None if no quality was computed.
    """
    rows = predictions[["image_id", "rank", "is_ground_truth", "quality"]]
    rows = rows[rows["quality"].notna()]
    if rows.empty:
        return None
    truth = rows["is_ground_truth"].astype("boolean").fillna(False).astype(bool)
    chosen = rows[truth] if truth.any() else rows[rows["rank"] == 1]
    return dict(zip(chosen["image_id"], chosen["quality"].astype(float), strict=True))


def tabulate(runs: Sequence[ReportRun]) -> list[RunTable]:
    """Check runs and lay out their images, in the order of the first run.

    Raises
    ------
    ScoreError
        If there is no run; a run's table lacks a column, names an image twice or holds an IoU or
        quality outside of [0, 1]; or two runs are over different images or were scored with
        different annotations.
    """
    if not runs:
        raise ScoreError("a report needs at least one run, but got none")
    tables = [
        _tabulate_one(run, name)
        for run, name in zip(runs, _distinct([run.name for run in runs]), strict=True)
    ]
    first = tables[0]
    for other in tables[1:]:
        _check_comparable(first, other)
    order = first.images.index
    return [
        first,
        *(
            RunTable(table.run, table.name, table.boxes_of, table.images.loc[order])
            for table in tables[1:]
        ),
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    """Give each run a name of its own: a name that was there before gets a number."""
    found: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in found:
            number += 1
            candidate = f"{name} ({number})"
        found.append(candidate)
    return found


def _tabulate_one(run: ReportRun, name: str) -> RunTable:
    frame = run.scores.per_image
    missing = [column for column in _NEEDED if column not in frame.columns]
    if missing:
        raise ScoreError(f"the scores of run {name!r} must have a column {missing[0]!r} per image")
    if frame.empty:
        raise ScoreError(f"run {name!r} has no scored image")
    twice = frame["image_id"][frame["image_id"].duplicated()]
    if len(twice):
        raise ScoreError(f"the scores of run {name!r} hold image {twice.iloc[0]!r} twice")
    images = frame.set_index(frame["image_id"].astype(str), drop=False)
    boxes_of = "ground-truth class" if images["gt_iou"].notna().any() else "top-1 prediction"
    iou = images["gt_iou" if boxes_of == "ground-truth class" else "predicted_iou"].astype(float)
    _check_share(iou, f"the IoU of run {name!r}", missing_allowed=False)
    images = images.assign(
        iou=iou,
        right=iou >= RIGHT_IOU,
        category=_names(images["label"], run.categories, name),
        predicted_category=_names(images["predicted"], run.categories, name),
        kind=_looked_up(images.index, _kinds(run.diagnosis), "error kind", name),
        top1_kind=_looked_up(
            images.index, _kinds(run.top1_diagnosis), "top-1 prediction's kind", name
        ),
        quality=_looked_up(images.index, run.quality, "quality", name, all_needed=False),
    )
    if run.quality is not None:
        images["quality"] = images["quality"].astype(float)
        _check_share(images["quality"], f"the quality of run {name!r}", missing_allowed=True)
    return RunTable(run, name, boxes_of, images)


def _kinds(diagnosis: Diagnosis | None) -> dict[str, str] | None:
    return None if diagnosis is None else diagnosis.kinds


def _names(labels: pd.Series[Any], categories: Categories, run: str) -> pd.Series[Any]:
    """First synonym of each label's class; None where there is no label."""
    found: list[str | None] = []
    for label in labels.tolist():
        if label is None or label != label or label < 0:
            found.append(None)
            continue
        if label >= len(categories):
            raise ScoreError(
                f"label {label:g} in run {run!r} must be below {len(categories)}, the number of "
                "its classifier's categories"
            )
        found.append(categories.names[int(label)].split(",")[0].strip())
    return pd.Series(found, index=labels.index, dtype=object)


def _looked_up(
    image_ids: pd.Index[Any],
    values: Mapping[str, Any] | None,
    what: str,
    run: str,
    *,
    all_needed: bool = True,
) -> pd.Series[Any]:
    if values is None:
        return pd.Series([None] * len(image_ids), index=image_ids, dtype=object)
    lacking = [image_id for image_id in image_ids if image_id not in values]
    if lacking and (all_needed or len(lacking) == len(image_ids)):
        raise ScoreError(f"run {run!r} has no {what} for image {lacking[0]!r}")
    found = [values.get(image_id) for image_id in image_ids]
    return pd.Series(found, index=image_ids, dtype=object)


def _check_share(values: pd.Series[Any], what: str, *, missing_allowed: bool) -> None:
    present = values.notna() if missing_allowed else pd.Series(True, index=values.index)
    wrong = values[present & ~values.between(0, 1)]
    if len(wrong):
        raise ScoreError(
            f"{what} must be in [0, 1], but is {wrong.iloc[0]} for image {wrong.index[0]!r}"
        )


def _check_comparable(first: RunTable, other: RunTable) -> None:
    a, b = first.images, other.images
    for here, there, table in ((a, b, first), (b, a, other)):
        only = here.index.difference(there.index)
        if len(only):
            raise ScoreError(
                f"runs {first.name!r} and {other.name!r} must be over the same images, but "
                f"{len(only)} are only in {table.name!r}, such as {only[0]!r}"
            )
    b = b.loc[a.index]
    # The whole image's IoU tells one annotation of an image from another.
    for column, what in (("label", "label"), ("whole_iou", "annotated boxes")):
        differs = ~np.isclose(a[column].astype(float), b[column].astype(float), equal_nan=True)
        if differs.any():
            raise ScoreError(
                f"runs {first.name!r} and {other.name!r} must be scored with the same annotations, "
                f"but the {what} of image {a.index[int(np.argmax(differs))]!r} differ"
            )
    if first.boxes_of != other.boxes_of:
        raise ScoreError(
            f"runs {first.name!r} and {other.name!r} cannot be compared: one holds boxes of the "
            "ground-truth class, the other of the top-1 prediction only"
        )
    one, two = first.run.diagnosis, other.run.diagnosis
    if one is not None and two is not None and one.metric != two.metric:
        raise ScoreError(
            f"the errors of runs {first.name!r} and {other.name!r} must be of the same metric, "
            f"but are of {one.metric} and {two.metric}"
        )
