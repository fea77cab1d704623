"""Options of tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsl.config.options import Options

Objective = Literal["gt_known_mean", "gt_known_0.5", "mean_iou", "mask_iou"]


class TuneOptions(Options):
    """How settings are searched."""

    objective: Objective = "gt_known_mean"
    """What is maximized, with the class known: ``gt_known_mean``, the mean of
    GT-known localization at IoU 0.3, 0.5 and 0.7; ``gt_known_0.5``, that at 0.5; ``mean_iou``, the
    mean IoU of the boxes; ``mask_iou``, that of the masks, for datasets with masks."""
    search: Literal["grid", "descent"] = "grid"
    """``grid``: every combination of the values. ``descent``: one key after the other, each value
    of it with the best of the others so far, until a pass over all keys changes nothing. It tries
    far fewer, and can miss a combination that only helps together."""
    passes: int = Field(3, ge=1)
    """Passes over the keys at most (`search: descent`)."""
    seed: int = 0
    """Seed of the bootstrap."""
