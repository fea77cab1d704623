"""Where a configuration's values were chosen: the block ``tuned_on`` of a configuration.

It lets a score say whether the images it rests on helped to choose the settings.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Self

from pydantic import Field, field_validator

from wsl.config import Options
from wsl.data.open import dataset_fingerprint
from wsl.data.sample import Dataset

__all__ = ["TunedOn"]

# 48 bits an image: of a million images tuned on and a million others scored, the chance that any
# two are taken for each other is one in three hundred.
_BYTES = 6


class TunedOn(Options):
    """The images on which values of this configuration were chosen. Written by ``wsl tune``."""

    dataset: str
    """Its name, with the part."""
    count: int = Field(ge=1)
    """Images in the list."""
    fingerprint: str
    """Of the list of images."""
    objective: str
    """The figure by which the values were chosen."""
    candidates: int = Field(ge=1)
    """Settings that were tried."""
    center_side: float = Field(gt=0, le=1)
    """Side of the best centered box on these images, for ``wsl score --set
    score.center_side=…``."""
    images: str
    """The first six bytes of the SHA-256 of each image's id, sorted, in Base64."""

    @field_validator("images")
    @classmethod
    def _readable(cls, images: str) -> str:
        try:
            digests = base64.b64decode(images, validate=True)
        except ValueError as error:
            raise ValueError(f"images must be Base64: {error}") from None
        if not digests or len(digests) % _BYTES:
            raise ValueError(f"images must hold {_BYTES} bytes for each image")
        return images

    @classmethod
    def of(cls, dataset: Dataset, *, objective: str, candidates: int, center_side: float) -> Self:
        """Describe a dataset on which values were chosen."""
        return cls(
            dataset=dataset.name,
            count=len(dataset),
            fingerprint=dataset_fingerprint(dataset),
            objective=objective,
            candidates=candidates,
            center_side=center_side,
            images=base64.b64encode(b"".join(sorted(map(_digest, dataset.image_ids)))).decode(),
        )

    def shared(self, image_ids: Iterable[str]) -> int:
        """Count the images of a list that helped to choose the values, by their ids."""
        packed = base64.b64decode(self.images)
        known = {packed[start : start + _BYTES] for start in range(0, len(packed), _BYTES)}
        return sum(_digest(image_id) in known for image_id in image_ids)

    def note(self, scored: Dataset) -> str:
        """Say for a score of `scored` where the values were chosen."""
        where = f"{self.dataset} ({self.count:,} images)"
        shared = self.shared(scored.image_ids)
        if not shared:
            return f"the settings were chosen elsewhere: on {where}, none of which is scored here"
        return (
            f"oracle: the settings were chosen on scored images: {shared:,} of the {len(scored):,} "
            f"are among those of {where}"
        )


def _digest(image_id: str) -> bytes:
    return hashlib.sha256(image_id.encode()).digest()[:_BYTES]
