"""A run from its configuration: open everything, check the folder, do what is missing."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, RunError, WslError
from wsl.localize.localizer import Localizer
from wsl.models.classifier import Classifier
from wsl.models.groups import group_classes, read_groups
from wsl.models.sources import load_classifier
from wsl.progress import NoProgress, Progress
from wsl.run.config import RunConfig
from wsl.run.engines.local import LocalEngine
from wsl.run.folder import RunFolder, kept_images
from wsl.run.info import RunInfo
from wsl.run.options import RayOptions, RunOptions
from wsl.run.rows import PartCounts, read_table
from wsl.run.shard import Shard
from wsl.run.stages import Stages, chunk_range

if TYPE_CHECKING:
    from wsl.run.engines.ray import RayEngine

__all__ = ["RunSummary", "build_localizer", "describe_run", "run_dataset"]

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "opencv-python", "numpy", "pillow", "scikit-image", "pandas")


@dataclass(frozen=True)
class RunSummary:
    """What a run came to.

    Attributes
    ----------
    folder : RunFolder
    info : RunInfo
        As it stands in ``run.json``.
    chunks_done : int
        By this start; the others were there before.
    failures : tuple of (str, str)
        Image id and reason of the first failed images, at most 20.
    counts : dict
        ``images``, ``ok``, ``failed``, ``localizations`` of this start's chunks: of the whole run,
        or of a shard. Those of `info` are empty as long as chunks of other shards are missing.
    """

    folder: RunFolder
    info: RunInfo
    chunks_done: int
    failures: tuple[tuple[str, str], ...]
    counts: dict[str, int]

    @property
    def failed(self) -> int:
        """Number of images that could not be processed."""
        return self.counts["failed"]


def build_localizer(config: RunConfig, classifier: Classifier | None = None) -> Localizer:
    """Make the localizer that a configuration describes.

    Parameters
    ----------
    config : RunConfig
    classifier : Classifier, optional
        Used in place of the one that ``config.model`` names.
    """
    classifier = classifier or load_classifier(config.model)
    if config.classes.groups is not None:
        classifier = group_classes(classifier, read_groups(config.classes.groups))
    return Localizer(classifier, config)


def run_dataset(
    config: RunConfig,
    out: Path | str,
    *,
    classifier: Classifier | None = None,
    progress: Progress | None = None,
    shard: Shard | None = None,
    retry_failed: bool = False,
    verify: bool = False,
    ray: RayOptions | None = None,
) -> RunSummary:
    """Localize the objects of a whole dataset, on disk.

    Chunks whose part file is there already and whole are left alone, and of others the images that
    an interrupted start has kept, so that the same call continues a run however it ended. A damaged
    file is made again, and the log says so.

    Parameters
    ----------
    config : RunConfig
    out : Path or str
        The run's folder: new, empty, or of the same run.
    classifier : Classifier, optional
        Any classifier, in place of the one that ``config.model`` names.
    progress : Progress, optional
    shard : Shard, optional
        Do this process's share of the chunks only.
    retry_failed : bool
        Do the chunks again that have failed images, such as after a drive was away.
    verify : bool
        Read the maps of finished chunks against their checksums, too, and not only their list.
    ray : RayOptions, optional
        Do the work on a Ray cluster (`wsl.run.engines.ray`) instead of this machine.

    Returns
    -------
    RunSummary

    Raises
    ------
    RunMismatchError
        If the folder holds another run.
    RunError, DataError, ModelError, ConfigError
        If the folder (that another process may hold), the dataset, the classifier or a class
        cannot be used at all. One image that cannot be used is a row with ``status = "failed"``.
    """
    shard, progress = shard or Shard(), progress or NoProgress()
    if ray is not None and shard.count > 1:
        raise ConfigError("a Ray cluster shares out the chunks itself: give no shard")
    folder = RunFolder(out)
    folder.check()  # first, so that a place that cannot be is told at once
    localizer = build_localizer(config, classifier)
    dataset = open_dataset(config.data, localizer.classifier.categories)
    stages = Stages(
        localizer, classes=config.classes, options=config.run, max_pixels=config.data.max_pixels
    )
    folder.make()
    with folder.lock(shard):
        folder.begin(describe_run(config, localizer, dataset))
        work = _Work(config.run, len(dataset), folder, shard)
        work.clear(verify=verify)
        missing = work.missing(retry_failed=retry_failed)
        pieces = work.pieces(missing) if ray is None else {}
        engine = _engine(stages, dataset, folder, progress, pieces, ray)
        left = work.count(missing) - kept_images(pieces)
        progress.start(work.count(work.chunks), work.count(work.chunks) - left)
        try:
            engine.run(missing)
        except BaseException as error:
            with suppress(WslError):  # what ended the run is told, not what followed from that
                folder.add_timings(engine.timings.to_dict())
                error.add_note(work.kept_note(engine.lost))
            raise
        folder.add_timings(engine.timings.to_dict())
        return work.summary(len(missing))


def _engine(
    stages: Stages,
    dataset: Dataset,
    folder: RunFolder,
    progress: Progress,
    pieces: Mapping[int, Sequence[range]],
    ray: RayOptions | None,
) -> LocalEngine | RayEngine:
    if ray is None:
        return LocalEngine(stages, dataset, folder, progress=progress, pieces=pieces)
    from wsl.run.engines.ray import RayEngine

    return RayEngine(stages, dataset, folder, progress=progress, options=ray)


@dataclass(frozen=True)
class _Work:
    """The chunks of one start: which there are, which are missing, and what came of them."""

    options: RunOptions
    images: int
    folder: RunFolder
    shard: Shard

    @property
    def chunk_count(self) -> int:
        return -(-self.images // self.options.chunk_size)

    @property
    def chunks(self) -> range:
        return self.shard.chunks(self.chunk_count)

    def count(self, chunks: Iterable[int]) -> int:
        """Count the images of some chunks."""
        return sum(self._size(chunk) for chunk in chunks)

    def _size(self, chunk: int) -> int:
        return len(chunk_range(chunk, self.options.chunk_size, self.images))

    def clear(self, *, verify: bool) -> None:
        """Remove what is half-written or damaged."""
        self.folder.clear_temporary(self.shard)
        damaged = self.folder.damaged_chunks(
            {chunk: self._size(chunk) for chunk in self.chunks},
            maps=self.options.maps,
            thorough=verify,
        )
        for chunk, error in list(damaged):
            log.warning("%s: chunk %d is done again", error, chunk)
            self.folder.discard(chunk)
        for chunk, error in self.folder.clear_damaged_pieces(self.shard, maps=self.options.maps):
            log.warning("%s: images of chunk %d are done again", error, chunk)

    def missing(self, *, retry_failed: bool) -> list[int]:
        """Return the chunks to do."""
        missing = set(self.folder.missing_chunks(self.chunk_count, self.shard))
        if retry_failed:
            there = [chunk for chunk in self.chunks if chunk not in missing]
            missing |= {chunk for chunk, found in self._counts(there).items() if found.failed}
        return sorted(missing)

    def pieces(self, missing: Sequence[int]) -> dict[int, list[range]]:
        """Return what earlier starts have kept of the chunks to do."""
        found = self.folder.pieces()
        return {chunk: found[chunk] for chunk in missing if chunk in found}

    def kept_note(self, lost: int) -> str:
        """Say how much of the shard is done, and that `lost` finished images are not kept."""
        missing = self.missing(retry_failed=False)
        kept = self.count(self.chunks) - self.count(missing) + kept_images(self.pieces(missing))
        again = f", {lost:,} more will be done again" if lost else ""
        return (
            f"{kept:,} of {self.count(self.chunks):,} images are finished and kept{again}; "
            "start the same command again to go on"
        )

    def summary(self, chunks_done: int) -> RunSummary:
        """Sum up this start's chunks, and in ``run.json`` all of them once they are there."""
        mine = self._counts(self.chunks)
        total = sum(mine.values(), PartCounts())
        whole = total if self.shard.count == 1 else self._whole()
        info = self.folder.update(
            lambda info: dataclasses.replace(info, counts=_as_counts(whole) if whole else {})
        )
        failed = [chunk for chunk, found in mine.items() if found.failed]
        return RunSummary(
            self.folder, info, chunks_done, _failures(self.folder, failed), _as_counts(total)
        )

    def _whole(self) -> PartCounts | None:
        """Add up all shards; None as long as a chunk is missing."""
        if self.folder.missing_chunks(self.chunk_count):
            return None
        return sum(self._counts(range(self.chunk_count)).values(), PartCounts())

    def _counts(self, chunks: Iterable[int]) -> dict[int, PartCounts]:
        found: dict[int, PartCounts] = {}
        for chunk, counts in self.folder.counts(chunks).items():
            if isinstance(counts, RunError):
                raise counts
            found[chunk] = counts
        return found


