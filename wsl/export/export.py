"""Export of a run: scan, write chunk by chunk, assemble, summarize."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from wsl.data.sample import Dataset
from wsl.errors import ConfigError, ImageError, RunError
from wsl.export.base import ClassChoice, Context, ExportFormat, Run, csv_line
from wsl.export.classes import ClassList
from wsl.export.image_files import ImageFiles
from wsl.export.instances import InstanceFormat, split_instances
from wsl.export.selection import Selection, make_selection, scan
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction
from wsl.progress import NoProgress, Progress
from wsl.run.maps import open_maps
from wsl.run.rows import read_predictions
from wsl.storage import RemotePath, as_path, open_file

_LEFT_OUT = "left out: "


@dataclass(frozen=True)
class ExportSummary:
    """Summary of an export; also stored in its ``export.json``."""

    format: str
    dataset: str
    """Name of the run's dataset."""
    classes: ClassChoice
    """Which classes of an image were selected."""
    images: int
    """Images of the run."""
    images_exported: int
    images_without_mask: int
    """Listed in ``without_mask.csv`` with the reason, whether they were written or not."""
    images_failed: int
    """Images without a mask because the run could not process them."""
    masks: int
    """Number of localizations written."""
    left_out: dict[str, int]
    """Number of localizations not written, by reason."""
    notes: tuple[str, ...]
    """Remarks for the user."""
    files: tuple[str, ...]
    """Paths of the files that all images share, relative to the export."""

    def text(self) -> str:
        """Render the summary for a terminal: one line per fact."""
        lines = [
            f"{self.format}: {self.masks:,} localizations ({self.classes}) of "
            f"{self.images_exported:,} of {self.images:,} images",
            f"images without a mask: {self.images_without_mask:,} (failed: {self.images_failed:,})",
        ]
        lines += [f"left out, {reason}: {count:,}" for reason, count in self.left_out.items()]
        return "\n".join([*lines, *self.notes, f"files: {', '.join(self.files)}"])


