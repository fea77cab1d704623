"""The views of an image that a classifier looks at: the whole, the centre, or ten crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from wsl.data.geometry import Geometry
from wsl.errors import choices_hint
from wsl.options import Options

if TYPE_CHECKING:
    from torch import Tensor

    from wsl.models.preprocessing import Preprocessing

__all__ = ["ViewKind", "ViewOptions", "Views", "make_views", "view_geometries"]

ViewKind = Literal["full", "centre", "ten_crop"]


class ViewOptions(Options):
    """Which views of each image the classifier sees."""

    kind: ViewKind = "full"
    """``full``: the whole image squeezed to the input's size. ``centre``: the weights' own resize
    and centre crop. ``ten_crop``: the shorter side resized, then the four corners and the centre,
    each also reflected; their maps are averaged (Simonyan et al. 2013)."""

    input_size: PositiveInt | None = None
    """Side of the square input in pixels, for networks that take several; null: the weights' own.
    The resize size keeps its ratio to it."""

    @property
    def count(self) -> int:
        """Number of views of each image."""
        return 10 if self.kind == "ten_crop" else 1

    def adapted(self, preprocessing: Preprocessing) -> Preprocessing:
        """Preprocessing with the sizes of `input_size`."""
        if self.input_size is None:
            return preprocessing
        size = self.input_size
        scale = size / min(preprocessing.crop_size)
        resize = preprocessing.resize_size
        return dataclasses.replace(
            preprocessing,
            crop_size=(size, size),
            resize_size=round(resize * scale)
            if isinstance(resize, int)
            else (round(resize[0] * scale), round(resize[1] * scale)),
        )


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one image, ready for the classifier.

    Attributes
    ----------
    inputs : Tensor of float32, shape (V, 3, h, w)
        Normalised; on the CPU.
    geometries : tuple of V Geometry
    """

    inputs: Tensor
    geometries: tuple[Geometry, ...]


def make_views(
    image: NDArray[np.uint8],
    preprocessing: Preprocessing,
    kind: ViewKind | ViewOptions = "full",
) -> Views:
    """Cut an image into the classifier's inputs.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    preprocessing : Preprocessing
    kind : {'full', 'centre', 'ten_crop'} or ViewOptions

    Returns
    -------
    Views
        One view, or ten.
    """
    import torch

    if isinstance(kind, ViewOptions):
        preprocessing, kind = kind.adapted(preprocessing), kind.kind
    height, width = image.shape[:2]
    geometries = view_geometries((height, width), preprocessing, kind)
    inputs = [preprocessing.normalise(crop) for crop in _cut(image, geometries, preprocessing)]
    return Views(torch.stack(inputs), geometries)


def view_geometries(
    image_size: tuple[int, int], preprocessing: Preprocessing, kind: ViewKind = "full"
) -> tuple[Geometry, ...]:
    """Geometries of an image's views, without the image."""
    resize, crop = preprocessing.resize_size, preprocessing.crop_size
    if kind == "full":
        return (Geometry.full(image_size, crop),)
    if kind == "centre":
        if isinstance(resize, int):
            return (Geometry.centre(image_size, resize, crop),)
        top, left = round((resize[0] - crop[0]) / 2), round((resize[1] - crop[1]) / 2)
        return (Geometry(image_size, resize, (top, left, *crop)),)
    if kind == "ten_crop":
        side = resize if isinstance(resize, int) else min(resize)
        return Geometry.ten_crop(image_size, side, crop)
    raise ValueError(f"there is no view kind {kind!r}. {choices_hint(kind, get_args(ViewKind))}")


def _cut(
    image: NDArray[np.uint8], geometries: Sequence[Geometry], preprocessing: Preprocessing
) -> list[NDArray[np.uint8]]:
    """Cut the views of an image, resized once for all views that share the size."""
    resized: dict[tuple[int, int], NDArray[np.uint8]] = {}
    crops = []
    for geometry in geometries:
        size = geometry.resized_size
        if size not in resized:
            whole = Geometry.full(geometry.image_size, size)
            resized[size] = whole.to_input(image, interpolation=preprocessing.interpolation)
        crops.append(dataclasses.replace(geometry, image_size=size).to_input(resized[size]))
    return crops
