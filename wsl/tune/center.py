"""The centered box, the trivial localization to beat, and its best side on annotated images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import box_to_mask, centered_box
from wsl.data.images import image_size
from wsl.data.sample import Dataset, Sample
from wsl.errors import ImageError
from wsl.score.inputs import AnnotatedImages, best_instances
from wsl.tune.ious import Ious, TrueMask

CENTER_SIDES = tuple(percent / 100 for percent in range(40, 101))
"""Sides of the centered box that are tried, as shares of the image's; 1 is the whole image."""


def center_ious(
    dataset: Dataset, truth: AnnotatedImages, *, max_pixels: int, masks: bool = False
) -> dict[float, Ious]:
    """IoU of the centered box with the truth of each image, by the box's side.

    Parameters
    ----------
    dataset : Dataset
    truth : AnnotatedImages
        Annotations of the dataset.
    max_pixels : int
        An image with more is not read: its size is the annotation's.
    masks : bool
        Compare the filled box with the masks, too.

    Returns
    -------
    dict
        For each of `CENTER_SIDES` the IoUs; 0 for an image of unknown size.
    """
    sizes = _sizes(dataset, truth, max_pixels).tolist()
    owners = np.arange(len(sizes))
    of_masks = np.full((len(sizes), len(CENTER_SIDES)), np.nan)
    if masks:
        of_masks[:] = [_mask_ious(sample) for sample in _samples(dataset, truth)]
    ious: dict[float, Ious] = {}
    for side, of_mask in zip(CENTER_SIDES, of_masks.T, strict=True):
        boxes = np.array([centered_box((height, width), side) for height, width in sizes])
        ious[side] = Ious(best_instances(boxes, owners, truth)[0], of_mask)
    return ious


def _samples(dataset: Dataset, truth: AnnotatedImages) -> Iterator[Sample]:
    position = {image_id: at for at, image_id in enumerate(dataset.image_ids)}
    for image_id in truth.image_ids:
        yield dataset.sample(position[image_id])


def _mask_ious(sample: Sample) -> list[float]:
    """IoU of the filled box of each side with the true mask; NaN where that is not known."""
    size = sample.annotation.size if sample.annotation else None
    true = TrueMask.of(sample, size) if size else None
    if size is None or true is None:
        return [np.nan] * len(CENTER_SIDES)
    return [true.iou(box_to_mask(centered_box(size, side), size)) for side in CENTER_SIDES]


def _sizes(dataset: Dataset, truth: AnnotatedImages, max_pixels: int) -> NDArray[np.float64]:
    """(height, width) of each image, the annotation's where the image cannot be read: (N, 2)."""
    sizes = truth.sizes.copy()
    for row, sample in enumerate(_samples(dataset, truth)):
        with contextlib.suppress(ImageError):
            sizes[row] = image_size(sample.path, max_pixels=max_pixels)
    return sizes
