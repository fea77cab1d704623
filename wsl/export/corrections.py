"""Corrections from Label Studio or CVAT, back into a run and into annotations.

::

    OUT/run.json, OUT/predictions/       a run: the old one with the corrected images' objects
    OUT/annotations/instances_corrected.json
                                         the corrected images alone, as COCO instances

The run can be scored beside the old one and exported again. The annotations can be the truth that
both are scored against: ``wsl score RUN --set data.format=coco --set
data.annotations=OUT/annotations/instances_corrected.json``.

Of a corrected image the classes that had been exported (`classes`, as in the export) are replaced:
one that has no object any more keeps its row, without mask and box; other classes keep what the run
found. In the run, a class has one row: its mask is the union of its objects, its box
that of the largest of them. The row is marked as the image's label and has the rank, score and
quality of the class in the old run; a class that was not localized there ranks last with score 0.
An object with a box only keeps the old run's mask of its class inside of that box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np

from wsl.boxes import Box
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, DataError, RunError
from wsl.export.annotated import AnnotatedImage, AnnotatedObject
from wsl.export.base import ClassChoice, Run
from wsl.export.classes import class_names
from wsl.export.formats.cvat import read_cvat
from wsl.export.formats.label_studio import read_label_studio
from wsl.export.image_files import ImageFiles
from wsl.export.selection import scan
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import RunLengths, mask_iou
from wsl.run.folder import RunFolder
from wsl.run.rows import read_predictions, write_part
from wsl.storage import write_json

READERS: dict[str, Callable[[Path], Iterator[AnnotatedImage]]] = {
    ".json": read_label_studio,
    ".xml": read_cvat,
    ".zip": read_cvat,
}
"""By the ending of a file of corrections."""


@dataclass
class ImportSummary:
    """Counts of an import."""

    images: int = 0
    """Images of the run."""
    corrected: int = 0
    """Images that a person has reviewed."""
    objects: int = 0
    """Objects in them."""
    unchanged: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    """Classes in them whose mask and box are the old ones, are others, or are there only after or
    only before."""
    mean_iou: float | None = None
    """Mean IoU of the old mask with the new one, over the classes that are there before and
    after."""
    skipped: int = 0
    """Shapes of other kinds than boxes, polygons and masks."""

    def text(self) -> str:
        """Render the summary for a terminal."""
        lines = [
            f"{self.corrected:,} of {self.images:,} images were corrected; they have "
            f"{self.objects:,} objects",
            f"classes of an image: {self.unchanged:,} unchanged, {self.changed:,} changed, "
            f"{self.added:,} added, {self.removed:,} removed",
        ]
        if self.mean_iou is not None:
            lines.append(f"mean IoU of the masks before and after: {100 * self.mean_iou:.1f} %")
        if self.skipped:
            lines.append(f"shapes that are no box, polygon or mask, left out: {self.skipped:,}")
        return "\n".join(lines)


def import_corrections(
    run_folder: Path | str,
    corrections: Sequence[Path],
    out: Path | str,
    *,
    classes: str | None = None,
    dataset: Dataset | None = None,
) -> ImportSummary:
    """Read corrections of a run's export into a new run and into annotations.

    Parameters
    ----------
    run_folder : Path or str
        The run that was exported; it stays as it is.
    corrections : sequence of Path
        Label Studio's JSON exports, or CVAT's XML files or archives.
    out : Path or str
        New or empty; see this module for what it gets.
    classes : {'ground_truth', 'top1', 'all'}, optional
        As the export was made.
    dataset : Dataset, optional
        The run's dataset, by which images are found that the tool knows by their paths.

    Raises
    ------
    ConfigError
        If `classes` is something else.
    DataError
        If a file cannot be read, names an image that is not in the run, corrects one twice, or has
        a class that the classifier does not know.
    RunError
        If the run cannot be read, or `out` cannot be written.
    """
    run, target = Run(run_folder), RunFolder(out)
    if target.info_path.exists():
        raise RunError(f"{target.path} holds a run already: choose another folder")
    by_id = _by_image_id(run, corrections, dataset)
    classes = classes or ("ground_truth" if scan(run).has_ground_truth else "top1")
    if classes not in get_args(ClassChoice):
        raise ConfigError(f"classes must be ground_truth, top1 or all, but got {classes!r}")
    names = {name: label for label, name in enumerate(class_names(run.categories))}
    importer = _Importer(run, by_id, names, classes)
    target.make()
    for part in run.parts():
        corrected = map(importer.image, read_predictions(part))
        write_part(target.path / "predictions" / part.name, corrected)
    files = ImageFiles(dataset, "none")
    write_json(target.path / "annotations/instances_corrected.json", importer.coco(files))
    info = run.info
    named = {**info.model, "name": f"{info.model['name']}, corrected by hand"}
    target.write_info(replace(info, model=named, counts={}, timings={}))
    return importer.summary


def _by_image_id(
    run: Run, corrections: Sequence[Path], dataset: Dataset | None
) -> dict[str, AnnotatedImage]:
    """Corrected images by the run's ids."""
    names = scan(run).names
    files = ImageFiles(dataset, "none")
    known: dict[str, str] = {}
    for part in run.parts():
        for image in read_predictions(part):
            relative = files.relative_path(image.image_id)
            for name in (relative, names.stem(image.image_id), image.image_id):
                known[name] = image.image_id
    found: dict[str, AnnotatedImage] = {}
    for path in corrections:
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise DataError(
                f"{path} must be one of {', '.join(READERS)}: JSON of Label Studio, or XML of CVAT"
            )
        for corrected in reader(path):
            image_id = _image_id(corrected.name, known)
            if image_id is None:
                raise DataError(f"{path}: image {corrected.name!r} is not in the run {run.path}")
            if image_id in found:
                raise DataError(f"{path}: image {corrected.name!r} is corrected twice")
            found[image_id] = corrected
    return found


