"""Saliency: a classifier, images and classes in; maps of the input out.

One file per family of methods; each method has the form of `SaliencyMethod`. Torch is imported
when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsl.saliency.ascent import Ascent
    from wsl.saliency.attribution import attribute
    from wsl.saliency.averages import InputXGradient, IntegratedGradients, SmoothGrad
    from wsl.saliency.base import (
        SaliencyMaps,
        SaliencyMethod,
        Select,
        mean_over_views,
        per_image,
        these,
        top_k,
        top_k_and,
    )
    from wsl.saliency.cam import Cam, GradCam, LayerCam
    from wsl.saliency.class_model import ClassModels, class_models
    from wsl.saliency.gradient import Gradient, class_maps, gradient_saliency
    from wsl.saliency.methods import METHODS, build_method
    from wsl.saliency.occlusion import Occlusion, occlude, occlusion_saliency
    from wsl.saliency.options import SaliencyOptions
    from wsl.saliency.targets import (
        ClassScore,
        Filter,
        Loss,
        Neuron,
        Regression,
        Target,
        WeightedSum,
    )
    from wsl.saliency.views import ViewOptions, Views, make_views

_NAMES = {
    "wsl.saliency.ascent": ["Ascent"],
    "wsl.saliency.attribution": ["attribute"],
    "wsl.saliency.averages": ["InputXGradient", "IntegratedGradients", "SmoothGrad"],
    "wsl.saliency.base": [
        "SaliencyMaps",
        "SaliencyMethod",
        "Select",
        "mean_over_views",
        "per_image",
        "these",
        "top_k",
        "top_k_and",
    ],
    "wsl.saliency.cam": ["Cam", "GradCam", "LayerCam"],
    "wsl.saliency.class_model": ["ClassModels", "class_models"],
    "wsl.saliency.gradient": ["Gradient", "class_maps", "gradient_saliency"],
    "wsl.saliency.methods": ["METHODS", "build_method"],
    "wsl.saliency.occlusion": ["Occlusion", "occlude", "occlusion_saliency"],
    "wsl.saliency.options": ["SaliencyOptions"],
    "wsl.saliency.targets": [
        "ClassScore",
        "Filter",
        "Loss",
        "Neuron",
        "Regression",
        "Target",
        "WeightedSum",
    ],
    "wsl.saliency.views": ["ViewOptions", "Views", "make_views"],
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "METHODS",
    "Ascent",
    "Cam",
    "ClassModels",
    "ClassScore",
    "Filter",
    "GradCam",
    "Gradient",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCam",
    "Loss",
    "Neuron",
    "Occlusion",
    "Regression",
    "SaliencyMaps",
    "SaliencyMethod",
    "SaliencyOptions",
    "Select",
    "SmoothGrad",
    "Target",
    "ViewOptions",
    "Views",
    "WeightedSum",
    "attribute",
    "build_method",
    "class_maps",
    "class_models",
    "gradient_saliency",
    "make_views",
    "mean_over_views",
    "occlude",
    "occlusion_saliency",
    "per_image",
    "these",
    "top_k",
    "top_k_and",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
