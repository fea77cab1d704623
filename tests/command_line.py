"""The command in a process of its own, as a person's shell starts it, or in this one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from wsl.cli import main

_NOTHING_HEAVY = """
import sys
from wsl.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {'torch', 'cv2', 'pandas', 'numpy'} & set(sys.modules)
sys.exit(f'imported {heavy}' if heavy else 0)
"""


def wsl(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``wsl ARGUMENTS``."""
    return _run("from wsl.cli import main; main()", *arguments, cwd=cwd)


def wsl_here(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``wsl ARGUMENTS`` in this process, which imports nothing anew."""
    command = ["wsl", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", command)
        if cwd is not None:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(command, end.value.code, out.getvalue(), err.getvalue())


def without_heavy_imports(*arguments: object) -> str:
    """Run ``wsl ARGUMENTS``, which must import nothing that takes long; what it prints."""
    result = _run(_NOTHING_HEAVY, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _run(
    code: str, *arguments: object, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
    )
