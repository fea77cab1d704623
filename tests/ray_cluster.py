"""A Ray cluster of two nodes on loopback, in a network namespace of its own.

Ray's servers listen on all interfaces, whatever address a node has; in the namespace there is none
but loopback. Making it needs root (or user namespaces), so that tests skip where it is not allowed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAD, SECOND, PORT = "127.0.0.2", "127.0.0.3", 26379
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def hold_namespace() -> None:
    """Switch loopback on in the namespace that this process is in, and wait to be ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    print("up", flush=True)
    signal.pause()


class Cluster:
    """A head and a second node, started by Ray's own command and ended by their process ids."""

    def __init__(self, holder: int, folder: Path) -> None:
        self.holder = holder
        self.folder = folder
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        tests = str(Path(__file__).parent)
        self.environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            # Of this cluster alone, whatever token the home folder has.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            # Idle workers stay for the connection's next run: a new one imports for seconds.
            "RAY_idle_worker_killing_time_threshold_ms": "600000",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]),
        }

    @property
    def address(self) -> str:
        return f"{HEAD}:{PORT}"

    def inside(self, *command: object) -> list[str]:
        return ["nsenter", "-t", str(self.holder), "-n", *map(str, command)]

    def python(self, *arguments: object, **options: object) -> subprocess.Popen[str]:
        """Start a Python process that sees the cluster."""
        return subprocess.Popen(
            self.inside(sys.executable, *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def start(self, address: str, *, gpus: int = 0) -> None:
        """Start a node; GPUs that Ray would find are left out unless they are asked for."""
        role = (
            ["--head", "--port", PORT, "--include-dashboard", "false"]
            if address == HEAD
            else ["--address", self.address]
        )
        command = [
            Path(sys.executable).with_name("ray"), "start", *role, "--node-ip-address", address,
            "--num-cpus", 2 if address == HEAD else 1, "--num-gpus", gpus,
            "--object-store-memory", 120_000_000, "--disable-usage-stats", "--block",
        ]  # fmt: skip
        if address == HEAD:
            command += ["--temp-dir", self.folder / "ray"]
        log = self.folder / f"{address}.log"
        with log.open("wb") as file:
            self.nodes[address] = subprocess.Popen(
                self.inside(*command),
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while b"Ray runtime started" not in log.read_bytes():
            if self.nodes[address].poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the node {address} did not start: {log.read_text()}")
            time.sleep(0.2)

    def kill(self, address: str) -> None:
        """Kill a node with all its processes at once, as a power cut does."""
        node = self.nodes.pop(address)
        for pid in [*descendants(node.pid), node.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()

    def stop(self) -> None:
        for address in list(self.nodes):
            self.kill(address)


def descendants(pid: int) -> list[int]:
    """Processes below a process: its children, their children, and so on."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


@contextlib.contextmanager
def started(*, gpus: int = 0) -> Iterator[Cluster]:
    """Start the cluster, with GPUs on its head; skip where there can be none."""
    pytest.importorskip("ray")
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("a Ray cluster on loopback needs unshare and nsenter (util-linux)")
    holder = subprocess.Popen(
        ["unshare", "-n", sys.executable, __file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if holder.stdout.readline() != "up\n":
        pytest.skip(f"no network namespace can be made here: {holder.communicate()[1].strip()}")
    # Ray's sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="wr"))
    cluster = Cluster(holder.pid, folder)
    try:
        cluster.start(HEAD, gpus=gpus)
        cluster.start(SECOND)
        yield cluster
    finally:
        cluster.stop()
        holder.kill()
        holder.communicate()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    hold_namespace()
