"""A dataset through a localizer, on disk.

`records` defines the rows of a part file, `folder` the run's folder, `engine` the local engine;
`runner` opens what a configuration names and does the chunks that are missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsl.run.folder import RunFolder
    from wsl.run.runner import RunSummary, run_dataset

__all__ = ["RunFolder", "RunSummary", "run_dataset"]

_HOMES = {
    "RunFolder": "wsl.run.folder",
    "RunSummary": "wsl.run.runner",
    "run_dataset": "wsl.run.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
