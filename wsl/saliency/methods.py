"""The saliency methods that a configuration can name: one line each in the union."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field

from wsl.config.options import choices
from wsl.saliency.activation_maximization import ActivationMaximization
from wsl.saliency.attention import AttentionRollout
from wsl.saliency.auto import Auto
from wsl.saliency.averages import (
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
)
from wsl.saliency.base import SaliencyMethod
from wsl.saliency.cam import Cam, GradCam, LayerCam
from wsl.saliency.gradient import Deconvnet, Gradient, GuidedBackprop
from wsl.saliency.layercam_fusion import LayerCamFusion
from wsl.saliency.occlusion import Occlusion

SaliencyOptions = Annotated[
    Gradient
    | Deconvnet
    | GuidedBackprop
    | InputXGradient
    | SmoothGrad
    | IntegratedGradients
    | Cam
    | GradCam
    | LayerCam
    | Occlusion
    | LayerCamFusion
    | AttentionRollout
    | Auto,
    Field(discriminator="method"),
]

METHODS = cast(dict[str, type[SaliencyMethod]], choices(SaliencyOptions))
"""The options class of each method, by its name."""

DRAWN: dict[str, type[SaliencyMethod | ActivationMaximization]] = {
    **METHODS,
    "activation_maximization": ActivationMaximization,
}
"""All that ``wsl visualize`` draws."""
