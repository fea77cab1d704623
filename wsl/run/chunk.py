"""Finished images of a chunk, until its files are written.

The files of a chunk are written when its last image is finished. Until then the finished images
are kept in pieces, so that an interrupt costs seconds of work and not a chunk::

    RUN/predictions/.part-00003.0-64.parquet   rows of the chunk's images 0 to 63
    RUN/maps/.part-00003.0-64.npz              their maps, where maps are stored

Pieces follow one another without a gap, and each ends where a batch ends: the last bits of an
image's scores and maps depend on its batch, and so the images that follow are in the same batches
as without the interrupt.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsl.errors import RunError
from wsl.localize.prediction import Prediction
from wsl.run.folder import RunFolder
from wsl.run.maps import map_key, read_maps, write_maps
from wsl.run.rows import read_predictions, write_part


@dataclass(frozen=True, eq=False)
class FinishedImage:
    """An image as it is written: its prediction, and its maps by class where they are stored."""

    prediction: Prediction
    maps: dict[int, NDArray[np.floating]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the image could not be processed."""
        return self.prediction.status == "failed"


class Chunk:
    """The images of a chunk as they are finished, in any order.

    Parameters
    ----------
    folder : RunFolder
    number : int
    size : int
        How many images it has.
    batch_images : int
        How many images the classifier takes at a time.
    maps : bool
        Whether maps are stored.
    pieces : sequence of range
        What an earlier start has kept: positions in the chunk.
    """

    def __init__(
        self,
        folder: RunFolder,
        number: int,
        size: int,
        *,
        batch_images: int,
        maps: bool,
        pieces: Sequence[range] = (),
    ) -> None:
        self.number = number
        self._folder, self._batch_images, self._maps = folder, batch_images, maps
        self._images: list[FinishedImage | None] = [None] * size
        self._in_batch = [False] * size
        self._pieces = list(pieces)
        for piece in pieces:
            self._images[piece.start : piece.stop] = self._read(piece)
        self._left = size - self._kept
        self._lock = threading.Lock()

    def _read(self, piece: range) -> list[FinishedImage]:
        maps: dict[str, dict[int, NDArray[np.floating]]] = defaultdict(dict)
        if self._maps:
            for image_id, label, map_ in read_maps(self._folder.maps_path(self.number, piece)):
                maps[image_id][label] = map_
        predictions = read_predictions(self._folder.part_path(self.number, piece))
        return [FinishedImage(one, maps[one.image_id]) for one in predictions]

    @property
    def _kept(self) -> int:
        return self._pieces[-1].stop if self._pieces else 0

    @property
    def complete(self) -> bool:
        """Whether all images are finished."""
        return not self._left

    @property
    def lost(self) -> int:
        """Images that are finished and in no piece."""
        return sum(image is not None for image in self._images) - self._kept

    def put(self, position: int, image: FinishedImage, *, in_batch: bool) -> bool:
        """Take an image; True for the last one.

        Parameters
        ----------
        position : int
        image : FinishedImage
        in_batch : bool
            Whether the classifier has seen it; False for an image that could not be read.
        """
        with self._lock:
            self._images[position], self._in_batch[position] = image, in_batch
            self._left -= 1
            return self.complete

    def keep(self) -> None:
        """Write a piece of the images that are finished and not in a piece yet, if there are any.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with self._lock:
            piece = range(self._kept, self._end_of_batch())
            images = [image for image in self._images[piece.start : piece.stop] if image]
        if images:
            write_chunk(self._folder, self.number, images, maps=self._maps, piece=piece)
            self._pieces.append(piece)

    def _end_of_batch(self) -> int:
        """Position behind the last batch before which all images are finished."""
        end, in_batch = self._kept, 0
        for position in range(self._kept, len(self._images)):
            if self._images[position] is None:
                return end
            in_batch += self._in_batch[position]
            if in_batch % self._batch_images == 0:
                end = position + 1
        return len(self._images)

    def write(self) -> None:
        """Write the files of the complete chunk, in place of its pieces.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        images = [image for image in self._images if image is not None]
        write_chunk(self._folder, self.number, images, maps=self._maps)
        for piece in self._pieces:
            self._folder.discard(self.number, piece)


def write_chunk(
    folder: RunFolder,
    chunk: int,
    images: Sequence[FinishedImage],
    *,
    maps: bool,
    piece: range | None = None,
) -> None:
    """Write the files of a chunk, or of a piece of it.

    Raises
    ------
    OutputError
        If they cannot be written.
    RunError
        If the run's folder no longer exists; it is not made again.
    """
    if not folder.info_path.exists():
        raise RunError(f"{folder.path} was removed during the run")
    if maps:
        arrays = {
            map_key(image.prediction.image_id, label): map_
            for image in images
            for label, map_ in image.maps.items()
        }
        write_maps(folder.maps_path(chunk, piece), arrays)
    # Last, because the part file says that everything is there.
    write_part(folder.part_path(chunk, piece), (image.prediction for image in images))
