"""The demo's dataset: drawn pictures of ten classes of objects, with exact masks and boxes.

Every picture follows from a seed and its number alone, so that a dataset needs no download and
can be of any size. The objects vary in build, colors, pose and size, lie on textured
and cluttered grounds, and are sometimes cut by the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.demo.backgrounds import add_clutter, background
from wsl.demo.objects import OBJECTS
from wsl.demo.render import Layer, paint_layer, render
from wsl.demo.shapes import Part
from wsl.masks import Mask, mask_to_box

CATEGORIES = Categories(
    tuple(OBJECTS), tuple(f"n{90000001 + number}" for number in range(len(OBJECTS)))
)
"""Names and made-up ids, in the shape of ImageNet's WNIDs, in the order of the class numbers."""

DEMO_SEED = 0
"""Seed of the pictures that the demo shows; the bundled classifier never saw one of them."""

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Composition:
    """What the pictures of a dataset are like; the default is the demo's."""

    sides: tuple[int, int] = (160, 500)
    """Least and greatest width and height, in pixels."""
    shares: tuple[float, float] = (0.15, 0.75)
    """Least and greatest size of an object that is alone: the larger of its box's width and height,
    each as a share of the image's. Of several objects each is smaller."""
    clutter: int = 8
    """Maximum number of distractors, shapes of no class."""
    counts: tuple[float, ...] = (0.76, 0.16, 0.08)
    """Probabilities of one, two, … objects; they sum to 1."""
    cut: float = 0.15
    """Probability that the border cuts an object."""


DEMO_COMPOSITION = Composition()


@dataclass(frozen=True)
class DrawnImage:
    """One drawn picture and the truth about it."""

    image: NDArray[np.uint8]
    """Shape (H, W, 3). RGB."""
    label: int
    """Class of all its objects, an index into `CATEGORIES`."""
    masks: tuple[Mask, ...]
    """Shape (H, W). One per object, the hindmost first; they do not overlap. A pixel belongs to the
    object of which at least half of it is seen."""
    boxes: tuple[Box, ...]
    """The tightest half-open box of each mask."""


