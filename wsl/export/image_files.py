"""The image files of an export: finding, linking and copying them.

Masks and boxes are in pixels of the upright image. Many tools do not turn images by their EXIF
orientation, so an image that has one is written upright, as PNG, instead of linked or copied. An
image in an object store cannot be linked and is copied.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Literal

from PIL import Image

from wsl.data.images import image_size, is_upright, load_image
from wsl.data.sample import Dataset
from wsl.errors import ConfigError, DataError, ImageError
from wsl.export.staging import Chunk
from wsl.storage import RemotePath, open_file

ImageMode = Literal["link", "copy", "none"]


class ImageFiles:
    """The image files of a run, found through its dataset.

    Parameters
    ----------
    dataset : Dataset or None
        None if image files are not known; an image's path is its id then.
    mode : {'link', 'copy', 'none'}

    Raises
    ------
    ConfigError
        If images are wanted and there is no dataset.
    """

    def __init__(self, dataset: Dataset | None, mode: ImageMode) -> None:
        if dataset is None and mode != "none":
            raise ConfigError(
                f"images: {mode} needs the run's dataset, which was not given. "
                "Give it, or set images to none"
            )
        self.mode = mode
        self._dataset = dataset
        ids = dataset.image_ids if dataset is not None else ()
        self._index = {image_id: index for index, image_id in enumerate(ids)}

    def source(self, image_id: str) -> Path:
        """Image file of an id.

        Raises
        ------
        ImageError
            If the dataset does not know it.
        """
        index = self._index.get(image_id)
        if self._dataset is None or index is None:
            raise ImageError(f"image {image_id!r} is not in the dataset")
        try:
            return self._dataset.sample(index, annotated=False).path
        except DataError as error:
            raise ImageError(f"image {image_id!r}: {error}") from error

    def relative_path(self, image_id: str) -> str:
        """Path of an image below the dataset's root, with ``/``; without a dataset, its id.

        A path outside of the root is returned in full.
        """
        if self._dataset is None:
            return image_id
        path = self.source(image_id).absolute()
        try:
            return "/".join(path.relative_to(self._dataset.root.absolute()).parts)
        except ValueError:
            return path.as_posix()

    def place(
        self,
        image_id: str,
        size: tuple[int, int],
        chunk: Chunk,
        stem: str,
        *,
        ending: str | None = None,
    ) -> str | None:
        """Add an image to the export.

        Parameters
        ----------
        image_id : str
        size : (int, int)
            (height, width) in the run.
        chunk : Chunk
        stem : str
            Path in the export, without an ending.
        ending : str or None
            Such as ``.jpg``; None keeps the file's own.

        Returns
        -------
        str or None
            Path in the export; None if the export holds no images.

        Raises
        ------
        ImageError
            If there is no such file, or its size is another.
        """
        if self.mode == "none":
            return None
        source = self.source(image_id).absolute()
        turned = _turned(source, size)
        own = ".png" if turned is not None else source.suffix.lower()
        target = f"{stem}{own if ending is None else ending}"
        if turned is not None:
            chunk.counts["upright"] += 1
            chunk.file(target, turned)
            return target
        if ending is not None and own not in {ending, ".jpeg"}:
            chunk.counts["other ending"] += 1
        with chunk.placed(target) as temporary:
            if self.mode == "link" and not isinstance(source, RemotePath):
                temporary.symlink_to(source)
            else:
                with open_file(source) as original, temporary.open("wb") as copy:
                    shutil.copyfileobj(original, copy)
        return target


def _turned(source: Path, size: tuple[int, int]) -> bytes | None:
    """PNG of an image turned upright by its EXIF orientation; None if it is upright already.

    Raises
    ------
    ImageError
        If it cannot be read, or its size is not `size`.
    """
    found = image_size(source, max_pixels=sys.maxsize)
    if found != tuple(size):
        raise ImageError(
            f"{source} must be {size[1]} × {size[0]} as the run saw it, "
            f"but is {found[1]} × {found[0]}"
        )
    if is_upright(source, max_pixels=sys.maxsize):
        return None
    data = io.BytesIO()
    Image.fromarray(load_image(source, max_pixels=sys.maxsize)).save(data, "PNG")
    return data.getvalue()
