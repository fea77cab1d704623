"""Where a configuration's values were chosen: the block ``tuned_on`` of a configuration.

The images are a text file with one id per line: of a recipe, ``wsl/recipes/…txt``, else beside the
configuration. ``run.json`` keeps the file's name with the count and hash of its ids, so that a
score can say whether scored images helped to choose the settings. A file beside it, ``….pixels``,
has the hash of each image's pixels, so that a copy under another name is found, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from pydantic import Field

from wsl.config.options import Options
from wsl.data.images import image_size, load_image
from wsl.data.sample import Dataset
from wsl.errors import AnnotationError, ConfigError, ImageError
from wsl.localize.recipes import RECIPES
from wsl.storage import read_text, write_text

_READERS = 4  # threads that read images
_BATCH = 256  # images that are asked for ahead


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

    @property
    def _path(self) -> Path:
        bundled = RECIPES / self.images
        return bundled if bundled.is_file() else Path(self.images)

    def _read(self) -> list[str]:
        image_ids = [line for line in read_text(self._path).split("\n") if line]
        if not image_ids:
            raise ValueError("it must name one image per line, but is empty")
        return image_ids

    def note(self, scored: Dataset) -> str:
        """Say for a score of `scored` where the values were chosen, and how that was checked.

        Images of a size that a listed image has are read and compared by their pixels.
        """
        filled = self.filled()
        where = f"{self.dataset} ({filled.count:,} images)"
        try:
            image_ids = self._read()
            if _sha256(image_ids) != filled.sha256:
                raise ValueError("it has changed since the run")
        except (OSError, ValueError) as error:
            return (
                f"the settings were chosen on {where}; whether any of them is scored here is "
                f"unknown, because {self.images} cannot be read: {error}"
            )
        same = set(image_ids).intersection(scored.image_ids)
        known = _read_pixels(self._path.with_suffix(".pixels"))
        copies = _copies(scored, known, same) if known else 0
        how = "compared by id and by pixels" if known else "compared by id alone"
        if not same and not copies:
            return (
                f"the settings were chosen elsewhere: on {where}, none of which is scored here "
                f"({how})"
            )
        renamed = f", {copies:,} of them under other names" if copies else ""
        return (
            f"oracle: the settings were chosen on scored images: {len(same) + copies:,} of the "
            f"{len(scored):,} are among those of {where}{renamed} ({how})"
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


def write_pixel_list(images: Path, dataset: Dataset) -> None:
    """Write the sizes of a dataset's images and the hashes of their pixels beside their list.

    An image that cannot be read has no line.
    """
    sizes_and_hashes = _in_threads(dataset, None, set())
    lines = sorted({f"{height} {width} {digest}\n" for height, width, digest in sizes_and_hashes})
    write_text(images.with_suffix(".pixels"), "".join(lines))


_Pixels = tuple[int, int, str]


def _read_pixels(path: Path) -> set[_Pixels]:
    """Read what `write_pixel_list` wrote; nothing if there is no such file."""
    try:
        lines = read_text(path).splitlines()
        return {(int(h), int(w), digest) for h, w, digest in (line.split() for line in lines)}
    except (OSError, ValueError):
        return set()


def _copies(scored: Dataset, known: set[_Pixels], same: set[str]) -> int:
    """Count the scored images with the pixels of a known one, under another name."""
    sizes = {(height, width) for height, width, _ in known}
    return sum(found in known for found in _in_threads(scored, sizes, same))


def _in_threads(
    dataset: Dataset, sizes: set[tuple[int, int]] | None, skipped: set[str]
) -> Iterator[_Pixels]:
    """Yield size and hash of the pixels of each image (of these sizes) that can be read."""

    def read(index: int) -> _Pixels | None:
        if dataset.image_ids[index] in skipped:
            return None
        try:
            path = dataset.sample(index, annotated=False).path
            if sizes is not None and image_size(path) not in sizes:
                return None
            pixels = load_image(path)
        except (AnnotationError, ImageError):
            return None
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()
        return pixels.shape[0], pixels.shape[1], digest

    with ThreadPoolExecutor(_READERS, thread_name_prefix="wsl-pixels") as pool:
        for start in range(0, len(dataset), _BATCH):
            some = range(start, min(start + _BATCH, len(dataset)))
            yield from (found for found in pool.map(read, some) if found is not None)
