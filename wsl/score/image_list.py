"""Which images of a dataset are scored: counts, and why some are excluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from wsl.data.sample import Dataset
from wsl.errors import ScoreError
from wsl.score.result import Scores

Size = tuple[int, int]
AnyScores = TypeVar("AnyScores", bound=Scores)


@dataclass
class ImageList:
    """Counts of a dataset's images while they are scored."""

    listed: int
    scored: int = 0
    failed: int = 0
    """Failed images are among the scored ones, as wrong."""
    dataset: str = ""
    """Name of the dataset."""
    excluded: dict[str, str] = field(default_factory=dict)
    """Images that cannot be scored, and why."""

    @classmethod
    def of(cls, dataset: Dataset) -> ImageList:
        """Start counting a dataset's images."""
        return cls(len(dataset), dataset=dataset.name)

    def described(self, scores: AnyScores) -> AnyScores:
        """Return scores with these counts, the excluded images, and first why there are any."""
        counts = {"listed": self.listed, "scored": self.scored, "failed": self.failed}
        return replace(
            scores,
            counts=counts | {k: v for k, v in scores.counts.items() if k not in counts},
            excluded=tuple(self.excluded.items()),
            notes=(*self.notes(), *scores.notes),
            dataset=self.dataset,
        )

    def notes(self) -> tuple[str, ...]:
        """Say why fewer images are scored than listed, and how many of the scored ones failed."""
        notes = []
        if self.excluded:
            # Reasons that name a file or a value are summed up.
            short = (
                why if len(why) <= 60 else "the annotation cannot be used"
                for why in self.excluded.values()
            )
            reasons = "; ".join(f"{why}: {count:,}" for why, count in Counter(short).items())
            notes.append(
                f"n is {self.scored:,} of the {self.listed:,} listed images, without those that "
                f"cannot be scored ({reasons})"
            )
        if self.failed:
            notes.append(f"{self.failed:,} images failed and count as wrong")
        return tuple(notes)


def check_listed(
    found: Collection[str], listed: Sequence[str], *, allow_partial: bool
) -> list[str]:
    """Return the listed images that a run has not processed.

    Raises
    ------
    ScoreError
        If the run has other images, or lacks some and `allow_partial` is false.
    """
    known, there = set(listed), set(found)
    if not there:
        raise ScoreError("there are no predictions")
    foreign = there - known
    if foreign:
        raise ScoreError(
            f"{len(foreign)} of the {len(there)} predicted images are not in the dataset, "
            f"such as {min(foreign)!r}: were these predictions made on another list of images?"
        )
    missing = [image_id for image_id in listed if image_id not in there]
    if missing and not allow_partial:
        raise ScoreError(
            f"{len(missing)} of the dataset's {len(listed)} images have no prediction, such as "
            f"{missing[0]!r}: finish the run, or set score.allow_partial"
        )
    return missing


def check_size(image_id: str, stated: Size | None, found: Size | None) -> Size | None:
    """Return an image's size as annotated, or as found where that states none.

    Raises
    ------
    ScoreError
        If the two differ.
    """
    if stated is not None and found is not None and tuple(stated) != tuple(found):
        raise ScoreError(
            f"image {image_id!r} has {found[1]} × {found[0]} pixels (width × height) in the run, "
            f"but its annotation is of {stated[1]} × {stated[0]}: run the images as annotated"
        )
    return found if stated is None else stated
