"""The centered box, the trivial localization to beat, and its best side on annotated images."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import centered_box
from wsl.data.images import image_size
from wsl.data.sample import Dataset
from wsl.errors import ImageError
from wsl.score.inputs import AnnotatedImages, best_instances

__all__ = ["CENTER_SIDES", "center_ious"]

CENTER_SIDES = tuple(percent / 100 for percent in range(40, 101))
"""Sides of the centered box that are tried, as shares of the image's; 1 is the whole image."""


def center_ious(
    dataset: Dataset, truth: AnnotatedImages, *, max_pixels: int
) -> dict[float, NDArray[np.float64]]:
    """IoU of the centered box with the best instance of each image, by the box's side.

    Parameters
    ----------
    dataset : Dataset
    truth : AnnotatedImages
        Of the dataset.
    max_pixels : int
        An image with more is not read: its size is the annotation's.

    Returns
    -------
    dict
        For each of `CENTER_SIDES` the IoU (N,); 0 for an image of unknown size.
    """
    sizes = _sizes(dataset, truth, max_pixels).tolist()
    owners = np.arange(len(sizes))
    ious: dict[float, NDArray[np.float64]] = {}
    for side in CENTER_SIDES:
        boxes = np.array([centered_box((height, width), side) for height, width in sizes])
        ious[side] = best_instances(boxes, owners, truth)[0]
    return ious


def _sizes(dataset: Dataset, truth: AnnotatedImages, max_pixels: int) -> NDArray[np.float64]:
    """(height, width) of each image, the annotation's where the image cannot be read: (N, 2)."""
    position = {image_id: at for at, image_id in enumerate(dataset.image_ids)}
    sizes = truth.sizes.copy()
    for row, image_id in enumerate(truth.image_ids):
        path = dataset.sample(position[image_id], annotated=False).path
        with contextlib.suppress(ImageError):
            sizes[row] = image_size(path, max_pixels=max_pixels)
    return sizes
