"""Options of the way from a classifier to saliency maps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsl.options import Options
from wsl.saliency.views import ViewOptions

__all__ = ["Reduction", "SaliencyOptions"]

Reduction = Literal["max", "mean", "l2"]


class SaliencyOptions(Options):
    """Which saliency map, from which views."""

    method: Literal["gradient"] = "gradient"
    """``gradient``: absolute gradient of the unnormalised class score (Simonyan et al. 2013)."""

    reduction: Reduction = "max"
    """How the colour channels become one: ``max`` as in the paper, ``mean``, or ``l2``, the root of
    the sum of squares."""

    views: ViewOptions = Field(default_factory=ViewOptions)
    """What the classifier sees of an image; the maps of several views are averaged."""
