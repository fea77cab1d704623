"""Classifiers: a network together with its own preprocessing and its categories.

`load_classifier` makes one from a torchvision or timm name, a local checkpoint, the bundled demo
network, or any `torch.nn.Module`. Torch is imported when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wsl.models.options import ModelOptions

if TYPE_CHECKING:
    from wsl.models.classifier import Classifier
    from wsl.models.preprocessing import Preprocessing
    from wsl.models.sources import load_classifier

__all__ = ["Classifier", "ModelOptions", "Preprocessing", "load_classifier"]

_HOMES = {
    "Classifier": "wsl.models.classifier",
    "Preprocessing": "wsl.models.preprocessing",
    "load_classifier": "wsl.models.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
