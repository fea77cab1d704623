"""A run from its configuration: open everything, check the folder, do the missing chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wsl
from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, RunError, WslError
from wsl.localize.localizer import Localizer
from wsl.models.average import AnyClassifier, group_members, load_members, members_of
from wsl.models.groups import read_groups
from wsl.models.sources import load_classifier
from wsl.progress import NoProgress, Progress
from wsl.run.config import RunConfig
from wsl.run.engines.local import LocalEngine
from wsl.run.folder import RunFolder, kept_images
from wsl.run.info import RunInfo
from wsl.run.options import RayOptions
from wsl.run.rows import PartCounts, read_predictions
from wsl.run.shard import Shard
from wsl.run.stages import Stages
from wsl.run.status import RunStatus, read_status

if TYPE_CHECKING:
    from wsl.run.engines.ray import RayEngine

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "opencv-python", "numpy", "pillow", "scikit-image", "pandas")
_FAILURES_SHOWN = 20


@dataclass(frozen=True)
class RunSummary:
    """Result of a run.

    Attributes
    ----------
    folder : RunFolder
    info : RunInfo
        As in ``run.json``.
    chunks_done : int
        Number of chunks that this start did; the others were done before.
    failures : tuple of (str, str)
        Image id and reason of the first failed images, at most 20.
    counts : dict
        ``images``, ``ok``, ``failed``, ``localizations`` of this start's chunks: of the whole run,
        or of a shard. Those of `info` are empty as long as chunks of other shards are missing.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from wsl import load_config
    >>> from wsl.demo.draw import write_dataset
    >>> with TemporaryDirectory() as folder:
    ...     write_dataset(Path(folder, "data"), count=1, seed=0)
    ...     config = load_config("demo", {"data.root": f"{folder}/data"})
    ...     summary = run_dataset(config, Path(folder, "run"))
    >>> summary.chunks_done, summary.failed
    (1, 0)
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


def configured_classifier(config: RunConfig) -> AnyClassifier:
    """Load the classifier, or the average, that a configuration names."""
    if config.models:
        return load_members(config.models, device=config.model.device)
    return load_classifier(config.model)


def build_localizer(config: RunConfig, classifier: AnyClassifier | None = None) -> Localizer:
    """Make the localizer that a configuration describes.

    Parameters
    ----------
    config : RunConfig
    classifier : Classifier or ClassifierAverage, optional
        Used in place of what the configuration names.
    """
    classifier = classifier or configured_classifier(config)
    if config.classes.groups is not None:
        classifier = group_members(classifier, read_groups(config.classes.groups))
    return Localizer(classifier, config)


