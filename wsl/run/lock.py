"""Locks of a run's folder, which a dead process never leaves locked.

::

    RUN/.lock         shared by the shards of one run; exclusive while a process joins
    RUN/.lock-0-of-4  exclusive: the process that does the shard 0/4
    RUN/.info.lock    exclusive and brief: held while run.json is changed

The operating system drops a lock with the process that holds it, however that ends. The files stay
and name their last holder. Two runs into one folder would do all work twice (and still write the
same files, each of them whole), so the second is refused. So are shards of another number: their
chunks would overlap.

Where there are no such locks (an object store, some network file systems) two runs of the same
settings into one folder are not refused: harmless, but wasteful. Of other settings the second is
refused everywhere (`wsl.run.folder`).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from portalocker import LOCK_EX, LOCK_NB, LOCK_SH, AlreadyLocked, LockException, LockFlags, lock

from wsl.errors import RunError
from wsl.run.shard import Shard
from wsl.storage import RemotePath

log = logging.getLogger(__name__)

_PATIENCE = 60.0
_SIGNING = 1.0


def is_lock(path: Path) -> bool:
    """Whether a file of a run's folder is one of its locks."""
    return path.name == ".info.lock" or path.name.startswith(".lock")


@contextmanager
def run_lock(folder: Path, shard: Shard) -> Iterator[None]:
    """Hold a run's folder, or a shard of it; it must exist.

    Raises
    ------
    RunError
        If another process holds it (the message names the process), or it cannot be written.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with ExitStack() as held:
        with info_lock(folder):
            _join(held, folder, shard)
        if shard.count > 1:
            own = folder / f".lock-{shard.index}-of-{shard.count}"
            held.enter_context(lone_lock(own, f"the shard {shard} of {folder}"))
        yield


@contextmanager
def lone_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file alone.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    what : str
        What it stands for, in the message.

    Raises
    ------
    RunError
        If another process holds it, or it cannot be written.
    """
    with _opened(path) as file:
        if not _try(file, LOCK_EX):
            raise _in_use(file, what)
        _sign(path, file)
        yield


def _join(held: ExitStack, folder: Path, shard: Shard) -> None:
    """Take ``.lock``, alone or along with other shards of the same run."""
    joint = held.enter_context(_opened(folder / ".lock"))
    if _try(joint, LOCK_EX):
        _sign(folder / ".lock", joint, shard.count)
        if shard.count > 1:
            # Lets the others in. Nobody takes it in between: joining needs `info_lock`.
            _try(joint, LOCK_SH)
    elif (
        shard.count == 1
        or _signature(joint).get("shards") != shard.count
        or not _try(joint, LOCK_SH)
    ):
        raise _in_use(joint, str(folder))


@contextmanager
def info_lock(folder: Path) -> Iterator[None]:
    """Hold ``run.json`` for a change, waiting for other processes.

    Raises
    ------
    RunError
        If it does not become free within a minute, or cannot be written.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with _opened(folder / ".info.lock") as file:
        until = time.monotonic() + _PATIENCE
        while not _try(file, LOCK_EX):
            if time.monotonic() > until:
                raise RunError(
                    f"{folder / '.info.lock'} stayed locked by another process for a minute"
                )
            time.sleep(0.02)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise RunError(f"cannot write the folder {path.parent}: {error}") from error
    with file:  # closing it gives up the lock
        yield file


def _try(file: BinaryIO, kind: LockFlags) -> bool:
    """Take a lock without waiting; True also where the file system has none."""
    try:
        lock(file, kind | LOCK_NB)
    except AlreadyLocked:
        return False
    except LockException as error:
        log.warning("the file system has no locks (%s): start no second run here", error)
    return True


def _sign(path: Path, file: BinaryIO, shards: int = 1) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "shards": shards,
    }
    try:
        file.seek(0)
        file.truncate()
        file.write(json.dumps(holder).encode())
    except OSError as error:
        raise RunError(f"cannot write the folder {path.parent}: {error}") from error


def _signature(file: BinaryIO) -> dict[str, Any]:
    file.seek(0)
    try:
        content = json.loads(file.read(4096))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _in_use(file: BinaryIO, what: str) -> RunError:
    holder, until = _signature(file), time.monotonic() + _SIGNING
    while not holder and time.monotonic() < until:  # it has the lock, and is about to sign
        time.sleep(0.02)
        holder = _signature(file)
    who = (
        f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
        if holder
        else "another process"
    )
    shards = holder.get("shards", 1)
    how = f" with shards of {shards}" if shards != 1 else ""
    return RunError(
        f"{what} is in use{how} by {who}: wait for it, stop it, or choose another folder"
    )
