"""Simulate the Ray engine's schedule over 5,000 chunks, with faults.

    python eval/simulate_scheduler.py --out eval/results/simulate_scheduler.json

Chunks go through actors (gradients) and CPU tasks (GrabCut, files). Between the two a bounded
number of chunks wait; a full buffer holds the actors back. Workers die one by one, nodes with all
that runs and waits on them, and the driver with everything that is not on disk; dead workers and
nodes come back after a while, a driver is started again by whatever watches over it. What is on
disk stays.

The seconds per chunk are those of `eval/scale.md`. It is a model: it says how the schedule behaves,
not how fast a machine is.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from provenance import stamp

HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """Machines, the work, and how often something dies."""

    chunks: int = 5000
    gpu_nodes: int = 2
    cpus_of_gpu_node: int = 8  # one core more is the actor's
    cpu_nodes: int = 1
    cpus_of_cpu_node: int = 8
    actor_seconds: float = 3.9  # a chunk's gradients, on a GPU
    task_seconds: float = 26.0  # a chunk's GrabCut, on one core
    spread: float = 0.15  # standard deviation of the logarithm of both
    waiting: int = 64  # most chunks between actors and tasks
    worker_mtbf: float = float("inf")  # hours between deaths of one worker's process
    node_mtbf: float = float("inf")  # hours between deaths of one node
    driver_mtbf: float = float("inf")  # hours between deaths of the driver
    worker_back: float = 30.0  # seconds until a worker is back
    node_back: float = 900.0
    driver_back: float = 300.0


@dataclass
class Result:
    """What a simulated run came to."""

    hours: float
    ideal_hours: float
    task_use: float
    actor_use: float
    redone_gradients: int
    redone_refinements: int
    most_waiting: int
    deaths: dict[str, int]


@dataclass
class _Worker:
    node: int
    kind: str
    chunk: int | None = None
    up: bool = True
    generation: int = 0
    busy: float = 0.0
    since: float = 0.0


@dataclass
class _State:
    cluster: Cluster
    rng: random.Random
    now: float = 0.0
    events: list[tuple[float, int, str, int, int]] = field(default_factory=list)
    order: int = 0

    def after(self, delay: float, kind: str, who: int, generation: int = 0) -> None:
        self.order += 1
        heapq.heappush(self.events, (self.now + delay, self.order, kind, who, generation))


class Simulation:
    """One run from its first chunk to its last."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.state = _State(cluster, random.Random(seed))
        self.todo = deque(range(cluster.chunks))
        self.waiting: deque[tuple[int, int]] = deque()  # chunk, and the node that holds its maps
        self.done: set[int] = set()
        self.workers = self._make_workers()
        self.counts: Counter[str] = Counter()
        self.most_waiting = 0
        self.driver_up = True

    def _make_workers(self) -> list[_Worker]:
        c = self.cluster
        workers = []
        for node in range(c.gpu_nodes + c.cpu_nodes):
            gpu = node < c.gpu_nodes
            workers += [_Worker(node, "actor")] if gpu else []
            cpus = c.cpus_of_gpu_node if gpu else c.cpus_of_cpu_node
            workers += [_Worker(node, "task") for _ in range(cpus)]
        return workers

    def run(self) -> Result:
        """Work until every chunk is done once."""
        c, state = self.cluster, self.state
        for node in range(c.gpu_nodes + c.cpu_nodes):
            self._plan_death(c.node_mtbf, "node dies", node)
        for index in range(len(self.workers)):
            self._plan_death(c.worker_mtbf, "worker dies", index)
        self._plan_death(c.driver_mtbf, "driver dies", 0)
        self._assign()
        while len(self.done) < c.chunks:
            state.now, _, kind, who, generation = heapq.heappop(state.events)
            getattr(self, "_" + kind.replace(" ", "_"))(who, generation)
            self._assign()
        return self._result()

    def _plan_death(self, mtbf_hours: float, kind: str, who: int) -> None:
        if mtbf_hours != float("inf"):
            self.state.after(self.state.rng.expovariate(1 / (mtbf_hours * HOUR)), kind, who)

    def _assign(self) -> None:
        if not self.driver_up:
            return
        looking = sum(
            worker.kind == "actor" and worker.chunk is not None for worker in self.workers
        )
        for index, worker in enumerate(self.workers):
            if not worker.up or worker.chunk is not None:
                continue
            if worker.kind == "task" and self.waiting:
                self._begin(index, self.waiting.popleft()[0], self.cluster.task_seconds)
            elif (
                worker.kind == "actor"
                and self.todo
                and len(self.waiting) + looking < self.cluster.waiting
            ):
                looking += 1
                self._begin(index, self.todo.popleft(), self.cluster.actor_seconds)

    def _begin(self, index: int, chunk: int, seconds: float) -> None:
        worker = self.workers[index]
        worker.chunk, worker.since = chunk, self.state.now
        taken = seconds * self.state.rng.lognormvariate(0, self.cluster.spread)
        self.state.after(taken, "work ends", index, worker.generation)

    def _work_ends(self, index: int, generation: int) -> None:
        worker = self.workers[index]
        if worker.generation != generation or worker.chunk is None:
            return  # it died meanwhile
        chunk, worker.chunk = worker.chunk, None
        worker.busy += self.state.now - worker.since
        if worker.kind == "actor":
            self.waiting.append((chunk, worker.node))
            self.most_waiting = max(self.most_waiting, len(self.waiting))
        else:
            if chunk in self.done:
                raise AssertionError(f"chunk {chunk} came twice")
            self.done.add(chunk)

    def _worker_dies(self, index: int, _: int) -> None:
        if self.workers[index].up:
            self.counts["workers"] += 1
            self._lose(index)
            self.workers[index].up = False
            self.state.after(self.cluster.worker_back, "worker back", index)
        self._plan_death(self.cluster.worker_mtbf, "worker dies", index)

    def _worker_back(self, index: int, _: int) -> None:
        self.workers[index].up = True

    def _node_dies(self, node: int, _: int) -> None:
        self.counts["nodes"] += 1
        for index, worker in enumerate(self.workers):
            if worker.node == node:
                self._lose(index)
                worker.up = False
                self.state.after(self.cluster.node_back, "worker back", index)
        held = [chunk for chunk, at in self.waiting if at == node]
        self.waiting = deque(entry for entry in self.waiting if entry[1] != node)
        self.counts["gradients again"] += len(held)
        self.todo.extendleft(held)
        self._plan_death(self.cluster.node_mtbf, "node dies", node)

    def _driver_dies(self, _: int, __: int) -> None:
        self.counts["drivers"] += 1
        for index in range(len(self.workers)):
            self._lose(index)
        self.counts["gradients again"] += len(self.waiting)
        self.waiting.clear()
        self.todo = deque(sorted(set(range(self.cluster.chunks)) - self.done))
        self.driver_up = False
        self.state.after(self.cluster.driver_back, "driver back", 0)
        self._plan_death(self.cluster.driver_mtbf, "driver dies", 0)

    def _driver_back(self, _: int, __: int) -> None:
        self.driver_up = True

    def _lose(self, index: int) -> None:
        """Whatever a worker is at is lost, and is done again from its gradients."""
        worker = self.workers[index]
        worker.generation += 1
        if worker.chunk is None:
            return
        worker.busy += self.state.now - worker.since
        self.counts["gradients again"] += 1
        if worker.kind == "task":
            self.counts["refinements again"] += 1
        self.todo.appendleft(worker.chunk)
        worker.chunk = None

    def _result(self) -> Result:
        c, now = self.cluster, self.state.now
        tasks = [worker for worker in self.workers if worker.kind == "task"]
        actors = [worker for worker in self.workers if worker.kind == "actor"]
        mean = 2.718281828 ** (c.spread**2 / 2)
        ideal = mean * c.chunks * max(c.task_seconds / len(tasks), c.actor_seconds / len(actors))
        return Result(
            hours=now / HOUR,
            ideal_hours=ideal / HOUR,
            task_use=sum(worker.busy for worker in tasks) / (now * len(tasks)),
            actor_use=sum(worker.busy for worker in actors) / (now * len(actors)),
            redone_gradients=self.counts["gradients again"],
            redone_refinements=self.counts["refinements again"],
            most_waiting=self.most_waiting,
            deaths={kind: self.counts[kind] for kind in ("workers", "nodes", "drivers")},
        )


