"""What every published figure carries with it: the code it was made with."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["command", "commit", "stamp"]

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """Name the commit that is checked out, and whether the library's files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "wsl", "configs") else ""
    return f"commit {git('rev-parse', 'HEAD')}{changed}"


def stamp(module: str, *packages: str) -> dict[str, Any]:
    """Say how and with what a module made figures: keys of a file of results."""
    return {
        "command": command(module, sys.argv[1:]),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def command(module: str, arguments: Sequence[str]) -> str:
    """Write the command down, with the names of files and folders but not where they lie here.

    Examples
    --------
    >>> command("eval.figures.accuracy", ["--set", "data.root=/home/me/ilsvrc"])
    'python -m eval.figures.accuracy --set data.root=ilsvrc'
    """
    bare = [re.sub(r"(^|=)/(?:[^/]+/)*", r"\1", argument) for argument in arguments]
    return shlex.join(["python", "-m", module, *bare])