def draw_image(index: int, *, seed: int, composition: Composition = DEMO_COMPOSITION) -> DrawnImage:
    """Draw one picture of the dataset.

    The same arguments give the same picture, whatever was drawn before. Any ten pictures from one
    whose number is a multiple of ten on show each class once.

    Parameters
    ----------
    index : int
        The picture's number, >= 0.
    seed : int
        The dataset's, >= 0.
    composition : Composition

    Raises
    ------
    ValueError
        If `index` or `seed` is negative.
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be >= 0, but got {index} and {seed}")
    label = _label(index, seed)
    rng = np.random.default_rng([seed, index])
    size = _image_size(rng, composition.sides)
    turn = rng.uniform(0, 2 * np.pi)
    light = (float(np.cos(turn)), float(np.sin(turn)))
    image = background(rng, size)
    add_clutter(rng, image, light=light, amount=int(rng.integers(composition.clutter + 1)))
    layers = _objects(rng, size, label, light, composition)
    for layer in layers:
        _paint_object(rng, image, layer, light)
    masks = tuple(mask for mask in _visible_masks(layers, size) if mask.any())
    boxes = tuple(box for mask in masks if (box := mask_to_box(mask)) is not None)
    return DrawnImage(_exposed(rng, image, light), label, masks, boxes)


def _label(index: int, seed: int) -> int:
    """Class of a picture: each block of ten has each class once, in random order."""
    block, place = divmod(index, len(OBJECTS))
    # The third number sets these draws apart from those of the pictures.
    return int(np.random.default_rng([seed, block, 1]).permutation(len(OBJECTS))[place])


def _image_size(rng: np.random.Generator, sides: tuple[int, int]) -> tuple[int, int]:
    """(height, width): of an aspect ratio up to 8 : 5, landscape or portrait."""
    low, high = sides
    aspect = min(1.6, high / low) ** rng.uniform(-1, 1)  # width / height
    longest = rng.uniform(low * max(aspect, 1 / aspect), high)
    height, width = longest * min(1, 1 / aspect), longest * min(1, aspect)
    return max(low, round(height)), max(low, round(width))


def _objects(
    rng: np.random.Generator,
    size: tuple[int, int],
    label: int,
    light: tuple[float, float],
    composition: Composition,
) -> list[Layer]:
    """Draw the objects of a picture from back to front; they hardly overlap."""
    make, tilt = list(OBJECTS.values())[label]
    wanted = 1 + int(rng.choice(len(composition.counts), p=composition.counts))
    # The more objects, the smaller; of one alone, large sizes are somewhat more frequent.
    low, high = composition.shares[0], composition.shares[1] / wanted**0.6
    shares = low + (high - low) * rng.random(wanted) ** 0.65
    taken: list[Box] = []
    layers = []
    for share in shares:
        parts = make(rng)
        texture = rng.uniform(0.02, 0.3)
        for _ in range(12):
            matrix, box = _place(rng, parts, size, share=share, tilt=tilt, cut=composition.cut)
            if not any(_overlap(box, other) > 0.05 for other in taken):
                layer = render(parts, matrix, size, light=light, texture=texture, rng=rng)
                if layer is not None:
                    taken.append(box)
                    layers.append(layer)
                break
    return layers


def _place(
    rng: np.random.Generator,
    parts: list[Part],
    size: tuple[int, int],
    *,
    share: float,
    tilt: float,
    cut: float,
) -> tuple[NDArray[np.float64], Box]:
    """Turn, stretch, scale and move an object: the 2 x 3 matrix and the box, border or not.

    `share` is the larger of the box's width and height, each as a share of the image's.
    """
    turn = rng.uniform(-tilt, tilt) if tilt > 1 else np.clip(rng.normal(0, tilt / 2), -tilt, tilt)
    stretch = rng.uniform(0.85, 1.18)
    lean, mirror = rng.uniform(-0.12, 0.12), rng.choice([-1.0, 1.0])
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = turned @ np.array([[mirror * stretch, lean], [0, 1 / stretch]])
    points = np.concatenate([o for each in parts for o in each.outlines]) @ linear.T
    low, high = points.min(axis=0), points.max(axis=0)
    whole = np.array(size[::-1], dtype=np.float64)
    scale = share / ((high - low) / whole).max()
    extent = scale * (high - low)
    corner = rng.random(2) * (whole - extent)
    if rng.random() < cut:  # by one border
        axis = int(rng.integers(2))
        hidden = rng.uniform(0.05, 0.35) * extent[axis]
        corner[axis] = -hidden if rng.random() < 0.5 else whole[axis] - extent[axis] + hidden
    matrix = np.column_stack([scale * linear, corner - scale * low])
    (x0, y0), (x1, y1) = corner.tolist(), (corner + extent).tolist()
    return matrix, (x0, y0, x1, y1)


def _overlap(first: Box, second: Box) -> float:
    """Area that two boxes share, as a share of the smaller one's."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
    return max(width, 0.0) * max(height, 0.0) / smaller


def _paint_object(
    rng: np.random.Generator, image: Field, layer: Layer, light: tuple[float, float]
) -> None:
    """Lay an object on the picture with the shadow that it casts away from the light."""
    far = rng.uniform(0.01, 0.05) * max(layer.coverage.shape)
    offset = (round(-light[0] * far), round(-light[1] * far))
    paint_layer(image, layer, shadow=max(0.0, rng.uniform(-0.2, 0.55)), offset=offset)


def _visible_masks(layers: list[Layer], size: tuple[int, int]) -> list[Mask]:
    """Mask of what is seen of each object under those in front of it."""
    masks = []
    unhidden = np.ones(size, dtype=np.float32)
    for layer in reversed(layers):
        mask = np.zeros(size, dtype=bool)
        seen = unhidden[layer.window]
        mask[layer.window] = layer.coverage * seen >= 0.5
        seen *= 1 - layer.coverage
        masks.append(mask)
    return masks[::-1]


def _exposed(
    rng: np.random.Generator, image: Field, light: tuple[float, float]
) -> NDArray[np.uint8]:
    """Light falling off across the picture, exposure, and the sensor's noise."""
    height, width = image.shape[1:]
    slope = np.float32(rng.uniform(0, 0.25))
    xs = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(light[0])
    ys = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(light[1])
    gain = (1 + slope * (xs[None, :] + ys[:, None])) * np.float32(rng.uniform(0.8, 1.12))
    grain = rng.standard_normal((height, width), dtype=np.float32)
    grain *= np.float32(rng.uniform(0.5, 6))
    lit = np.clip(image * gain + grain + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(lit.transpose(1, 2, 0))