def _image_id(name: str, known: Mapping[str, str]) -> str | None:
    path = PurePosixPath(name)
    inside = str(path).removeprefix("images/")
    candidates = (name, inside, str(PurePosixPath(inside).with_suffix("")) if path.name else name)
    return next((known[one] for one in candidates if one in known), None)


@dataclass
class _Importer:
    """Replaces localizations of a run by corrections, and counts."""

    run: Run
    by_id: Mapping[str, AnnotatedImage]
    names: Mapping[str, int]
    classes: str
    summary: ImportSummary = field(default_factory=ImportSummary)
    ious: list[float] = field(default_factory=list)
    entries: list[tuple[Prediction, AnnotatedImage]] = field(default_factory=list)

    def image(self, before: Prediction) -> Prediction:
        """Return an image's prediction with its corrections."""
        self.summary.images += 1
        correction = self.by_id.get(before.image_id)
        if correction is None:
            return before
        if before.size is None or correction.size not in (None, before.size):
            raise DataError(
                f"image {before.image_id!r} must be of the size {before.size} (height, width) "
                f"that the run saw, but was corrected as {correction.size}"
            )
        self.entries.append((before, correction))
        self.summary.corrected += 1
        self.summary.objects += len(correction.objects)
        self.summary.skipped += correction.skipped
        old = {found.label: found for found in before.localizations}
        exported = {label: one for label, one in old.items() if self.was_exported(one)}
        by_label: dict[int, list[AnnotatedObject]] = {}
        for one in correction.objects:
            by_label.setdefault(self.label(one), []).append(one)
        last = max((found.rank for found in before.localizations), default=0)
        nothing = RunLengths.of(np.zeros(before.size, dtype=bool))
        after = [
            replace(found, box=None, mask=nothing) if label in exported else found
            for label, found in old.items()
            if label not in by_label
        ]
        for label, objects in by_label.items():
            corrected = self.localization(label, objects, old.get(label), before.size)
            if label not in old:
                last += 1
                corrected = replace(corrected, rank=last)
            after.append(corrected)
        self.count(exported, {found.label: found for found in after if found.label in by_label})
        found = tuple(sorted(after, key=lambda one: one.rank))
        return Prediction(before.image_id, before.size, found)

    def was_exported(self, found: Localization) -> bool:
        """Whether a localization was in the export."""
        if self.classes == "ground_truth":
            return found.is_ground_truth
        return self.classes == "all" or found.rank == 1

    def label(self, one: AnnotatedObject) -> int:
        """Label of an object's class."""
        label = self.names.get(one.category)
        label = self.run.categories.find(one.category) if label is None else label
        if label is None:
            raise DataError(f"the classifier of {self.run.path} has no class {one.category!r}")
        return label

    def localization(
        self,
        label: int,
        objects: Sequence[AnnotatedObject],
        old: Localization | None,
        size: tuple[int, int],
    ) -> Localization:
        """Join the objects of one class."""
        mask = np.zeros(size, dtype=bool)
        for one in objects:
            mask |= _inside(old, one.box, size) if one.mask is None else one.mask.decode()
        largest = max(objects, key=_area)
        base = old or Localization(label, self.run.categories.names[label], 1, 0.0, None, mask)
        return replace(
            base, box=largest.box, mask=RunLengths.of(mask), refined=True, is_ground_truth=True
        )

    def count(self, old: Mapping[int, Localization], new: Mapping[int, Localization]) -> None:
        """Count what was changed."""
        shown = {label for label, found in old.items() if found.box is not None}
        self.summary.added += len(set(new) - shown)
        self.summary.removed += len(shown - set(new))
        for label in shown & set(new):
            a, b = old[label], new[label]
            same_box = a.box is not None and np.allclose(a.box, b.box or np.nan, atol=1e-3)
            same = same_box and a.run_lengths == b.run_lengths
            self.summary.unchanged += int(same)
            self.summary.changed += int(not same)
            self.ious.append(mask_iou(a.mask, b.mask))
        self.summary.mean_iou = float(np.mean(self.ious)) if self.ious else None

    def coco(self, files: ImageFiles) -> dict[str, Any]:
        """Return the corrected images as COCO instances."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        labels: set[int] = set()
        for number, (image, correction) in enumerate(self.entries, 1):
            height, width = image.size or (0, 0)
            images.append(
                {
                    "id": number,
                    "width": width,
                    "height": height,
                    "file_name": files.relative_path(image.image_id),
                    "image_id": image.image_id,
                }
            )
            for one in correction.objects:
                label = self.label(one)
                labels.add(label)
                x0, y0, x1, y1 = one.box
                runs = one.mask
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0) if runs is None else runs.area,
                        "iscrowd": 0,
                        "segmentation": []
                        if runs is None
                        else {"size": [height, width], "counts": runs.counts},
                    }
                )
        names = class_names(self.run.categories)
        categories = [{"id": label + 1, "name": names[label]} for label in sorted(labels)]
        return {"images": images, "annotations": annotations, "categories": categories}


def _area(one: AnnotatedObject) -> float:
    x0, y0, x1, y1 = one.box
    return (x1 - x0) * (y1 - y0) if one.mask is None else float(one.mask.area)


def _inside(old: Localization | None, box: Box, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Mask of the old run inside of a box."""
    inside = np.zeros(size, dtype=bool)
    x0, y0, x1, y1 = (round(value) for value in box)
    inside[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return inside & old.mask if old is not None else np.zeros(size, dtype=bool)
