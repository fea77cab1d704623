"""A run from its configuration: open everything, check the folder, do what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.sample import Dataset
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions
from wsl.models import Classifier, load_classifier
from wsl.run.engine import LocalEngine
from wsl.run.folder import RunFolder, RunInfo
from wsl.run.progress import NoProgress, Progress

if TYPE_CHECKING:
    from wsl.config import RunConfig

__all__ = ["RunSummary", "build_localizer", "describe_run", "run_dataset"]

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
    """

    folder: RunFolder
    info: RunInfo
    chunks_done: int
    failures: tuple[tuple[str, str], ...]

    @property
    def failed(self) -> int:
        """Number of images that could not be processed."""
        return self.info.counts["failed"]


def build_localizer(config: RunConfig, classifier: Classifier | None = None) -> Localizer:
    """Make the localizer that a configuration describes.

    Parameters
    ----------
    config : RunConfig
    classifier : Classifier, optional
        Used in place of the one that ``config.model`` names.
    """
    classifier = classifier or load_classifier(config.model)
    shared = {name: getattr(config, name) for name in LocalizerOptions.model_fields}
    return Localizer(classifier, LocalizerOptions(**shared))


def run_dataset(
    config: RunConfig,
    out: Path | str,
    *,
    classifier: Classifier | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Localize the objects of a whole dataset, on disk.

    Chunks whose part file is there already are left alone, so that the same call continues a run
    that was interrupted, however it was.

    Parameters
    ----------
    config : RunConfig
    out : Path or str
        The run's folder: new, empty, or of the same run.
    classifier : Classifier, optional
        Any classifier, in place of the one that ``config.model`` names.
    progress : Progress, optional

    Returns
    -------
    RunSummary

    Raises
    ------
    RunMismatchError
        If the folder holds another run.
    RunError, DataError, ModelError, ConfigError
        If the folder, the dataset, the classifier or a class cannot be used at all. One image
        that cannot be used is a row with ``status = "failed"``.
    """
    localizer = build_localizer(config, classifier)
    dataset = open_dataset(config.data, localizer.classifier.categories)
    folder = RunFolder(out)
    info = folder.begin(describe_run(config, localizer, dataset))
    chunk_count = -(-len(dataset) // config.run.chunk_size)
    missing = folder.missing_chunks(chunk_count)
    progress = progress or NoProgress()
    engine = LocalEngine(
        localizer,
        dataset,
        folder,
        classes=config.classes,
        options=config.run,
        max_pixels=config.data.max_pixels,
        progress=progress,
    )
    progress.start(len(dataset), len(dataset) - engine.image_count(missing))
    try:
        engine.run(missing)
    finally:
        spent = engine.timings.to_dict()
        info = dataclasses.replace(
            info, timings={name: info.timings.get(name, 0.0) + spent[name] for name in spent}
        )
        folder.write_info(info)
    counts, failures = _count(folder)
    info = dataclasses.replace(info, counts=counts)
    folder.write_info(info)
    return RunSummary(folder, info, len(missing), failures)


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


def _count(folder: RunFolder) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Count images and localizations, a part file at a time; the first failures with reasons."""
    counts = {"images": 0, "ok": 0, "failed": 0, "localizations": 0}
    failures: list[tuple[str, str]] = []
    for table in folder.iter_parts(columns=["image_id", "status", "error", "label"]):
        failed = table.filter(pc.equal(table["status"], "failed"))
        images = pc.count_distinct(table["image_id"]).as_py()
        counts["images"] += images
        counts["failed"] += len(failed)
        counts["ok"] += images - len(failed)
        counts["localizations"] += len(table) - table["label"].null_count
        failures += _pairs(failed)[: 20 - len(failures)]
    return counts, tuple(failures)


def _pairs(failed: object) -> Sequence[tuple[str, str]]:
    rows = failed.select(["image_id", "error"]).to_pylist()  # type: ignore[attr-defined]
    return [(row["image_id"], row["error"]) for row in rows]
