"""A run to another tool's format: scan it, write chunk by chunk, put together, sum up."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from wsl.data.sample import Dataset
from wsl.errors import ConfigError, ImageError, RunError, choices_hint
from wsl.export.classes import ClassList
from wsl.export.exporter import Context, Exporter, csv_line
from wsl.export.formats.coco import CocoOptions
from wsl.export.formats.cvat import CvatOptions
from wsl.export.formats.ilsvrc import IlsvrcOptions
from wsl.export.formats.image_folder import ImageFolderOptions
from wsl.export.formats.label_studio import LabelStudioOptions
from wsl.export.formats.masks import MasksOptions
from wsl.export.formats.pseudo_labels import SegmentationOptions
from wsl.export.formats.saliency_maps import SaliencyMapsOptions
from wsl.export.formats.tables import CsvOptions, ParquetOptions
from wsl.export.formats.voc import VocOptions
from wsl.export.formats.yolo import YoloOptions
from wsl.export.image_files import ImageFiles
from wsl.export.options import ClassChoice, ExportOptions
from wsl.export.reading import Run, open_run
from wsl.export.selection import Scan, make_selection, scan
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Prediction
from wsl.progress import NoProgress, Progress
from wsl.run.maps import Maps, open_maps
from wsl.run.rows import read_predictions
from wsl.storage import RemotePath, as_path

__all__ = [
    "FORMATS",
    "AnyExportOptions",
    "ExportSummary",
    "export_run",
    "format_lines",
    "options_type",
]

AnyExportOptions = Annotated[
    CocoOptions
    | VocOptions
    | YoloOptions
    | SegmentationOptions
    | MasksOptions
    | ImageFolderOptions
    | IlsvrcOptions
    | LabelStudioOptions
    | CvatOptions
    | CsvOptions
    | ParquetOptions
    | SaliencyMapsOptions,
    Field(discriminator="format"),
]
"""The options of any format; a new format is one more line here."""

FORMATS: dict[str, type[ExportOptions]] = {
    get_args(member.model_fields["format"].annotation)[0]: member
    for member in get_args(get_args(AnyExportOptions)[0])
}
"""Options classes by the format's name."""


def options_type(name: str) -> type[ExportOptions]:
    """Options class of a format.

    Raises
    ------
    ConfigError
        If there is no such format; the nearest is offered.
    """
    if name not in FORMATS:
        raise ConfigError(f"there is no format {name!r}. {choices_hint(name, FORMATS)}")
    return FORMATS[name]


def format_lines() -> list[tuple[str, str, str]]:
    """Name, label and summary of each format."""
    return [(name, each.label, each.summary) for name, each in FORMATS.items()]


_LEFT_OUT = "left out: "


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to; also in its ``export.json``.

    Attributes
    ----------
    format : str
    dataset : str
        Name of the run's dataset.
    classes : {'ground_truth', 'top1', 'all'}
        Which classes of an image were meant.
    images : int
        Of the run.
    images_exported : int
    images_without_mask : int
        Listed in ``without_mask.csv`` with the reason, whether they went in or not.
    images_failed : int
        Of those without a mask, the ones that the run could not process.
    masks : int
        Localizations that were written.
    left_out : dict of str to int
        Localizations that were not, by reason.
    notes : tuple of str
        What else a person should know.
    files : tuple of str
        The files that all images share; paths in the export.
    """

    format: str
    dataset: str
    classes: ClassChoice
    images: int
    images_exported: int
    images_without_mask: int
    images_failed: int
    masks: int
    left_out: dict[str, int]
    notes: tuple[str, ...]
    files: tuple[str, ...]

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
    options: ExportOptions,
    *,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write the masks and boxes of a run in the format of another tool.

    The run is read only, one part file at a time. An export that was interrupted goes on where it
    stopped when the same call is made again, and gives the same files; one that is whole is left as
    it is.

    Parameters
    ----------
    run_folder : Path or str
        Local or in a store.
    out : Path or str
        Local; new, empty, or of the same export.
    options : ExportOptions
        Of the format, such as ``CocoOptions()``; the module of each format describes its files.
    dataset : Dataset, optional
        The run's dataset, which knows the image files. Formats that hold no image do without it;
        paths in them are image ids then.
    progress : Progress, optional
        Told of every image.

    Returns
    -------
    ExportSummary

    Raises
    ------
    ConfigError
        If the format cannot be written with these options from this run.
    RunError
        If the run's folder cannot be read, is not complete, or the export cannot be written.
    RunMismatchError
        If `out` holds another export.
    """
    run = open_run(run_folder)
    folder = as_path(out)
    _check_folder(folder, run.folder)
    state = {
        "format": options.format,
        "options": options.model_dump(mode="json", exclude={"format"}),
        "run": run.identity,
        "images": None if dataset is None else str(dataset.root),
    }
    staging = Staging(folder, state)
    if (whole := staging.manifest) is not None:
        staging.clear()
        return _summary_from(whole["summary"], staging)
    scanned = scan(run)
    if scanned.images != run.expected and not options.allow_partial:
        raise RunError(
            f"{run.folder} has {scanned.images} of {run.expected} images: finish the run, or set "
            "allow_partial"
        )
    export = _Export(run, options, scanned, dataset)
    try:
        return export.write(staging, progress or NoProgress())
    except OSError as error:
        raise RunError(f"cannot write the export folder {out}: {error}") from error


