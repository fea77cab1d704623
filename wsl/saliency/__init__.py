"""Saliency: a classifier, images and classes in; maps of the input out.

One file per family of methods; each method has the form of `SaliencyMethod`. Torch is imported
when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from wsl.saliency.gradient import gradient_saliency
    from wsl.saliency.methods import build_method
    from wsl.saliency.options import SaliencyOptions
    from wsl.saliency.views import ViewOptions, Views, make_views

__all__ = [
    "SaliencyMaps",
    "SaliencyMethod",
    "SaliencyOptions",
    "Select",
    "ViewOptions",
    "Views",
    "build_method",
    "gradient_saliency",
    "make_views",
    "mean_over_views",
    "per_image",
    "these",
    "top_k",
    "top_k_and",
]

_HOMES = {
    "SaliencyOptions": "wsl.saliency.options",
    "build_method": "wsl.saliency.methods",
    "gradient_saliency": "wsl.saliency.gradient",
    "ViewOptions": "wsl.saliency.views",
    "Views": "wsl.saliency.views",
    "make_views": "wsl.saliency.views",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "wsl.saliency.base")), name)
