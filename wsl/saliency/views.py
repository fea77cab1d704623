"""The views of an image that a classifier sees: the whole, the center, or ten crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from wsl.config.options import Options
from wsl.data.geometry import Geometry
from wsl.errors import choices_hint

if TYPE_CHECKING:
    from torch import Tensor

    from wsl.models.preprocessing import Preprocessing

ViewKind = Literal["squash", "center_crop", "ten_crop"]
InputSize = PositiveInt | Annotated[str, Field(pattern=r"^\d+(\.\d+)?x$")]


class ViewOptions(Options):
    """Which views of each image the classifier sees."""

    kind: ViewKind = "squash"
    """``squash``: the whole image squeezed to the input's size. ``center_crop``: the weights' own
    resize and center crop. ``ten_crop``: the shorter side resized, then the four corners and the
    center, each also reflected; their maps are averaged (Simonyan et al. 2013)."""

    flip: bool = False
    """Add the reflection of each view; ``ten_crop`` has the reflections already."""

    input_sizes: tuple[InputSize, ...] = ()
    """Sides of the square inputs, each with all the views; none: the weights' own. Pixels, or
    multiples of the weights' own side such as ``1.43x``, to a multiple of 8 pixels. Classes are
    chosen once, from the scores averaged over all of them; so are the maps. The resize size keeps
    its ratio to the side. Sizes that a network does not take are left out."""

    classify_at: Literal["input_sizes", "default_size"] = "input_sizes"
    """Inputs that classes are chosen and ranked from: the maps' own, or the same views at the
    weights' own size, at which most networks are most accurate. That takes one more forward pass
    unless it is one of `input_sizes`."""

    @model_validator(mode="after")
    def _no_contradiction(self) -> ViewOptions:
        if self.flip and self.kind == "ten_crop":
            raise ValueError("flip must not be set for ten_crop, which has the reflections already")
        if len(set(self.input_sizes)) < len(self.input_sizes):
            raise ValueError(f"input_sizes must differ, but are {list(self.input_sizes)}")
        if self.classify_at == "default_size" and not self.input_sizes:
            raise ValueError(
                "classify_at: default_size needs input_sizes: without them the maps' inputs have "
                "the weights' own size already"
            )
        return self

    @property
    def count(self) -> int:
        """Number of views of each image."""
        kinds = 10 if self.kind == "ten_crop" else 1
        return kinds * (2 if self.flip else 1) * max(1, len(self.input_sizes))

    def sides(self, preprocessing: Preprocessing) -> tuple[int, ...]:
        """Resolve `input_sizes` to pixels."""
        own = min(preprocessing.crop_size)
        sides = []
        for size in self.input_sizes:
            if isinstance(size, str):
                factor = float(size.removesuffix("x"))
                size = own if factor == 1 else max(8, 8 * round(own * factor / 8))
            sides.append(size)
        return tuple(dict.fromkeys(sides))


def resized_preprocessing(preprocessing: Preprocessing, side: int) -> Preprocessing:
    """Preprocessing for square inputs of another size."""
    scale = side / min(preprocessing.crop_size)
    resize = preprocessing.resize_size
    return dataclasses.replace(
        preprocessing,
        crop_size=(side, side),
        resize_size=round(resize * scale)
        if isinstance(resize, int)
        else (round(resize[0] * scale), round(resize[1] * scale)),
    )


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one image, ready for the classifier."""

    groups: tuple[Tensor, ...]
    """Shape (V, 3, h, w). The views of one input size each; normalized, on the CPU. One group,
    unless several input_sizes were asked for."""
    geometries: tuple[Geometry, ...]
    """One per view, in the order of the groups."""
    for_classes: Tensor | None = None
    """Shape (V, 3, h, w). What classes are chosen from, where that is not all groups: one of them,
    or other inputs."""
    members: tuple[Views, ...] = ()
    """Those of each classifier of an average, which together are `groups`; none of a single one."""

    @classmethod
    def of_members(cls, members: Sequence[Views]) -> Views:
        """Join the views of an image by the classifiers of an average."""
        return cls(
            groups=tuple(group for own in members for group in own.groups),
            geometries=tuple(geometry for own in members for geometry in own.geometries),
            members=tuple(members),
        )

    @property
    def inputs(self) -> Tensor:
        """The views of an image at one scale: (V, 3, h, w).

        Raises
        ------
        ValueError
            If there are several input_sizes.
        """
        if len(self.groups) != 1:
            raise ValueError(f"the views must be of one size, but are of {len(self.groups)}")
        return self.groups[0]


def make_views(
    image: NDArray[np.uint8],
    preprocessing: Preprocessing,
    kind: ViewKind | ViewOptions = "squash",
) -> Views:
    """Cut an image into the classifier's inputs.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    preprocessing : Preprocessing
    kind : {'squash', 'center_crop', 'ten_crop'} or ViewOptions

    Returns
    -------
    Views
        As many views as the options count, scale by scale.
    """
    if not isinstance(kind, ViewOptions):
        kind = ViewOptions.model_construct(kind=kind)  # `view_geometries` names the near kinds
    options = kind
    groups: list[Tensor] = []
    geometries: tuple[Geometry, ...] = ()
    sizes = [resized_preprocessing(preprocessing, side) for side in options.sides(preprocessing)]
    for size in sizes or [preprocessing]:
        group, views = _group(image, size, options)
        groups.append(group)
        geometries += views
    for_classes = None
    if options.classify_at == "default_size":
        at = sizes.index(preprocessing) if preprocessing in sizes else None
        for_classes = _group(image, preprocessing, options)[0] if at is None else groups[at]
    return Views(tuple(groups), geometries, for_classes)


def _group(
    image: NDArray[np.uint8], preprocessing: Preprocessing, options: ViewOptions
) -> tuple[Tensor, tuple[Geometry, ...]]:
    """Cut the views of one input size: (V, 3, h, w)."""
    import torch

    size = (image.shape[0], image.shape[1])
    views = view_geometries(size, preprocessing, options.kind)
    if options.flip:
        views += tuple(dataclasses.replace(view, flipped=True) for view in views)
    crops = _cut(image, views, preprocessing)
    return torch.stack([preprocessing.normalize(crop) for crop in crops]), views


def view_geometries(
    image_size: tuple[int, int], preprocessing: Preprocessing, kind: ViewKind = "squash"
) -> tuple[Geometry, ...]:
    """Geometries of an image's views, without the image."""
    resize, crop = preprocessing.resize_size, preprocessing.crop_size
    if kind == "squash":
        return (Geometry.squash(image_size, crop),)
    if kind == "center_crop":
        if isinstance(resize, int):
            return (Geometry.center_crop(image_size, resize, crop),)
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
            whole = Geometry.squash(geometry.image_size, size)
            resized[size] = whole.to_input(image, interpolation=preprocessing.interpolation)
        crops.append(dataclasses.replace(geometry, image_size=size).to_input(resized[size]))
    return crops
