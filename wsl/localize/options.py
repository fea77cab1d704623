"""Options of the whole way from an image to masks and boxes."""

from __future__ import annotations

from pydantic import Field

from wsl.config import Options
from wsl.localize.segment import LocalizeOptions
from wsl.saliency.gradient import Gradient
from wsl.saliency.methods import SaliencyOptions

__all__ = ["LocalizerOptions"]


class LocalizerOptions(Options):
    """How an image becomes masks and boxes."""

    saliency: SaliencyOptions = Field(default_factory=Gradient)
    """From the classifier to saliency maps."""
    localize: LocalizeOptions = Field(default_factory=LocalizeOptions)
    """From a map to a mask and a box."""
    seed: int = Field(0, ge=0)
    """Everything random is drawn from this, the image's id and the class."""