class _Export:
    """One export, with all its parts."""

    def __init__(
        self, run: Run, options: ExportOptions, scanned: Scan, dataset: Dataset | None
    ) -> None:
        self.run = run
        self.options = options
        self.images = scanned.images
        files = ImageFiles(dataset, getattr(options, "images", "none"))
        self.selection = make_selection(run, options, scanned)
        classes = ClassList(run.categories, self.selection.labels or ())
        self.exporter: Exporter[Any] = options.exporter(Context(run, scanned, files, classes))
        self.takes_empty = bool(getattr(options, "empty_images", False))

    def write(self, staging: Staging, progress: Progress) -> ExportSummary:
        """Write everything that is not written yet."""
        staging.begin()
        before: Counter[str] = Counter()
        finished = {part: staging.counts(part.stem) for part in self.run.parts}
        progress.start(
            self.images, sum(counts["images"] for counts in finished.values() if counts is not None)
        )
        for part, counts in finished.items():
            if counts is None:
                counts = self._part(part, staging, before, progress)
            before.update(counts)
        return self._finish(staging, before)

    def _part(
        self, part: Path, staging: Staging, before: Counter[str], progress: Progress
    ) -> Counter[str]:
        reasons = self.selection.reasons(part)
        maps_path = part.parent.parent / "maps" / f"{part.stem}.npz"
        with staging.chunk(part.stem, before) as chunk, open_maps(maps_path) as maps:
            for image in read_predictions(part):
                self._image(image, reasons, chunk, maps)
                progress.advance(1, int(image.error is not None))
        return chunk.counts

    def _image(
        self,
        image: Prediction,
        reasons: Mapping[tuple[str, int], str],
        chunk: Chunk,
        maps: Maps,
    ) -> None:
        """Write one image and count what went in and what was left out."""
        meant = [found for found in image.localizations if (image.image_id, found.label) in reasons]
        why = [reasons[image.image_id, found.label] for found in meant]
        taken = tuple(found for found, reason in zip(meant, why, strict=True) if not reason)
        left_out = Counter(reason for reason in why if reason)
        chunk.counts["images"] += 1
        chunk.counts["failed"] += int(image.error is not None)
        chunk.counts.update({_LEFT_OUT + reason: count for reason, count in left_out.items()})
        reason: str | None = None if taken else _why_empty(image, left_out)
        if taken or self.exporter.takes_every_image or (self.takes_empty and image.size):
            try:
                chunk.counts["masks"] += self.exporter.image(image, taken, chunk, maps)
                chunk.counts["exported"] += 1
                self._note_name(image.image_id, chunk)
            except ImageError as error:
                chunk.counts[_LEFT_OUT + "image file cannot be used"] += len(taken)
                reason = str(error)
        if reason is not None:
            chunk.counts["without mask"] += 1
            chunk.line("without_mask", csv_line((image.image_id, reason)))

    def _note_name(self, image_id: str, chunk: Chunk) -> None:
        stem = self.exporter.context.stem(image_id)
        if self.exporter.names_files and stem != image_id:
            chunk.line("names", csv_line((image_id, stem)))

    def _finish(self, staging: Staging, counts: Counter[str]) -> ExportSummary:
        files = self.exporter.finish(staging, counts)
        staging.text_file("without_mask.csv", "without_mask", head=["image_id,reason"])
        files.append("without_mask.csv")
        if any(staging.fragments("names")):
            staging.text_file("names.csv", "names", head=["image_id,name"])
            files.append("names.csv")
        notes = self.exporter.notes(counts)
        if counts["images"] != self.run.expected:
            notes.append(f"the run is not complete: {counts['images']:,} of {self.run.expected:,}")
        summary = ExportSummary(
            format=self.options.format,
            dataset=self.run.dataset,
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
