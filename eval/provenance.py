"""What every published figure carries with it: the code it was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["commit"]

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """Name the commit that is checked out, and whether the library's files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "wsl", "configs") else ""
    return f"commit {git('rev-parse', 'HEAD')}{changed}"
