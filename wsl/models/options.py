"""The options that name a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wsl.config import Options

__all__ = ["ModelOptions", "Precision", "Source"]

Source = Literal["torchvision", "timm", "demo"]
Precision = Literal["float32", "bfloat16"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class ModelOptions(Options):
    """Which classifier, with which weights, on which device."""

    source: Source = "torchvision"
    """Library that builds the network; ``demo`` is the small network that comes with wsl."""

    architecture: str | None = None
    """The network's name in its library, such as ``resnet50``; none for ``demo``."""

    weights: str | None = "DEFAULT"
    """Published weights: ``DEFAULT``, or a name (torchvision: an entry such as ``IMAGENET1K_V1``;
    timm: a tag such as ``a1_in1k``). With a checkpoint, the entry whose preprocessing and
    categories go with it. Null without a checkpoint: random weights."""

    checkpoint: Path | None = None
    """State dict to load instead of published weights: ``.safetensors``, ``.pth`` or ``.pt``."""

    categories: Path | None = None
    """Text file with one class per line, in the order of the scores, each with its WNID or not."""

    device: Device = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: the first of CUDA, MPS and CPU."""

    precision: Precision = "float32"
    """``bfloat16``: autocast on CUDA."""

    @model_validator(mode="after")
    def _fits_source(self) -> ModelOptions:
        if self.source != "demo":
            if not self.architecture:
                raise ValueError(
                    f"architecture must name a {self.source} network, such as resnet50, "
                    "but is not given"
                )
            return self
        for key in ("architecture", "checkpoint", "categories"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} must not be given where source is demo")
        if self.weights != "DEFAULT":
            raise ValueError(f"weights must be DEFAULT where source is demo, not {self.weights}")
        return self
