"""The options that name a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wsl.config.options import Options

Source = Literal["torchvision", "timm", "transformers", "demo"]
Precision = Literal["float32", "bfloat16"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class ModelOptions(Options):
    """Which classifier, with which weights, on which device."""

    source: Source = "torchvision"
    """Library that builds the network; ``demo`` is the small network that comes with wsl."""

    architecture: str | None = None
    """The network's name in its library, such as ``resnet50``; of ``transformers`` a name on the
    Hugging Face Hub or a folder; none for ``demo``."""

    factory: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """Your own network in place of source and architecture: ``package.module:function``, a function
    without arguments that returns a module or a `Classifier`. It is imported from the working
    directory, too."""

    weights: str | None = "DEFAULT"
    """Published weights: ``DEFAULT``, or a name (torchvision: an entry such as ``IMAGENET1K_V1``;
    timm: a tag such as ``a1_in1k``). With a checkpoint, the entry whose preprocessing and
    categories go with it. Null without a checkpoint: random weights."""

    checkpoint: Path | None = None
    """State dict to load instead of published weights: ``.safetensors``, ``.pth``, ``.pt``,
    ``.bin`` or Lightning's ``.ckpt``."""

    categories: Path | tuple[str, ...] | None = None
    """Names of the classes in the order of the scores: a text file with one per line, each with its
    WNID or not, or a list. Of a network with one score per image, the two classes or the one that
    high scores stand for."""

    device: Device = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: the first of CUDA, MPS and CPU."""

    precision: Precision = "float32"
    """``bfloat16``: autocast on CUDA."""

    @model_validator(mode="after")
    def _fits_source(self) -> ModelOptions:
        if self.factory is not None:
            if self.architecture is not None or self.source != "torchvision":
                raise ValueError("factory must not be given beside source or architecture")
            return self
        if self.source != "demo":
            if not self.architecture:
                raise ValueError(
                    f"architecture must name a {self.source} network, such as resnet50, "
                    "but is not given"
                )
            if self.source == "transformers" and self.checkpoint is not None:
                raise ValueError(
                    "checkpoint must not be given where source is transformers: architecture may "
                    "be a folder with weights"
                )
            return self
        for key in ("architecture", "checkpoint", "categories"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} must not be given where source is demo")
        if self.weights != "DEFAULT":
            raise ValueError(f"weights must be DEFAULT where source is demo, not {self.weights}")
        return self
