"""Images of a dataset with what a run or a folder of maps says of each, to be scored.

Every image of the list counts. One that the run failed to process is scored as wrong. An image
without a label or annotation cannot be scored: it is excluded, counted and named, as are the images
that an incomplete run has not reached yet, if that is allowed. A run that lacks what a protocol
needs is refused, with how to make one that can be scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsl.data.sample import Annotation, Dataset, Sample
from wsl.errors import AnnotationError, ScoreError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import Mask, RunLengths, decode_rle
from wsl.run.folder import RunFolder
from wsl.run.maps import Maps, open_maps
from wsl.run.rows import read_predictions
from wsl.score.image_list import ImageList, Size, check_listed, check_size
from wsl.score.maps import find_maps, read_map


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """An annotated image with the localization of one of its classes."""

    image_id: str
    label: int
    annotation: Annotation
    size: Size | None
    """(height, width): the annotation's where it states one, else the run's."""
    localization: Localization | None = None
    """Localization of the class; None if the image failed, or where maps alone are scored."""
    saliency: NDArray[Any] | None = None
    """Shape (h, w). None if the image failed, or where maps were not asked for."""

    @property
    def known_size(self) -> Size:
        """The size.

        Raises
        ------
        ScoreError
            If it is not known.
        """
        if self.size is None:
            raise ScoreError(
                f"image {self.image_id!r} could not be read, and its annotation states no size"
            )
        return self.size

    def boxes(self) -> NDArray[np.float64]:
        """Boxes of the class's instances, those to be ignored left out: (N, 4)."""
        return instance_boxes(self.annotation, self.label)

    def masks(self, *, ignored: bool = False) -> list[Mask]:
        """Masks of the class's instances, or of those of the class that are to be ignored.

        Raises
        ------
        ScoreError
            If the dataset has boxes alone.
        """
        self.check_masks()
        return [
            decode_rle(i.mask, self.known_size)
            for i in self.annotation.instances
            if i.label == self.label and i.ignore == ignored and i.mask
        ]

    def check_masks(self) -> None:
        """Refuse an annotation of boxes alone."""
        instances = self.annotation.instances
        if instances and not any(i.mask for i in instances) and not self.annotation.ignore_mask:
            raise ScoreError(
                f"image {self.image_id!r} has boxes alone, and this protocol needs masks"
            )

    def stored_masks(self) -> list[Mask]:
        """Masks of the class's instances, each in the size that the dataset stores it in."""
        self.check_masks()
        return [
            (i.stored_mask or RunLengths(i.mask, self.known_size)).decode()
            for i in self.annotation.instances
            if i.label == self.label and not i.ignore and i.mask
        ]

    def stored_ignored(self) -> list[Mask]:
        """Masks of the pixels and instances to be ignored, in the sizes that they are stored in."""
        stored = self.annotation.stored_ignore_mask
        masks = self.masks(ignored=True)
        if stored is not None:
            return [*masks, stored.decode()]
        marked = self.annotation.ignore_mask
        return [*masks, decode_rle(marked, self.known_size)] if marked else masks

    def foreground(self) -> Mask:
        """Union of the masks of the class's instances."""
        return _union(self.masks(), self.known_size)

    def ignored(self) -> Mask:
        """Pixels that do not count, being marked so or of an instance to be ignored."""
        marked = self.annotation.ignore_mask
        masks = self.masks(ignored=True)
        if marked:
            masks.append(decode_rle(marked, self.known_size))
        return _union(masks, self.known_size) & ~self.foreground()


def _union(masks: Iterable[Mask], size: Size) -> Mask:
    union = np.zeros(size, dtype=bool)
    for mask in masks:
        union |= mask
    return union


def instance_boxes(annotation: Annotation, label: int) -> NDArray[np.float64]:
    """Boxes of a class's instances, those to be ignored left out: (N, 4)."""
    found = [i.box for i in annotation.instances if i.label == label and not i.ignore]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def boxed_class(sample: Sample) -> tuple[int, ...] | str:
    """Return the sample's one class, if it has a box of it that is to be scored."""
    found = only_class(sample)
    if isinstance(found, str) or sample.annotation is None:
        return found
    some = len(instance_boxes(sample.annotation, found[0]))
    return found if some else "its annotation has no box of its class"


def only_class(sample: Sample) -> tuple[int, ...] | str:
    """Return the sample's one class, if it has one and is annotated."""
    if sample.label is None:
        return "it has no label"
    if sample.annotation is None:
        return "it has no annotation"
    return (sample.label,)