def export_run(
    run_folder: Path | str,
    out: Path | str,
    format: ExportFormat,  # noqa: A002 - the word that users know it by
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write the masks and boxes of a run in the format of another tool.

    The run is not changed. An interrupted export continues when the same call is made again, with
    the same files as a result; a complete one is left as it is.

    Parameters
    ----------
    run_folder : Path or str
        Local or in a store.
    out : Path or str
        Local; new, empty, or of the same export.
    format : ExportFormat
        With its options, such as ``CocoFormat(split="val")``; its module describes its files.
    dataset : Dataset, optional
        The run's dataset, which knows the image files. Formats that hold no image do without it;
        paths in them are image ids then.
    progress : Progress, optional
        Informed of every image.

    Raises
    ------
    ConfigError
        If the format cannot be written with its options from this run.
    RunError
        If the run's folder cannot be read, is not complete, or the export cannot be written.
    RunMismatchError
        If `out` holds another export.
    """
    run = Run(run_folder)
    parts = run.parts()
    if not parts:
        raise RunError(f"{run.path} holds no predictions yet")
    folder = as_path(out)
    _check_folder(folder, run.path)
    state = {
        "format": format.format,
        "options": format.model_dump(mode="json", exclude={"format"}),
        "run": _digest(parts),
        "images": None if dataset is None else str(dataset.root),
    }
    staging = Staging(folder, state)
    if (whole := staging.manifest) is not None:
        staging.clear()
        return _summary_from(whole["summary"], staging)
    scanned = scan(run)
    if scanned.images != run.expected_images and not format.allow_partial:
        raise RunError(
            f"{run.path} has {scanned.images} of {run.expected_images} images: finish the run, or "
            "set allow_partial"
        )
    files = ImageFiles(dataset, getattr(format, "images", "none"))
    selection = make_selection(run, format, scanned)
    classes = ClassList(run.categories, selection.labels or ())
    export = _Export(format, Context(run, scanned, files, classes), selection)
    format.check(export.context)
    try:
        with staging.begin():
            return export.write(staging, progress or NoProgress())
    except OSError as error:
        raise RunError(f"cannot write the export folder {out}: {error}") from error


@dataclass(frozen=True)
class _Export:
    """An export in progress."""

    format: ExportFormat
    context: Context
    selection: Selection

    def write(self, staging: Staging, progress: Progress) -> ExportSummary:
        """Write everything that is not written yet."""
        before: Counter[str] = Counter()
        finished = {part: staging.counts(part.stem) for part in self.context.run.parts()}
        done = sum(counts["images"] for counts in finished.values() if counts is not None)
        progress.start(self.context.scan.images, done)
        for part, counts in finished.items():
            before.update(self._part(part, staging, before, progress) if counts is None else counts)
        return self._finish(staging, before)

    def _part(
        self, part: Path, staging: Staging, before: Counter[str], progress: Progress
    ) -> Counter[str]:
        reasons = self.selection.reasons(part)
        maps_path = part.parent.parent / "maps" / f"{part.stem}.npz"
        with open_maps(maps_path) as maps, staging.chunk(part.stem, before, maps) as chunk:
            for image in read_predictions(part):
                self._image(image, reasons, chunk)
                progress.advance(1, int(image.error is not None))
        return chunk.counts

    def _image(
        self, image: Prediction, reasons: Mapping[tuple[str, int], str], chunk: Chunk
    ) -> None:
        """Write one image and count what went in and what was left out."""
        by_label = {
            found.label: reasons.get((image.image_id, found.label)) for found in image.localizations
        }
        taken = tuple(found for found in image.localizations if by_label[found.label] == "")
        left_out = Counter(reason for reason in by_label.values() if reason)
        chunk.counts["images"] += 1
        chunk.counts["failed"] += int(image.error is not None)
        chunk.counts.update({_LEFT_OUT + reason: count for reason, count in left_out.items()})
        reason = None if taken else _why_empty(image, left_out)
        empty = getattr(self.format, "empty_images", False) and image.size is not None
        if taken or self.format.takes_every_image or empty:
            try:
                selected = replace(image, localizations=taken)
                if isinstance(self.format, InstanceFormat) and self.format.instances:
                    selected, small = split_instances(selected, min_area=self.format.min_instance)
                    chunk.counts["small components"] += small
                chunk.counts["masks"] += self.format.write_image(selected, chunk, self.context)
                chunk.counts["exported"] += 1
                self._note_name(image.image_id, chunk)
            except ImageError as error:
                chunk.counts[_LEFT_OUT + "image file cannot be used"] += len(taken)
                reason = str(error)
        if reason is not None:
            chunk.counts["without mask"] += 1
            chunk.line("without_mask", csv_line((image.image_id, reason)))

    def _note_name(self, image_id: str, chunk: Chunk) -> None:
        stem = self.context.stem(image_id)
        if self.format.names_files and stem != image_id:
            chunk.line("names", csv_line((image_id, stem)))

    def _finish(self, staging: Staging, counts: Counter[str]) -> ExportSummary:
        run = self.context.run
        files = self.format.write_shared(staging, counts, self.context)
        staging.text_file("without_mask.csv", "without_mask", head=["image_id,reason"])
        files.append("without_mask.csv")
        if any(staging.fragments("names")):
            staging.text_file("names.csv", "names", head=["image_id,name"])
            files.append("names.csv")
        notes = self.format.notes(counts, self.context)
        if counts["images"] != run.expected_images:
            notes.append(
                f"the run is not complete: {counts['images']:,} of {run.expected_images:,}"
            )
        summary = ExportSummary(
            format=self.format.format,
            dataset=run.dataset_name,
            classes=self.selection.classes,
            images=counts["images"],
            images_exported=counts["exported"],
            images_without_mask=counts["without mask"],
            images_failed=counts["failed"],
            masks=counts["masks"],
            left_out={
                key.removeprefix(_LEFT_OUT): count
                for key, count in sorted(counts.items())
                if key.startswith(_LEFT_OUT) and count
            },
            notes=tuple(notes),
            files=tuple(files),
        )
        from wsl import __version__

        staging.finish({"schema": 1, "wsl": __version__, "summary": asdict(summary)})
        return summary


def _digest(parts: Sequence[Path]) -> str:
    """Digest of the part files' contents, which tells one run from another."""
    digest = sha256()
    for part in parts:
        digest.update(part.name.encode())
        try:
            with open_file(part) as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise RunError(f"{part} cannot be read: {error}") from error
    return digest.hexdigest()


def _why_empty(image: Prediction, left_out: Counter[str]) -> str:
    if image.error is not None:
        return f"failed: {image.error}"
    return ", ".join(sorted(left_out)) or "no localization of the chosen classes"


def _check_folder(out: Path, run_folder: Path) -> None:
    """Make sure that an export can be written and does not mix with the run's own files."""
    if isinstance(out, RemotePath):
        raise ConfigError(f"an export's folder must be local, but is {out}: copy it there later")
    out, run_folder = out.resolve(), run_folder.resolve()
    inside = {run_folder / "predictions", run_folder / "maps"} & {out, *out.parents}
    if out == run_folder or inside:
        raise ConfigError(
            f"{out} holds the run itself: choose another folder, such as {run_folder / 'export'}/…"
        )


def _summary_from(content: dict[str, Any], staging: Staging) -> ExportSummary:
    with contextlib.suppress(TypeError, KeyError):
        return ExportSummary(
            **{**content, "notes": tuple(content["notes"]), "files": tuple(content["files"])}
        )
    raise RunError(f"{staging.out}: export.json is not of this version: {json.dumps(content)[:80]}")
