"""Call the command ``wsl`` in a process of its own, and judge how it ended.

The process is a fork of one that has imported everything and started no thread, so that hundreds of
calls take minutes; what runs in it is the installed command's own function, with its arguments, its
standard error and its exit status.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MEMORY = 3 * 2**30 + 2**29
"""Bytes over the memory of an idle process: what SECURITY.md states, and an eighth."""

_STATUSES = (0, 1, 2, 3, 130)
_ADDRESS_SPACE = 24 * 2**30  # an attack that works must not take the machine


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str
    grown: int
    seconds: float
    arguments: tuple[str, ...] = ()
    timed_out: bool = False

    @property
    def finds(self) -> list[str]:
        """What is wrong with it; nothing is as it should be."""
        found = []
        if self.timed_out:
            found.append(f"hangs: {self.seconds:.0f} s")
        elif self.status not in _STATUSES:
            found.append(f"crash: exit status {self.status}")
        if "Traceback (most recent call last)" in self.err:
            found.append(f"traceback: {self.err.strip().splitlines()[-1][:200]}")
        if self.grown > MEMORY:
            found.append(f"memory: {self.grown / 2**20:.0f} MiB")
        if self.status == 1 and not self.err.splitlines()[-1:][0:1]:
            found.append("no message")
        return found


@dataclass
class Started:
    """A command that runs."""

    pid: int
    folder: Path
    arguments: tuple[str, ...]
    begin: float = field(default_factory=time.monotonic)


def start(
    arguments: list[str], folder: Path, *, prepare: Callable[[], None] | None = None
) -> Started:
    """Start ``wsl ARGUMENTS``, with its output in files of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "before").write_text("0", encoding="ascii")
    pid = os.fork()
    if pid:
        return Started(pid, folder, tuple(arguments))
    status = 70
    try:
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        (folder / "before").write_text(str(_resident()), encoding="ascii")
        if prepare is not None:
            prepare()
        status = _command(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _command(arguments: list[str]) -> int:
    import traceback

    from wsl.cli import main

    sys.argv = ["wsl", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    return 1


def wait(process: Started, *, limit: float = 300.0) -> Outcome:
    """Wait for a command to end; one that takes longer than `limit` seconds is killed."""
    until, timed_out = process.begin + limit, False
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > until and not timed_out:
            os.kill(process.pid, signal.SIGKILL)
            timed_out = True
        time.sleep(0.01)
    texts = [
        (process.folder / name).read_text(encoding="utf-8", errors="replace")
        for name in ("out", "err")
    ]
    before = int((process.folder / "before").read_text(encoding="ascii") or 0)
    return Outcome(
        os.waitstatus_to_exitcode(status),
        *texts,
        grown=max(0, used.ru_maxrss * 1024 - before) if before else 0,
        seconds=time.monotonic() - process.begin,
        arguments=process.arguments,
        timed_out=timed_out,
    )


def call(
    arguments: list[str],
    folder: Path,
    *,
    prepare: Callable[[], None] | None = None,
    limit: float = 300.0,
) -> Outcome:
    """Call ``wsl ARGUMENTS`` and wait for its end."""
    return wait(start(arguments, folder, prepare=prepare), limit=limit)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
