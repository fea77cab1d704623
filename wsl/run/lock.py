"""Who works in a run's folder: kernel locks, so that a dead process never blocks anybody.

::

    RUN/.lock         shared by the shards of one run; exclusive while somebody joins
    RUN/.lock-0-of-4  exclusive: the process that does the shard 0/4
    RUN/.info.lock    exclusive, for moments: whoever changes run.json

The locks are those of ``flock``: the kernel drops them with the process that holds them, however
it ends. The files stay and say who held them last. Two runs into one folder would do all work
twice (and still write the same files, each of them whole), so the second is refused. So are shards
of another number: their chunks would overlap.

Where there are no such locks (an object store, some network file systems, Windows) two runs of the
same settings into one folder are not refused: harmless, but wasteful. Of other settings the second
is refused everywhere (`wsl.run.folder`).
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wsl.errors import RunError
from wsl.run.shard import Shard
from wsl.storage import RemotePath

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["info_lock", "is_lock", "run_lock"]

log = logging.getLogger(__name__)

_BUSY = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_PATIENCE = 60.0


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
    if _without_locks(folder):
        yield
        return
    with ExitStack() as held:
        with info_lock(folder):
            _join(held, folder, shard)
        if shard.count > 1:
            own = held.enter_context(_opened(folder / f".lock-{shard.index}-of-{shard.count}"))
            if not _try(own, fcntl.LOCK_EX):
                raise _in_use(own, f"the shard {shard} of {folder}")
            _sign(own, shard)
        yield


def _join(held: ExitStack, folder: Path, shard: Shard) -> None:
    """Take ``.lock`` as the first, or beside other shards of the same run."""
    joint = held.enter_context(_opened(folder / ".lock"))
    if _try(joint, fcntl.LOCK_EX):
        _sign(joint, shard)
        if shard.count > 1:
            # Lets the others in. Nobody takes it in between: joining needs `info_lock`.
            _try(joint, fcntl.LOCK_SH)
        return
    if shard.count == 1 or _signature(joint).get("shards") != shard.count:
        raise _in_use(joint, str(folder))
    if not _try(joint, fcntl.LOCK_SH):
        raise _in_use(joint, str(folder))


@contextmanager
def info_lock(folder: Path) -> Iterator[None]:
    """Hold ``run.json`` for a change, waiting for whoever else does.

    Raises
    ------
    RunError
        If it does not become free within a minute, or cannot be written.
    """
    if _without_locks(folder):
        yield
        return
    with _opened(folder / ".info.lock") as descriptor:
        until = time.monotonic() + _PATIENCE
        while not _try(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise RunError(f"{folder / '.info.lock'} is held for over a minute by a process")
            time.sleep(0.02)
        yield


def _without_locks(folder: Path) -> bool:
    return fcntl is None or isinstance(folder, RemotePath)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"cannot write the run folder {path.parent}: {error}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _try(descriptor: int, kind: int) -> bool:
    """Take a lock without waiting; True also where the file system has none."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("the file system has no locks (%s): start no second run here", error.strerror)
    return True


def _sign(descriptor: int, shard: Shard) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "shards": shard.count,
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _signature(descriptor: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _in_use(descriptor: int, what: str) -> RunError:
    holder = _signature(descriptor)
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
