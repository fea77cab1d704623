"""The submission file of the ILSVRC classification and localization challenge.

::

    OUT/submission.txt

One line per image, in the order of the list of images, with at most five groups
``label xmin ymin xmax ymax``, the most probable class first. Labels are the challenge's ids 1 to
1000, whose order is not that of the sorted WNIDs: a file of the user's gives the id of each WNID
(`ilsvrc_map`; the development kit has it in ``meta.mat``). Boxes are 0-based with inclusive corners
as in the challenge's annotations.

A prediction without a box keeps its label, for the classification error, with the box
``-1 -1 -1 -1``, which overlaps no object. An image without a prediction (it failed, or its
predictions were left out) has the line ``0 -1 -1 -1 -1``, since readers skip empty lines: no class
is 0.

Only the classifier's own top predictions count: a row that exists because its class was given is
left out.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import PrivateAttr

from wsl.boxes import to_inclusive
from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.export.base import Context, ExportFormat, Needs, number_text
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.storage import read_text

PREDICTIONS = 5
NO_BOX = "-1 -1 -1 -1"


def read_ilsvrc_ids(path: Path, categories: Categories) -> tuple[int, ...]:
    """ILSVRC id of each category.

    Parameters
    ----------
    path : Path
        A text file: on each line a WNID and its id, in either order, separated by spaces, tabs or
        a comma; what follows them is not read.
    categories : Categories
        With WNIDs.

    Raises
    ------
    ConfigError
        If the file cannot be read, a line is of another form, an id is not in 1 to 1000 or is
        repeated, or a category is missing.
    """
    if categories.ids is None:
        raise ConfigError("an ILSVRC submission needs categories with WNIDs, but these have none")
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the ILSVRC ids in {path}: {error}") from error
    known: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        wnid, value = sorted(words[:2], key=str.isdecimal) if len(words) > 1 else (line, "")
        if wnid.isdecimal() or not value.isdecimal() or not 1 <= int(value) <= 1000:
            raise ConfigError(
                f"{path}, line {number}: expected a WNID and an id in 1 to 1000, found {line!r}"
            )
        if wnid in known or int(value) in known.values():
            raise ConfigError(f"{path}, line {number}: {wnid} or {value} is repeated")
        known[wnid] = int(value)
    missing = [wnid for wnid in categories.ids if wnid not in known]
    if missing:
        raise ConfigError(
            f"{path} must give the id of each class, but lacks {len(missing)}, such as {missing[0]}"
        )
    return tuple(known[wnid] for wnid in categories.ids)


class IlsvrcFormat(ExportFormat):
    """The challenge's submission file."""

    label = "ILSVRC"
    summary = "the submission file that the challenge's development kit scores"
    takes_every_image = True
    names_files = False

    format: Literal["ilsvrc"] = "ilsvrc"

    classes: Literal["top1", "all"] = "all"
    """The classifier's top-1 prediction of each image, or its top five."""

    ilsvrc_map: Path
    """Text file with one WNID and its ILSVRC id (1 to 1000) per line, in either order."""

    _ids: tuple[int, ...] = PrivateAttr(())

    @property
    def needs(self) -> Needs:
        """Return class: every prediction counts, with a box or without."""
        return "class"

    def check(self, context: Context) -> None:
        """Refuse an unfinished run, and ids that do not fit the classifier's categories."""
        images, expected = context.scan.images, context.run.expected_images
        if images != expected:
            raise ConfigError(
                f"a submission must have all {expected} images, but the run has {images}"
            )
        self._ids = read_ilsvrc_ids(self.ilsvrc_map, context.run.categories)

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's line; see `ExportFormat.write_image`."""
        predictions = [found for found in image.localizations if found.in_top_k]
        chunk.counts["left out: not among the classifier's top predictions"] += len(
            image.localizations
        ) - len(predictions)
        chunk.counts["left out: more than five predictions"] += len(predictions[PREDICTIONS:])
        predictions = predictions[:PREDICTIONS]
        groups = [f"{self._ids[found.label]} {_box_text(found)}" for found in predictions]
        chunk.counts["no prediction"] += int(not groups)
        chunk.line("submission", " ".join(groups) or f"0 {NO_BOX}")
        return len(predictions)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the file."""
        staging.text_file("submission.txt", "submission")
        return ["submission.txt"]

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Return the number of lines that are placeholders."""
        lines = counts["no prediction"]
        return [f"{lines:,} images have no prediction: their line is 0 {NO_BOX}"] if lines else []


def _box_text(found: Localization) -> str:
    box = found.box
    return NO_BOX if box is None else " ".join(number_text(value) for value in to_inclusive(box))
