"""Where a configuration's values were chosen: the block ``tuned_on`` of a configuration.

The images are a text file with one id per line: of a recipe, ``wsl/recipes/…txt``, else beside the
configuration. ``run.json`` keeps the file's name with the count and hash of its ids, so that a
score can say whether scored images helped to choose the settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field

from wsl.config import Options
from wsl.data.sample import Dataset
from wsl.errors import ConfigError
from wsl.localize.recipes import RECIPES

__all__ = ["TunedOn", "write_image_list"]


class TunedOn(Options):
    """The images on which values of this configuration were chosen. Written by ``wsl tune``."""

    images: str
    """Text file of their ids, one per line."""
    dataset: str
    """Name of the dataset, with the subset."""
    objective: str
    """The estimate by which the values were chosen."""
    candidates: int = Field(ge=1)
    """Number of settings that were compared."""
    center_side: float = Field(gt=0, le=1)
    """Side of the best centered box on these images, as a share of the image's sides."""
    count: int | None = Field(None, ge=1)
    """Number of images; filled in from the file."""
    sha256: str | None = None
    """Hash of their ids; filled in from the file."""

    def filled(self) -> Self:
        """Fill in count and hash from the file, unless both are known.

        Raises
        ------
        ConfigError
            If the file cannot be read.
        """
        if self.count is not None and self.sha256 is not None:
            return self
        try:
            image_ids = self._read()
        except (OSError, ValueError) as error:
            raise ConfigError(f"tuned_on.images: cannot read {self.images}: {error}") from error
        return self.model_copy(update={"count": len(image_ids), "sha256": _sha256(image_ids)})

    def _read(self) -> list[str]:
        bundled = RECIPES / self.images
        path = bundled if bundled.is_file() else Path(self.images)
        image_ids = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        if not image_ids:
            raise ValueError("it must name one image per line, but is empty")
        return image_ids

    def note(self, scored: Dataset) -> str:
        """Say for a score of `scored` where the values were chosen."""
        filled = self.filled()
        where = f"{self.dataset} ({filled.count:,} images)"
        try:
            image_ids = self._read()
            if _sha256(image_ids) != filled.sha256:
                raise ValueError("it has changed since the run")
        except (OSError, ValueError) as error:
            return (
                f"the settings were chosen on {where}; whether any of them is scored here is "
                f"unknown, for {self.images} cannot be read: {error}"
            )
        shared = len(set(image_ids).intersection(scored.image_ids))
        if not shared:
            return f"the settings were chosen elsewhere: on {where}, none of which is scored here"
        return (
            f"oracle: the settings were chosen on scored images: {shared:,} of the {len(scored):,} "
            f"are among those of {where}"
        )


def write_image_list(path: Path, image_ids: Sequence[str]) -> None:
    """Write a file for `TunedOn.images`.

    Raises
    ------
    ConfigError
        If an id has a line break.
    """
    for image_id in image_ids:
        if "\n" in image_id:
            raise ConfigError(f"image ids must have no line break, but one is {image_id!r}")
    path.write_text("".join(f"{image_id}\n" for image_id in image_ids), encoding="utf-8")


def _sha256(image_ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(image_ids)).encode()).hexdigest()
