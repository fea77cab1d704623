"""The command ``wsl`` as a process of its own: what is set before torch is loaded, and the exit."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from contextlib import suppress

from wsl.cli import main

_M_ARENA_MAX = -8  # of <malloc.h>


def command() -> None:
    """Run the command line and end the process."""
    share_free_memory()
    status: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    leave(status)


def share_free_memory() -> None:
    """Have glibc keep freed memory in one place for all threads, not in one for each."""
    with suppress(OSError, AttributeError, TypeError):  # of other libraries
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def leave(status: int | str | None) -> None:
    """End the process as ``sys.exit`` does, without the destructors of C++.

    Those of torch with CUDA take half a second, and read 120 MB of its libraries into memory.
    """
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:  # nobody reads on
        status = status or 1
    os._exit(status or 0)


if __name__ == "__main__":
    command()
