"""What every reader yields: samples and their annotations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box, as_boxes
from wsl.data.categories import Categories
from wsl.data.images import DEFAULT_MAX_PIXELS
from wsl.masks import RunLengths


@dataclass(frozen=True)
class Instance:
    """One annotated object of an image."""

    label: int
    """Index into the classifier's categories; -1 for an object of a class that the classifier does
    not know."""
    box: Box
    """0-based, half-open, in pixels of the image."""
    mask: str | None = None
    """COCO compressed run lengths of the object's mask (see `wsl.masks`), or None if the dataset
    has boxes only."""
    ignore: bool = False
    """The dataset asks not to score this object (VOC's ``difficult``, COCO's ``iscrowd``)."""
    area: float | None = None
    """Pixels of the object as the dataset states them (COCO's ``area``); None if it does not."""
    stored_mask: RunLengths | None = None
    """The mask as the dataset stores it, where that is of another size than the image."""


@dataclass(frozen=True)
class Annotation:
    """The annotated objects of one image."""

    instances: tuple[Instance, ...]
    size: tuple[int, int] | None = None
    """The image's (height, width) as the annotation states it; None if it does not."""
    ignore_mask: str | None = None
    """COCO compressed run lengths of the pixels that are not to be scored."""
    stored_ignore_mask: RunLengths | None = None
    """The ignore mask as the dataset stores it, where that is of another size than the image."""

    def boxes(self, label: int | None = None) -> NDArray[np.float64]:
        """Boxes of all instances, or of those of one class: shape (N, 4)."""
        return as_boxes([i.box for i in self.instances if label is None or i.label == label])

    @property
    def labels(self) -> tuple[int, ...]:
        """Classes that the image shows, ascending: those of the instances that are to be scored.

        A class that the classifier does not know (-1) is not among them. Datasets with several
        classes in an image give the image a label only if there is exactly one here.
        """
        return tuple(sorted({i.label for i in self.instances if i.label >= 0 and not i.ignore}))

    @property
    def only_label(self) -> int | None:
        """The class that the image shows, if it shows exactly one that the classifier knows."""
        return self.labels[0] if len(self.labels) == 1 else None


@dataclass(frozen=True)
class Sample:
    """One image of a dataset, not yet read."""

    image_id: str
    """Id, unique in the dataset; the key of predictions."""
    path: Path
    label: int | None = None
    """The image's class, an index into the classifier's categories; None if it has no label."""
    annotation: Annotation | None = None
    """Objects; None if the dataset has none for this image, or they were not asked for."""


class Dataset(ABC):
    """A list of images with labels and annotations, which are read when asked for."""

    name: str
    """Name for reports, such as ``"ilsvrc val"``."""
    root: Path
    categories: Categories
    """The classifier's categories, into which labels are indices."""
    image_ids: tuple[str, ...]
    """Ids in the dataset's order, without repetition."""
    skipped: int = 0
    """Files that were found beside the images and not listed, such as those of other kinds."""
    max_pixels: int = DEFAULT_MAX_PIXELS
    """Annotations and masks of larger images are refused."""

    @abstractmethod
    def sample(self, index: int, *, annotated: bool = True) -> Sample:
        """Read one image's path, label and annotation, but not its pixels.

        Parameters
        ----------
        index : int
            Position in `image_ids`.
        annotated : bool
            False: leave the annotation out if the label is known without it (much faster).

        Raises
        ------
        AnnotationError
            If this image's annotation cannot be used. Other images are not concerned.
        """

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Sample:
        return self.sample(range(len(self))[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(len(self)))
