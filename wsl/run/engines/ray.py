"""The Ray engine: the chunks of a run on the machines of a Ray cluster (extra ``ray``).

::

    missing chunks ──► actors with the classifier ──► CPU tasks: masks, files of the chunk
      one row each       decode, maps; GPU               on any node; a row of counts comes back

Ray Data passes the rows on, and holds the actors back when finished maps would fill the object
store. What goes from an actor to a task is a chunk's maps at the working size, not its images: the
task reads those again. All nodes must see the images and the run's folder under the
same names (a shared drive, or a store), and have the same versions installed. The classifier is
sent from here, so that all actors have exactly the weights that ``run.json`` names.

A batch is made of the same images as in the local engine, so that on the same kind of device the
files are the same. What was lost with a worker or a node is computed again; a chunk that two
workers finish is written twice, the same and whole. If the cluster loses more than Ray can recover,
the chunks that are missing are given to it again, as long as each round finishes some.

What an actor sends is pickled, like all that Ray sends: anyone who can reach the cluster's ports
can run code on it. Keep them to a private network, or switch Ray's token authentication on.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from wsl.data.sample import Dataset
from wsl.errors import RunError, WslError
from wsl.progress import Progress
from wsl.run.engines.ray_work import Explainer, plan_of, segment_chunk, without_module
from wsl.run.folder import RunFolder
from wsl.run.options import RayOptions
from wsl.run.stages import Stages, Timings

log = logging.getLogger(__name__)


class RayEngine:
    """Runs chunks of a dataset on a Ray cluster.

    Raises
    ------
    RunError
        If Ray is not installed.
    """

    def __init__(
        self,
        stages: Stages,
        dataset: Dataset,
        folder: RunFolder,
        *,
        progress: Progress,
        options: RayOptions,
    ) -> None:
        try:
            import ray  # noqa: F401 - whether it can be imported is what matters here
        except ImportError as error:
            raise RunError(
                "the Ray engine needs the extra ray: pip install 'wsl-localize[ray]'"
            ) from error
        self.dataset = dataset
        self.folder = folder
        self.progress = progress
        self.options = options
        self.timings = Timings()
        self.lost = 0
        self._plan = plan_of(stages, folder)

    def run(self, chunks: Sequence[int]) -> None:
        """Do some chunks. However this ends, the part files that exist are complete.

        Raises
        ------
        RunError
            If the cluster cannot be reached, a worker cannot write the folder or does not see the
            same folder, or a round of work finishes nothing.
        """
        if not chunks:
            return
        begin = time.perf_counter()
        left = dict.fromkeys(chunks)
        try:
            with _connected(self.options.address):
                while left:
                    before, error = len(left), self._round(left)
                    if left and len(left) == before:
                        raise RunError(
                            f"the Ray cluster finished nothing: {_reason(error)}"
                        ) from error
                    if left:
                        log.warning(
                            "%d chunks were lost (%s) and are done again",
                            len(left),
                            _reason(error),
                        )
            self._check_written(chunks)
            # Leftovers of killed workers; no other process works in the folder.
            self.folder.clear_hidden(chunks)
        finally:
            self.timings.add("wall", begin)

    def _round(self, left: dict[int, None]) -> Exception | None:
        """Have the cluster do chunks, and take those done from `left`; the error that ended it."""
        from ray.exceptions import RayError

        failure: Exception | None = None
        try:
            for row in self._pipeline(list(left)).iter_rows():
                if int(row["chunk"]) in left:
                    del left[int(row["chunk"])]
                    self._count(row)
        except RayError as error:
            _raise_own(error)
            failure = error
        return failure

    def _count(self, row: dict[str, Any]) -> None:
        self.progress.advance(int(row["images"]), int(row["failed"]))
        now = time.perf_counter()
        for stage in ("decode", "saliency", "refine", "write"):
            self.timings.add(stage, now - float(row[stage]))

    def _pipeline(self, chunks: list[int]) -> Any:
        """Chunks through actors and tasks, as a lazy Ray dataset."""
        import ray
        from ray.data import ActorPoolStrategy

        gpus, actors = self._resources()
        plan, dataset = ray.put(self._plan), ray.put(self.dataset)
        segmenting = ray.put(replace(self._plan, classifier=without_module(self._plan.classifier)))
        rows = ray.data.from_items(
            [{"chunk": chunk} for chunk in chunks], override_num_blocks=len(chunks)
        )
        explained = rows.map_batches(
            Explainer,
            batch_size=1,
            fn_constructor_kwargs={"plan": plan, "dataset": dataset, "gpus": gpus},
            compute=ActorPoolStrategy(min_size=1, max_size=actors, max_tasks_in_flight_per_actor=2),
            num_gpus=gpus or None,
            num_cpus=self.options.cpus_per_actor,
        )
        return explained.map_batches(
            segment_chunk,
            batch_size=1,
            fn_kwargs={"plan": segmenting},
            num_cpus=1,
        )

    def _resources(self) -> tuple[float, int]:
        """GPUs of an actor, and how many actors."""
        import ray

        there = ray.cluster_resources().get("GPU", 0)
        gpus = self.options.gpus_per_actor
        if gpus is None:
            gpus = 1.0 if there else 0.0
        if gpus > there:
            raise RunError(f"an actor must have {gpus:g} GPUs, but the cluster has {there:g}")
        return gpus, self.options.actors or max(1, int(there / gpus) if gpus else 1)

    def _check_written(self, chunks: Sequence[int]) -> None:
        there = {path.name for path in self.folder.parts()}
        missing = [chunk for chunk in chunks if self.folder.part_path(chunk).name not in there]
        if missing:
            raise RunError(
                f"{self.folder.path} must be the same folder on all nodes of the cluster, but "
                f"{len(missing)} chunks that workers have written are not there"
            )


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a cluster, and disconnect at the end unless the caller was connected before."""
    # A library should not report what its users do.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=None if address == "local" else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise RunError(f"cannot reach a Ray cluster at {address}: {error}") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _reason(error: BaseException | None) -> str:
    """Say what happened in one line: the last that names an error, after all tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return (named or lines or [type(error).__name__])[-1]


def _raise_own(error: BaseException) -> None:
    """Raise what wsl itself raised in a worker: trying again would not help."""
    # Ray makes text of it, and may put advice behind.
    own = re.findall(r"^wsl\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
    if own:
        raise RunError(own[-1]) from error
    seen: BaseException | None = error
    while seen is not None:
        cause = getattr(seen, "cause", None)
        for found in (seen, cause):
            if isinstance(found, WslError):
                raise RunError(str(found).strip().splitlines()[-1]) from error
        seen = seen.__cause__ or (cause if isinstance(cause, BaseException) else None)
