"""What the parts of ``eval/speed`` share: classifiers, photographs, processes with their peaks."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsl import Classifier, load_classifier

NETWORKS = ("mobilenet_v2", "squeezenet1_0", "tf_efficientnet_lite0", "deit_tiny_patch16_224")
WSL = (sys.executable, "-m", "wsl.cli.process")


def classifier_of(name: str, arguments: argparse.Namespace) -> Classifier:
    """Classifier with the weights of the folder."""
    return load_classifier(name, checkpoint=checkpoint_of(name, arguments), device="cpu")


def checkpoint_of(name: str, arguments: argparse.Namespace) -> Path:
    """File of a network's weights."""
    return Path(arguments.weights) / f"{name}-imagenet1k.safetensors"


def photographs(arguments: argparse.Namespace) -> list[Path]:
    """Files of the photographs, by name."""
    return sorted((arguments.voc / "JPEGImages").glob("*.jpg"))


@dataclass(frozen=True)
class Spent:
    """What a process took: seconds on the clock and of the processor, and its peak in MB."""

    wall: float
    cpu: float
    peak: int


def spent(*commands: Sequence[str | Path]) -> list[Spent]:
    """Run commands at the same time; each must succeed.

    The peak is that of the resident memory of a command and its children together, 20 times a
    second, and at least the command's own by the kernel's count.
    """
    found: list[Spent | None] = [None] * len(commands)

    def run(at: int) -> None:
        found[at] = _spent(commands[at])

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in found:
        raise SystemExit("a command failed")
    return [each for each in found if each is not None]


def _spent(command: Sequence[str | Path]) -> Spent:
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, sum(map(_resident, _with_children(process.pid))))
        time.sleep(0.05)
    process.returncode = status
    if status:
        raise SystemExit(f"{command} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return Spent(
        round(time.perf_counter() - begun, 2), round(cpu, 2), max(peak, usage.ru_maxrss) // 1000
    )


def _with_children(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _with_children(int(child))
    except OSError:  # it has ended
        pass
    return found


def _resident(pid: int) -> int:
    """Kilobytes of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def busy_seconds(command: Sequence[str]) -> float:
    """Processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
