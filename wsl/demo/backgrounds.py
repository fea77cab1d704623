"""Backgrounds of the demo's pictures: textures of several kinds, and clutter."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from wsl.demo.render import noise, paint_layer, render
from wsl.demo.shapes import (
    Color,
    Outline,
    Paint,
    arc,
    box_outline,
    ellipse,
    hsv,
    part,
    polar,
    smooth,
    stroke,
)

Field = NDArray[np.float32]
Palette = NDArray[np.float32]


def background(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Draw a background of one of six kinds.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : (int, int)
        (height, width).

    Returns
    -------
    ndarray of float32, shape (3, H, W)
        RGB, about 0 to 255.
    """
    kinds = [_gradient, _clouds, _bands, _landscape, _tiles, _patches]
    kind = kinds[rng.integers(len(kinds))]
    ground = kind(rng, size, _palette(rng))
    strength = rng.uniform(0.02, 0.16)
    rough = noise(rng, size, rng.uniform(12, 40), octaves=3)
    ground *= 1 + np.float32(strength) * rough
    return ground


def add_clutter(
    rng: np.random.Generator, image: Field, *, light: tuple[float, float], amount: int
) -> None:
    """Lay blobs, lines and shapes of no class on a background, in place.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : ndarray of float32, shape (3, H, W)
        Changed in place.
    light : (float, float)
        Unit vector toward the light, as for the objects.
    amount : int
        How many things.
    """
    size = image.shape[1:]
    for _ in range(amount):
        outlines = _SHAPES[rng.integers(len(_SHAPES))](rng)
        scale = min(size) * rng.uniform(0.04, 0.2)
        turn = rng.uniform(0, 2 * np.pi)
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = linear @ np.diag([1.0, rng.uniform(0.5, 1.0)])
        center = rng.random(2) * size[::-1]
        color = hsv(rng.random(), rng.uniform(0, 0.9), rng.uniform(0.15, 1.0))
        layer = render(
            [part(_paint(rng, color), *outlines)],
            np.column_stack([linear, center]),
            size,
            light=light,
            texture=rng.uniform(0, 0.2),
            rng=rng,
        )
        if layer is not None:
            paint_layer(image, layer, shadow=rng.uniform(0, 0.4), offset=(2, 2))


def _paint(rng: np.random.Generator, color: Color) -> Paint:
    other = hsv(rng.random(), rng.uniform(0, 0.8), rng.uniform(0.2, 1.0))
    pattern = str(rng.choice(["plain", "stripes", "dots", "checks"], p=[0.55, 0.2, 0.15, 0.1]))
    return Paint(
        color, other, pattern, rng.uniform(0.3, 0.7), rng.uniform(0, 3), rng.uniform(0, 1.2)
    )


def _palette(rng: np.random.Generator) -> Palette:
    """Four colors of one background, (4, 3, 1, 1): mostly duller than the objects."""
    hue, spread = rng.random(), rng.choice([0.03, 0.08, 0.3])
    vivid = rng.uniform(0.05, 0.45) if rng.random() < 0.65 else rng.uniform(0.4, 0.85)
    bright, contrast = rng.uniform(0.3, 0.9), rng.uniform(0.04, 0.25)
    colors = [
        hsv(
            hue + rng.normal(0, spread),
            vivid * rng.uniform(0.6, 1.3),
            bright + contrast * rng.uniform(-1, 1),
        )
        for _ in range(4)
    ]
    return np.array(colors, dtype=np.float32)[:, :, None, None]


def _mix(first: Field, second: Field, share: Field) -> Field:
    """`first` where the share is 0, `second` where it is 1: pictures or colors (3, 1, 1)."""
    return np.asarray(first + (second - first) * share, dtype=np.float32)


def _gradient(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    corners = palette[rng.permutation(4), :, 0, 0].T.reshape(3, 2, 2)
    planes = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in corners]
    return np.asarray(planes, dtype=np.float32)