def run_dataset(
    config: RunConfig,
    out: Path | str,
    *,
    classifier: AnyClassifier | None = None,
    progress: Progress | None = None,
    shard: Shard | None = None,
    retry_failed: bool = False,
    verify: bool = False,
    ray: RayOptions | None = None,
) -> RunSummary:
    """Localize the objects of a whole dataset, on disk.

    What earlier starts have finished is left alone, so that the same call continues a run however
    it ended. A damaged file is made again, and the log says so.

    Parameters
    ----------
    config : RunConfig
    out : Path or str
        The run's folder: new, empty, or of the same run.
    classifier : Classifier or ClassifierAverage, optional
        Any classifier, in place of what the configuration names.
    progress : Progress, optional
    shard : Shard, optional
        Do only this process's share of the chunks.
    retry_failed : bool
        Do chunks with failed images again, such as after a drive was unavailable.
    verify : bool
        Read the maps of finished chunks against their checksums, too, and not only their list.
    ray : RayOptions, optional
        Work on a Ray cluster (`wsl.run.engines.ray`) instead of this machine.

    Returns
    -------
    RunSummary

    Raises
    ------
    RunMismatchError
        If the folder holds another run.
    RunError, DataError, ModelError, ConfigError
        If the folder (which another process may have locked), the dataset, the classifier or a
        class cannot be used. An image that cannot be used is a row with ``status = "failed"``.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from wsl import load_config
    >>> from wsl.demo.draw import write_dataset
    >>> with TemporaryDirectory() as folder:
    ...     write_dataset(Path(folder, "data"), count=2, seed=0)
    ...     config = load_config("demo", {"data.root": f"{folder}/data"})
    ...     run_dataset(config, Path(folder, "run")).counts["ok"]
    2
    """
    shard, progress = shard or Shard(), progress or NoProgress()
    if ray is not None and shard.count > 1:
        raise ConfigError("a Ray cluster shares out the chunks itself: give no shard")
    folder = RunFolder(out)
    folder.check()  # before anything that takes long
    localizer = build_localizer(config, classifier)
    dataset = open_dataset(config.data, localizer.classifier.categories)
    stages = Stages(
        localizer, classes=config.classes, options=config.run, max_pixels=config.data.max_pixels
    )
    sizes = shard.chunk_sizes(len(dataset), config.run.chunk_size)
    folder.make()
    with folder.lock(shard):
        folder.begin(describe_run(config, localizer, dataset))
        for damage in folder.clear(sizes, maps=config.run.maps, thorough=verify):
            log.warning("%s: its images are done again", damage)
        before = RunStatus.of(folder, sizes)
        missing = sorted({*before.missing, *(before.failed if retry_failed else ())})
        kept = before.kept if ray is None else {}
        engine = _engine(stages, dataset, folder, progress, kept, ray)
        left = sum(sizes[chunk] for chunk in missing) - kept_images(kept)
        progress.start(before.images, before.images - left)
        try:
            engine.run(missing)
        except BaseException as error:
            with suppress(WslError):  # report what ended the run, not what followed
                folder.add_timings(engine.timings.to_dict())
                error.add_note(_note(RunStatus.of(folder, sizes), engine.lost))
            raise
        folder.add_timings(engine.timings.to_dict())
        return _summary(folder, shard, RunStatus.of(folder, sizes), len(missing))


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


def _note(status: RunStatus, lost: int) -> str:
    """Say how much of a run is kept, and that `lost` finished images are not."""
    again = f", {lost:,} more will be done again" if lost else ""
    return (
        f"{status.finished:,} of {status.images:,} images are finished and kept{again}; "
        "start the same command again to go on"
    )


def _summary(folder: RunFolder, shard: Shard, status: RunStatus, chunks_done: int) -> RunSummary:
    """Sum up a shard's chunks, and in ``run.json`` those of all shards once they are done."""
    whole = status if shard.count == 1 else read_status(folder.path)
    if status.damaged:
        raise RunError(f"{folder.part_path(status.damaged[0])} was damaged during the run")
    counts = _as_counts(whole.done) if whole.complete else {}
    info = folder.update(lambda info: replace(info, counts=counts))
    failures = (
        (image.image_id, image.error or "")
        for chunk in status.failed
        for image in read_predictions(folder.part_path(chunk))
        if image.status == "failed"
    )
    first = tuple(islice(failures, _FAILURES_SHOWN))
    return RunSummary(folder, info, chunks_done, first, _as_counts(status.done))


def _as_counts(counts: PartCounts) -> dict[str, int]:
    return {
        "images": counts.images,
        "ok": counts.images - counts.failed,
        "failed": counts.failed,
        "localizations": counts.localizations,
    }


def describe_run(config: RunConfig, localizer: Localizer, dataset: Dataset) -> RunInfo:
    """Describe a run that is about to begin."""
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
        model=_describe_model(classifier),
        versions=_versions(),
    )


def _describe_model(classifier: AnyClassifier) -> dict[str, Any]:
    described = {
        "name": classifier.name,
        "fingerprint": classifier.fingerprint,
        "device": str(classifier.device),
    }
    members = members_of(classifier)
    more = {"members": list(map(_describe_model, members))} if len(members) > 1 else {}
    return described | more


def _versions() -> dict[str, str]:
    found = {"wsl-localize": wsl.__version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # opencv may be installed under another distribution's name
            found[package] = "unknown"
    return found
