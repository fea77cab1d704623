"""Runs on a cluster, with a fault each; called by test_run_ray_engine.py inside its namespace.

``ray_driver.py ADDRESS PHOTOS OUT SCENARIO...`` prints a line of JSON for each scenario. Several
scenarios share one connection, so that Ray's workers have imported everything from the second on;
a single one leaves connecting to the engine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from small_runs import classifier, config, network
from torch import nn

from wsl.errors import WslError
from wsl.run.options import RayOptions
from wsl.run.runner import RunSummary, run_dataset


class KilledOnce(nn.Module):
    """A network whose process is killed in the middle of its gradients, the first time only."""

    def __init__(self, flag: Path) -> None:
        super().__init__()
        self.network, self.flag = network(), str(flag)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        scores = self.network(inputs)
        scores.register_hook(self._backward)
        return scores

    def _backward(self, gradient: torch.Tensor) -> None:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)


class Told:
    """Progress that says how many images are done, for whoever is to kill something then."""

    def __init__(self) -> None:
        self.done = 0

    def start(self, total: int, done: int) -> None:
        print(json.dumps({"there": done}), flush=True)

    def advance(self, count: int, failed: int) -> None:
        self.done += count
        print(json.dumps({"images": self.done}), flush=True)


class Fills(Told):
    """Progress that fills the disk as soon as two images are done."""

    def __init__(self, filler: Path) -> None:
        super().__init__()
        self.filler = filler

    def advance(self, count: int, failed: int) -> None:
        super().advance(count, failed)
        with self.filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)


def kill_one(title: str, killed: list[int], stop: threading.Event) -> None:
    """Kill the first process whose title has a word, as soon as there is one."""
    while not stop.is_set():
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if title.encode() in line.read_bytes() and b"ray::" in line.read_bytes():
                    os.kill(int(line.parent.name), signal.SIGKILL)
                    killed.append(int(line.parent.name))
                    return
        time.sleep(0.001)


def connect(address: str) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def main() -> None:
    address, photos, out, *scenarios = sys.argv[1:]
    torch.set_num_threads(1)  # as in the cluster's workers
    options = RayOptions(address=address, actors=1)
    if len(scenarios) > 1:
        connect(address)
    for scenario in scenarios:
        place = Path(out) / ("small/disk" if scenario == "disk" else scenario)
        killed: list[int] = []
        stop = threading.Event()
        module = network()
        if scenario == "gradients":
            module = KilledOnce(Path(out) / "killed")
        if scenario == "refinement":
            threading.Thread(target=kill_one, args=("segment_chunk", killed, stop)).start()
        begin = time.monotonic()

        def run(progress: Told, place: Path = place, module: nn.Module = module) -> RunSummary:
            return run_dataset(
                config(photos, run__chunk_size=2, run__maps=True),
                place,
                classifier=classifier(module),
                ray=options,
                progress=progress,
            )

        error = ""
        if scenario == "disk":
            filler = place.parent / "filler"
            try:
                run(Fills(filler))
            except WslError as full:
                error = str(full)
            filler.unlink()
        summary = run(Told())
        stop.set()
        result = {
            "scenario": scenario,
            "chunks": summary.chunks_done,
            "counts": summary.counts,
            "timings": summary.info.timings,
            "killed": len(killed),
            "error": error,
            "seconds": time.monotonic() - begin,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