def _clouds(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    field = noise(rng, size, rng.uniform(2, 7), octaves=4)
    ground = _mix(palette[0], palette[1], np.clip(0.5 + 0.7 * field, 0, 1))
    veins = np.abs(noise(rng, size, rng.uniform(3, 8), octaves=2))
    return _mix(palette[2], ground, np.clip(veins * rng.uniform(2, 8), 0, 1))


def _bands(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    u, v = _turned(rng, size)
    warp = noise(rng, size, 4) * np.float32(rng.uniform(0, 2.5))
    period = rng.uniform(0.04, 0.25)
    wave = np.sin(u * np.float32(2 * np.pi / period) + warp)
    share = np.asarray(np.clip(0.5 + rng.uniform(0.5, 6) * wave, 0, 1), dtype=np.float32)
    drift = np.clip(0.5 + v, 0, 1)
    return _mix(_mix(palette[0], palette[2], drift), palette[1], share)


def _landscape(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    height, width = size
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    hill = noise(rng, (2, width), rng.uniform(2, 6), octaves=2)[:1] * np.float32(0.06)
    line = np.float32(rng.uniform(0.35, 0.75)) + hill
    below = np.clip((rows - line) * height, 0, 1)
    sky = _mix(palette[0], palette[1], np.broadcast_to(rows, size))
    grain = noise(rng, size, rng.uniform(15, 60), octaves=2)
    earth = _mix(palette[2], palette[3], np.clip(0.5 + 0.6 * grain, 0, 1))
    return _mix(sky, earth, below)


def _tiles(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    u, v = _turned(rng, size)
    period = rng.uniform(0.08, 0.3)
    column, row = np.floor(u / period), np.floor(v / (period * rng.uniform(0.5, 1.0)))
    if rng.random() < 0.5:
        share = np.mod(column + row, 2)
    else:  # each tile its own tone
        share = np.mod(np.sin(column * 12.9898 + row * 78.233) * 437.58, 1)
    joint = (np.abs(np.mod(u / period, 1) - 0.5) > 0.47).astype(np.float32)
    ground = _mix(palette[0], palette[1], share.astype(np.float32))
    return _mix(ground, palette[2], joint)


def _patches(rng: np.random.Generator, size: tuple[int, int], palette: Palette) -> Field:
    ground = palette[0]
    for color in palette[1:]:
        field = noise(rng, size, rng.uniform(4, 14), octaves=2)
        edge = np.clip((field - rng.uniform(0.0, 0.4)) * rng.uniform(3, 30), 0, 1)
        ground = _mix(ground, color, edge)
    return np.asarray(ground)


def _turned(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Field, Field]:
    """Coordinates along and across a random direction; the longer side is about 1."""
    height, width = size
    turn = rng.uniform(0, np.pi)
    xs = np.arange(width, dtype=np.float32) / max(size) - 0.5
    ys = np.arange(height, dtype=np.float32) / max(size) - 0.5
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = np.add.outer(ys * sine, xs * cosine)
    return along, np.subtract.outer(ys * cosine, xs * sine)


def _blob(rng: np.random.Generator) -> list[Outline]:
    return [smooth(polar(rng.uniform(0.5, 1.2, 9)), steps=6)]


def _disc(rng: np.random.Generator) -> list[Outline]:
    outer = ellipse((0, 0), (1, 1))
    return [outer, outer * rng.uniform(0.4, 0.8)] if rng.random() < 0.4 else [outer]


def _corners(rng: np.random.Generator) -> list[Outline]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
    return [np.stack([np.cos(angles), np.sin(angles)], axis=1)]


def _block(rng: np.random.Generator) -> list[Outline]:
    half = rng.uniform(0.25, 1.0)
    return [box_outline(-1, -half, 1, half, radius=rng.choice([0.0, 0.3]))]


def _cross(rng: np.random.Generator) -> list[Outline]:
    half = rng.uniform(0.15, 0.35)
    quarter = [(half, -1), (half, -half), (1, -half)]
    outline = [np.array(quarter, dtype=np.float64)]
    for _ in range(3):
        last = outline[-1]
        outline.append(np.stack([-last[:, 1], last[:, 0]], axis=1))
    return [np.concatenate(outline)]


def _crescent(rng: np.random.Generator) -> list[Outline]:
    outer = arc((0, 0), (1, 1), 0.3 * np.pi, 1.7 * np.pi)
    tip = outer[0]
    bite = arc((tip[0] + 0.1, 0), (rng.uniform(0.5, 0.95), tip[1]), 1.5 * np.pi, 0.5 * np.pi)
    return [np.concatenate([outer, bite])]


def _wire(rng: np.random.Generator) -> list[Outline]:
    xs = np.linspace(-3, 3, 30)
    line = np.stack([xs, rng.uniform(0, 0.8) * np.sin(xs * rng.uniform(0.5, 3))], axis=1)
    return [stroke(line, rng.uniform(0.08, 0.25))]


def _zigzag(rng: np.random.Generator) -> list[Outline]:
    count = int(rng.integers(4, 9))
    xs = np.linspace(-1.5, 1.5, count)
    line = np.stack([xs, 0.45 * (-1.0) ** np.arange(count)], axis=1)
    return [stroke(line, rng.uniform(0.12, 0.3))]


_SHAPES: tuple[Callable[[np.random.Generator], list[Outline]], ...] = (
    _blob,
    _disc,
    _corners,
    _block,
    _cross,
    _crescent,
    _wire,
    _wire,
    _zigzag,
)
