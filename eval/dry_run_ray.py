"""The Ray engine's own cost: a run of 5,000 chunks whose work is empty.

    python eval/dry_run_ray.py --out eval/results/dry_run_ray.json

As `eval/dry_run.py` does for the local engine: the real engine on a cluster of this machine, with
stages that have their results ready, so that what is left is Ray's processes, their messages, and
reading and writing files. Counted is the CPU time of all processes of the cluster and of this one,
from the first chunk that is finished to the last; the start of the cluster is told apart. The work
that a chunk stands for is that of `eval/results/rates.json`: refinement alone, as if gradients
cost no CPU at all, so that the share is the largest that can be.

Two measurements, for what does not depend on the work and what does:

- scheduling: all chunks, images of 8 × 8 pixels with maps of that size;
- maps: a few chunks of 256 images with maps of the working size, in pairs with and without them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from dry_run import reading
from dry_stages import DryPlan, OneImage, Size, no_info, no_stages
from PIL import Image
from provenance import stamp

from wsl.run.config import build_config
from wsl.run.engines.ray import RayEngine
from wsl.run.engines.ray_work import WorkPlan
from wsl.run.folder import RunFolder
from wsl.run.options import RayOptions

_TICKS = os.sysconf("SC_CLK_TCK")


class DryEngine(RayEngine):
    """The Ray engine with another plan; all the rest is its own."""

    def __init__(self, *arguments: Any, size: Size, **options: Any) -> None:
        super().__init__(*arguments, **options)
        fields = {f.name: getattr(self._plan, f.name) for f in dataclasses.fields(WorkPlan)}
        self._plan = DryPlan(**fields, size=size)


class Spent:
    """CPU seconds of this process and of all below it, those that have ended meanwhile included."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], int] = {}  # clock ticks by process id and start

    def seconds(self) -> float:
        """Look at all processes."""
        children: dict[int, list[int]] = {}
        found: dict[int, tuple[str, int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            pid = int(stat.parent.name)
            children.setdefault(int(fields[1]), []).append(pid)
            found[pid] = (fields[19], int(fields[11]) + int(fields[12]))
        todo = [os.getpid()]
        while todo:
            pid = todo.pop()
            if pid in found:
                start, ticks = found[pid]
                self._seen[pid, start] = ticks
                todo += children.get(pid, [])
        return sum(self._seen.values()) / _TICKS


class Clock:
    """Progress that reads the clocks at the first chunk and at the last."""

    def __init__(self, images: int) -> None:
        self._spent = Spent()
        self._left = images
        self._looked = time.perf_counter()
        self._begin = self._now()
        self._first: tuple[float, float, int] | None = None
        self._last = self._begin

    def _now(self) -> tuple[float, float, int]:
        return self._spent.seconds(), time.perf_counter(), self._left

    def start(self, total: int, done: int) -> None:
        """Do nothing: the engine is called without a runner."""

    def advance(self, count: int, failed: int) -> None:
        """Read the clocks at the first and the last, and each second for processes that end."""
        if failed:
            raise RuntimeError(f"{failed} images failed")
        self._left -= count
        if self._first is None or not self._left or time.perf_counter() > self._looked + 1:
            self._last, self._looked = self._now(), time.perf_counter()
            self._first = self._first or self._last

    def result(self, chunk_size: int) -> dict[str, float]:
        """Seconds per chunk between the two, and those before the first."""
        first, last = self._first or self._begin, self._last
        chunks = (first[2] - last[2]) / chunk_size
        return {
            "chunks": round(chunks),
            "cpu_ms_per_chunk": round(1000 * (last[0] - first[0]) / chunks, 2),
            "wall_ms_per_chunk": round(1000 * (last[1] - first[1]) / chunks, 2),
            "cpu_seconds_until_the_first": round(first[0] - self._begin[0], 1),
            "wall_seconds_until_the_first": round(first[1] - self._begin[1], 1),
        }


def run(place: Path, chunks: int, chunk_size: int, size: Size) -> tuple[RunFolder, dict[str, Any]]:
    """Run the engine over chunks; what it took."""
    place.mkdir(parents=True)
    path = place / "a.png"
    Image.fromarray(np.zeros((*size.image, 3), np.uint8)).save(path)
    config = build_config(
        {"run": {"chunk_size": chunk_size, "workers": 1}, "data": {"root": str(place)}}
    )
    images = chunks * chunk_size
    folder = RunFolder(place / "run")
    folder.begin(no_info(config, images))
    clock = Clock(images)
    engine = DryEngine(
        no_stages(config),
        OneImage(images, path),
        folder,
        progress=clock,
        options=RayOptions(actors=1),
        size=size,
    )
    engine.run(range(chunks))
    if missing := folder.missing_chunks(chunks):
        raise RuntimeError(f"{len(missing)} chunks are missing")
    return folder, clock.result(chunk_size)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both measurements, and the share of the work."""
    side = tuple(arguments.map_size)
    work = json.loads(arguments.rates.read_text())["median_cpu_seconds"]["refine"] * 256
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folder, scheduling = run(root / "a", arguments.chunks, arguments.chunk_size, Size())
        found = reading(folder, arguments.chunks, arguments.chunk_size)
        pairs = []
        for pair in range(arguments.pairs):
            for classes in (5, 0):
                size = Size((375, 500), side, classes)
                _, taken = run(root / f"{pair}-{classes}", arguments.pair_chunks, 256, size)
                pairs.append({"classes": classes} | taken)
    maps = [
        large["cpu_ms_per_chunk"] - none["cpu_ms_per_chunk"]
        for large, none in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    own = scheduling["cpu_ms_per_chunk"] / 1000
    sent = float(np.median(maps)) / 1000
    return {
        "scheduling": scheduling,
        "maps": pairs,
        "maps_bytes_per_chunk": 256 * 5 * side[0] * side[1] * 4,
        "maps_cpu_seconds_per_chunk": round(sent, 3),
        "work_cpu_seconds_per_chunk": round(work, 1),
        "share_of_the_work": round((own + sent) / work, 5),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=5000)
    parser.add_argument("--chunk-size", type=int, default=16, help="Of the first measurement.")
    parser.add_argument("--map-size", type=int, nargs=2, default=(84, 112), help="Of the second.")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--pair-chunks", type=int, default=25)
    parser.add_argument("--rates", type=Path, default=Path("eval/results/rates.json"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    import ray

    ray.init(
        num_cpus=2,
        num_gpus=0,
        object_store_memory=10**9,
        log_to_driver=False,
        include_dashboard=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        result = measure(arguments)
    finally:
        ray.shutdown()
    print(json.dumps(result, indent=1))
    if arguments.out:
        command = (
            f"python eval/dry_run_ray.py --chunks {arguments.chunks} "
            f"--chunk-size {arguments.chunk_size} --pairs {arguments.pairs} "
            f"--pair-chunks {arguments.pair_chunks} --out {arguments.out}"
        )
        content = {
            **stamp(command, ["ray", "wsl-localize"]),
            "result": result,
        }
        arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