def _as_counts(counts: PartCounts) -> dict[str, int]:
    return {
        "images": counts.images,
        "ok": counts.images - counts.failed,
        "failed": counts.failed,
        "localizations": counts.localizations,
    }


def _failures(
    folder: RunFolder, chunks: Iterable[int], *, shown: int = 20
) -> tuple[tuple[str, str], ...]:
    """First failed images of some chunks, with their reasons."""
    failures: list[tuple[str, str]] = []
    for chunk in chunks:
        table = read_table([folder.part_path(chunk)], columns=["image_id", "status", "error"])
        failed = table.filter(pc.equal(table["status"], "failed")).to_pylist()
        failures += [(row["image_id"], row["error"]) for row in failed]
        if len(failures) >= shown:
            break
    return tuple(failures[:shown])


def describe_run(config: RunConfig, localizer: Localizer, dataset: Dataset) -> RunInfo:
    """Say what a run is, before it has done anything."""
    classifier, categories = localizer.classifier, dataset.categories
    return RunInfo(
        config=config.model_dump(mode="json"),
        dataset={
            "name": dataset.name,
            "count": len(dataset),
            "fingerprint": dataset_fingerprint(dataset),
        },
        categories={
            "names": list(categories.names),
            "ids": None if categories.ids is None else list(categories.ids),
            "members": categories.members,
        },
        model={
            "name": classifier.name,
            "fingerprint": classifier.fingerprint,
            "device": str(classifier.device),
        },
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"wsl-localize": _own_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # opencv may be there under another distribution's name
            found[package] = "unknown"
    return found


def _own_version() -> str:
    from wsl import __version__

    return __version__
