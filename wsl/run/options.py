"""Options of a run over a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from wsl.config.options import Options


class ClassOptions(Options):
    """Which classes of an image are localized."""

    select: Literal["auto", "top_k", "ground_truth", "both", "named"] = "auto"
    """``auto``: the image's label, or the classifier's first class where it has none. ``top_k``:
    the classifier's first `top_k`. ``ground_truth``: the label; an image without one fails.
    ``both``: the first `top_k` and the label, as the challenge's error needs. ``named``: the
    classes `names`."""
    top_k: int = Field(5, ge=1)
    """How many classes, in the order of the classifier's scores."""
    names: tuple[str | int, ...] = ()
    """Ids, names or numbers of categories, for `select: named`."""
    groups: Path | None = None
    """File of class groups (`wsl.models.groups`): several of the classifier's classes as one of
    your own, such as all dogs. Classes, predictions, scores and exports then speak of the
    groups."""

    @model_validator(mode="after")
    def _consistent(self) -> ClassOptions:
        if (self.select == "named") != bool(self.names):
            raise ValueError(
                "names must be given with select: named, and only then, "
                f"but got select: {self.select} and {len(self.names)} names"
            )
        return self


class RunOptions(Options):
    """How the work is divided.

    Results do not depend on `workers`, which may change when a run is continued, as may
    `time_limit`. Their last bits do depend on `batch_size` (the arithmetic of a batch depends on
    its size) and on `chunk_size` (a batch never crosses a chunk's border).
    """

    chunk_size: int = Field(256, ge=1)
    """Images per part file."""
    batch_size: int = Field(32, ge=1)
    """Network inputs per forward pass: images times views, but at least one image."""
    workers: int | None = Field(None, ge=1)
    """Threads for segmentation, and as many for decoding; null is one per core."""
    time_limit: float | None = Field(600.0, gt=0)
    """Seconds for reading one image, and again for segmenting it; an image that takes longer is a
    failed row, and its thread is abandoned. Time for which the process is stopped does not count.
    Null: no limit. Raise it where large images are segmented at their own size
    (``localize.working_size: null``)."""
    maps: bool = False
    """Store the saliency maps beside the predictions, at the working size."""
    map_dtype: Literal["float16", "float32"] = "float16"
    """Precision of the stored maps. ``float32`` takes twice the space; scores of maps then agree to
    the last digit with a program that has the maps in memory."""


class RayOptions(Options):
    """How the Ray engine uses its cluster. Results do not depend on it."""

    address: str = "auto"
    """``HOST:PORT`` of the cluster's head; ``auto`` is the cluster that this machine belongs to;
    ``local`` starts one on this machine alone."""
    actors: int | None = Field(None, ge=1)
    """Most copies of the classifier; null is one per GPU of the cluster, or one without GPUs."""
    gpus_per_actor: float | None = Field(None, ge=0)
    """GPUs for each copy, such as 0.5 where two fit on one; null is 1 where the cluster has any,
    else 0: on the CPU."""
    cpus_per_actor: float = Field(1, gt=0)
    """CPU cores for each copy, which decodes images in ``run.workers`` threads, or one per core."""
