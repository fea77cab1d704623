"""Writing a report's files."""

from __future__ import annotations

import os
from pathlib import Path

from wsl.errors import ScoreError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> Path:
    """Write a file, whole or not at all; folders are made as needed.

    Raises
    ------
    ScoreError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ScoreError(f"cannot write {path}: {error}") from error
    return path