def scored_images(
    dataset: Dataset,
    folder: RunFolder | None,
    images: ImageList,
    *,
    maps: Path | None = None,
    with_maps: bool = False,
    allow_partial: bool = False,
    allow_other_sizes: bool = False,
    labels_of: Callable[[Sample], Sequence[int] | str] = only_class,
) -> Iterator[ScoredImage]:
    """Yield the annotated images with the localization or map of their ground-truth class.

    Parameters
    ----------
    dataset : Dataset
    folder : RunFolder or None
        Not needed where `maps` is a folder.
    images : ImageList
        Counts what is yielded and excluded.
    maps : Path or None
        Folder of maps to be scored instead of the run's; see `wsl.score.maps.find_maps`.
    with_maps : bool
        Read the run's maps.
    allow_partial : bool
        Exclude images without a prediction or map instead of refusing them all.
    allow_other_sizes : bool
        Take the annotated size where the run's differs, instead of refusing the run.
    labels_of : callable
        The classes of a sample that are scored, one after the other, or why there is none.

    Raises
    ------
    ScoreError
        If the run or the maps are of other images or lack some, a processed image has no
        localization of a class that is scored, or sizes differ.
    """
    if maps is not None:
        sources = _from_maps(maps, dataset, images, allow_partial=allow_partial)
    elif folder is not None:
        sources = _from_run(folder, dataset, images, with_maps, allow_partial=allow_partial)
    else:
        raise ScoreError("there is neither a run nor a folder of maps to score")
    position = {image_id: index for index, image_id in enumerate(dataset.image_ids)}
    for image_id, found_size, failed, lookup in sources:
        truth = read_truth(dataset, position[image_id], labels_of)
        if isinstance(truth, str):
            images.excluded[image_id] = truth
            continue
        labels, annotation = truth
        if allow_other_sizes and annotation.size is not None:
            found_size = annotation.size
        size = check_size(image_id, annotation.size, found_size)
        images.scored += 1
        images.failed += failed
        for label in labels:
            localization, saliency = (None, None) if failed else lookup(label)
            yield ScoredImage(image_id, label, annotation, size, localization, saliency)


_Lookup = Callable[[int], tuple[Localization | None, NDArray[Any] | None]]
_Source = tuple[str, Size | None, bool, _Lookup]


def read_truth(
    dataset: Dataset, index: int, labels_of: Callable[[Sample], Sequence[int] | str]
) -> tuple[Sequence[int], Annotation] | str:
    """Return the scored classes of an image and its annotation, or why it cannot be scored."""
    try:
        sample = dataset.sample(index)
    except AnnotationError as error:
        return str(error)
    labels = labels_of(sample)
    if isinstance(labels, str):
        return labels
    return labels, sample.annotation or Annotation(())


def _from_maps(
    maps: Path, dataset: Dataset, images: ImageList, *, allow_partial: bool
) -> Iterator[_Source]:
    paths = find_maps(maps, dataset.image_ids)
    missing = [image_id for image_id in dataset.image_ids if image_id not in paths]
    if missing and not (allow_partial and paths):
        raise ScoreError(
            f"{maps} has no map of {len(missing)} of the {len(dataset)} images, such as "
            f"{missing[0]}.npy, .npz or .png; score.allow_partial leaves them out"
        )
    images.excluded |= dict.fromkeys(missing, "it has no map")
    for image_id, path in paths.items():
        yield image_id, None, False, partial(_of_file, path)


def _of_file(path: Path, label: int) -> tuple[None, NDArray[Any]]:
    return None, read_map(path, label)


def _from_run(
    folder: RunFolder,
    dataset: Dataset,
    images: ImageList,
    with_maps: bool,
    *,
    allow_partial: bool,
) -> Iterator[_Source]:
    found = set(folder.read(["image_id"])["image_id"].to_pylist())
    missing = check_listed(found, dataset.image_ids, allow_partial=allow_partial)
    images.excluded |= dict.fromkeys(missing, "the run has not processed it")
    for part in folder.parts():
        path = folder.path / "maps" / f"{part.stem}.npz"
        if with_maps and not path.is_file():
            raise ScoreError(
                f"{folder.path} has no maps: run with run.maps=true, or name a folder of maps"
            )
        with open_maps(path) as maps:
            for prediction in read_predictions(part):
                failed = prediction.status != "ok"
                lookup = partial(_of_prediction, prediction, maps if with_maps else None)
                yield prediction.image_id, prediction.size, failed, lookup


def _of_prediction(
    prediction: Prediction, maps: Maps | None, label: int
) -> tuple[Localization | None, NDArray[Any] | None]:
    found = next((one for one in prediction.localizations if one.label == label), None)
    if found is None:
        raise ScoreError(
            f"image {prediction.image_id!r} was not localized for its class {label}, which is what "
            "this protocol scores, whatever was predicted: run with classes.select=ground_truth, "
            "or both"
        )
    saliency = None if maps is None else maps.get(prediction.image_id, label)
    if maps is not None and saliency is None:
        raise ScoreError(f"the run has no map of class {label} of image {prediction.image_id!r}")
    return found, saliency
