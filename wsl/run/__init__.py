"""A dataset through a localizer, on disk.

`records` defines the rows of a part file, `folder` the run's folder, `lock` who works in it;
`stages` are the steps of the work, `engine` puts them together on this machine, `ray_engine` on
many; `runner` opens what a configuration names and does the chunks that are missing; `status` says
how far a run is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsl.run.folder import RunFolder
    from wsl.run.runner import RunSummary, run_dataset
    from wsl.run.shard import Shard
    from wsl.run.status import RunStatus, read_status

__all__ = ["RunFolder", "RunStatus", "RunSummary", "Shard", "read_status", "run_dataset"]

_HOMES = {
    "RunFolder": "wsl.run.folder",
    "RunStatus": "wsl.run.status",
    "RunSummary": "wsl.run.runner",
    "Shard": "wsl.run.shard",
    "read_status": "wsl.run.status",
    "run_dataset": "wsl.run.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
