"""The saliency maps of the tuning images, computed once and kept on disk.

::

    DIR/about.json              whose maps these are: configuration, weights, list of images
    DIR/images.txt              ids of the images
    DIR/maps/224/00000012.npy   map of the image at position 12 of the list, at working size 224
    DIR/maps/failed/00000030    why that image could not be processed

A map is that of the ground-truth class, float32, exactly as a run would hand it to refinement at
that working size (``original``: the image's own size). Starting again computes what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsl.data.images import load_image
from wsl.data.sample import Dataset
from wsl.errors import RunError
from wsl.localize.image_maps import ImageMaps
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Prediction
from wsl.localize.segment import LocalizeOptions
from wsl.progress import Progress
from wsl.run.config import RunConfig
from wsl.run.info import RunInfo, read_info
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.pool import WorkerPool, worker_count
from wsl.run.runner import describe_run
from wsl.run.same import check_same
from wsl.run.stages import DecodedImage, Stages, Timings, chunk_range, explain_ahead
from wsl.run.tuned_on import write_image_list, write_pixel_list
from wsl.saliency.class_maps import ClassMaps
from wsl.score.inputs import AnnotatedImages, read_annotations
from wsl.storage import open_file, read_text, whole_file, write_json, write_text


@dataclass(frozen=True, eq=False)
class MapStore:
    """Tuning images with their maps, on disk."""

    path: Path
    """The folder."""
    config: RunConfig
    """The configuration to improve, with the tuning images as its data."""
    localizer: Localizer
    """That of the configuration."""
    dataset: Dataset
    truth: AnnotatedImages
    """The images with a box of their class: only they are used."""
    sizes: tuple[int | None, ...]
    """Longer sides of the maps that there are, or will be; None for the images' own."""

    @classmethod
    def open(
        cls,
        path: Path | str,
        config: RunConfig,
        localizer: Localizer,
        dataset: Dataset,
        sizes: Iterable[int | None],
    ) -> MapStore:
        """Open a folder: new, empty, or of the same images, maps and classifier.

        Raises
        ------
        RunMismatchError
            If it is of others.
        RunError
            If it holds something else, or no image of the dataset has a box of its class.
        """
        store = cls(Path(path), config, localizer, dataset, read_annotations(dataset), tuple(sizes))
        if not store.truth.image_ids:
            why = f": {dataset.image_ids[0]!r}: {store.truth.excluded[0][1]}"
            raise RunError(f"no image of {dataset.name} can be used for tuning{why}")
        store._begin()
        return store

    @property
    def images_path(self) -> Path:
        """The list of the images that settings are chosen on (`TunedOn.images`)."""
        return self.path / "images.txt"

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Positions of the images of `truth` in the dataset, (N,)."""
        place = {image_id: at for at, image_id in enumerate(self.dataset.image_ids)}
        return np.array([place[image_id] for image_id in self.truth.image_ids], dtype=np.int64)

    def boxes(self, position: int) -> NDArray[np.float64]:
        """Boxes of the instances of an image's class, (M, 4)."""
        row = int(np.searchsorted(self.positions, position))
        start, end = self.truth.starts[row : row + 2]
        return self.truth.boxes[start:end]

    def failure(self, position: int) -> str | None:
        """Why an image could not be processed; None if it could."""
        path = self._failure_path(position)
        return read_text(path) if path.exists() else None

    def pixels(self, position: int) -> NDArray[np.uint8]:
        """Read an image, RGB: (H, W, 3)."""
        sample = self.dataset.sample(position, annotated=False)
        return load_image(sample.path, max_pixels=self.config.data.max_pixels)

    def maps_of(
        self, position: int, options: LocalizeOptions
    ) -> dict[int | None, NDArray[np.float32]]:
        """Read the maps of an image that some options need."""
        return {size: self.map_(position, size) for size in options.map_sizes}

    def map_(self, position: int, size: int | None) -> NDArray[np.float32]:
        """Read the map of an image for a working size: (h, w).

        Raises
        ------
        RunError
            If it is not there or damaged.
        """
        path = self._map_path(position, size)
        try:
            with open_file(path) as file:
                return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path} cannot be read; remove it to make it again: {error}") from error

    def check_there(self) -> None:
        """Raise a RunError if the folder was removed: writing would make it anew, in parts."""
        if not self._about_path.exists():
            raise RunError(f"{self.path} was removed during the tuning")

    def compute(self, progress: Progress) -> None:
        """Compute the maps that are missing, a chunk of images at a time."""
        positions = self.positions.tolist()
        size = self.config.run.chunk_size
        chunks = [
            [positions[at] for at in chunk_range(chunk, size, len(positions))]
            for chunk in range(-(-len(positions) // size))
        ]
        missing = [chunk for chunk in chunks if not all(map(self._is_done, chunk))]
        progress.start(len(positions), len(positions) - sum(map(len, missing)))
        stages = Stages(
            self.localizer,
            classes=ClassOptions(select="ground_truth"),
            options=self.config.run,
            max_pixels=self.config.data.max_pixels,
        )
        run = self.config.run
        decoders = WorkerPool(
            worker_count(run.workers), name="wsl-decode", time_limit=run.time_limit
        )
        try:
            steps = explain_ahead(stages, self.dataset, missing, decoders, Timings())
            for position, step in steps:
                self.check_there()
                if isinstance(step, Prediction):
                    reason = step.error or "unknown reason"
                    write_text(self._failure_path(position), reason)
                else:
                    self._write_maps(position, *step)
                progress.advance(1, int(isinstance(step, Prediction)))
        finally:
            decoders.close(cancel=True)

    def _write_maps(self, position: int, image: DecodedImage, found: ClassMaps) -> None:
        maps = ImageMaps.of(found, image.views.geometries, self.sizes)
        for size, map_ in maps.of_class(0).items():
            path = self._map_path(position, size)
            with whole_file(path) as file:
                np.save(file, map_, allow_pickle=False)

    def _is_done(self, position: int) -> bool:
        return self._failure_path(position).exists() or all(
            self._map_path(position, size).exists() for size in self.sizes
        )

    @property
    def _about_path(self) -> Path:
        return self.path / "about.json"

    def _map_path(self, position: int, size: int | None) -> Path:
        return self.path / "maps" / str(size or "original") / f"{position:08d}.npy"

    def _failure_path(self, position: int) -> Path:
        return self.path / "maps" / "failed" / f"{position:08d}"

    def _begin(self) -> None:
        path, wanted = self._about_path, self._about()
        if not path.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise RunError(f"{self.path} exists, is not empty, and is not a tuning folder")
            try:
                write_json(path, asdict(wanted))
                write_image_list(self.images_path, self.dataset.image_ids)
                write_pixel_list(self.images_path, self.dataset)
            except OSError as error:
                raise RunError(f"cannot write the folder {self.path}: {error}") from error
            return
        check_same(self.path, read_info(self.path, path.name), wanted, what="tuning")

    def _about(self) -> RunInfo:
        """Describe what maps and IoUs depend on, beside the settings that are tried."""
        run = self.config.run
        config = self.config.model_copy(
            update={
                "localize": LocalizeOptions(),
                "classes": ClassOptions(),
                "run": RunOptions(chunk_size=run.chunk_size, batch_size=run.batch_size),
                "tuned_on": None,
            }
        )
        return describe_run(config, self.localizer, self.dataset)
