"""Choosing the settings of refinement on annotated images.

The classifier looks at each image once (`maps`); masks and boxes are then made again and again
with other settings, which is cheap (`boxes`). `space` names the settings to try, `search` decides
which of them to try next, `result` says what was found, and `tuner` puts these together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsl.tune.maps import MapStore
    from wsl.tune.options import TuneOptions
    from wsl.tune.result import TuningResult
    from wsl.tune.space import SearchSpace
    from wsl.tune.tuner import store_maps, tune

__all__ = ["MapStore", "SearchSpace", "TuneOptions", "TuningResult", "store_maps", "tune"]

_HOMES = {
    "MapStore": "wsl.tune.maps",
    "SearchSpace": "wsl.tune.space",
    "TuneOptions": "wsl.tune.options",
    "TuningResult": "wsl.tune.result",
    "store_maps": "wsl.tune.tuner",
    "tune": "wsl.tune.tuner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