FAULTS = {
    "nothing dies": {},
    "a worker dies every 24 h of its life": {"worker_mtbf": 24.0},
    "spot machines: a node dies every 6 h": {"node_mtbf": 6.0},
    "all at once, and the driver every 2 h": {
        "worker_mtbf": 24.0,
        "node_mtbf": 6.0,
        "driver_mtbf": 2.0,
    },
    "all of it six times as often": {
        "worker_mtbf": 4.0,
        "node_mtbf": 1.0,
        "driver_mtbf": 1 / 3,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--actor-seconds", type=float, default=Cluster.actor_seconds)
    parser.add_argument("--task-seconds", type=float, default=Cluster.task_seconds)
    arguments = parser.parse_args()
    found = {}
    for name, faults in FAULTS.items():
        cluster = Cluster(
            actor_seconds=arguments.actor_seconds, task_seconds=arguments.task_seconds, **faults
        )
        runs = [Simulation(cluster, seed).run() for seed in range(arguments.seeds)]
        found[name] = [dataclasses.asdict(run) for run in runs]
        hours = sorted(run.hours for run in runs)
        print(
            f"{name:40s} {hours[0]:.2f} to {hours[-1]:.2f} h (ideal {runs[0].ideal_hours:.2f}), "
            f"redone {max(run.redone_refinements for run in runs)} of {cluster.chunks}"
        )
    if arguments.out:
        command = f"python eval/simulate_scheduler.py --out {arguments.out}"
        content = {
            **stamp(command, []),
            "cluster": {
                name: value
                for name, value in dataclasses.asdict(cluster).items()
                if not name.endswith("_mtbf")
            },
            "faults": FAULTS,
            "runs": found,
        }
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
