"""Outlines, colors and parts from which the demo's objects are put together.

Outlines are (N, 2) arrays of ``(x, y)`` in the object's own coordinates: x to the right, y down,
the object roughly within -1 to 1. A part is one or several closed outlines of one paint; where
outlines of one part overlap, the even-odd rule makes holes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outline = NDArray[np.float64]
Color = tuple[float, float, float]

DARK: Color = (32.0, 30.0, 34.0)
"""Nearly black: tires, pupils, antennae."""


@dataclass(frozen=True)
class Paint:
    """How a part is colored."""

    color: Color
    second: Color = (0.0, 0.0, 0.0)
    """RGB in 0 to 255; `second` is the pattern's other color."""
    pattern: str = "plain"
    """One of ``plain``, ``stripes``, ``dots``, ``checks``, ``bricks``. Drawn in the object's own
    coordinates, so that it turns with the object."""
    period: float = 0.2
    """Period of the pattern, in the object's units."""
    angle: float = 0.0
    """Angle of the pattern, in radians."""
    relief: float = 1.0
    """Strength of the shading that makes a part look raised, >= 0."""


@dataclass(frozen=True)
class Part:
    """Closed outlines of one paint; later parts of an object cover earlier ones."""

    outlines: tuple[Outline, ...]
    paint: Paint


def part(paint: Paint | Color, *outlines: ArrayLike) -> Part:
    """Part of one paint, or of one plain color, from its outlines."""
    if not isinstance(paint, Paint):
        paint = Paint(paint)
    return Part(tuple(np.asarray(outline, dtype=np.float64) for outline in outlines), paint)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """RGB in 0 to 255 of a hue (any number, period 1), saturation and value in 0 to 1."""
    limited = [min(max(number, 0.0), 1.0) for number in (saturation, value)]
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, *limited)
    return (255 * red, 255 * green, 255 * blue)


def darker(color: Color, share: float = 0.6) -> Color:
    """Return a color with each channel multiplied by `share`."""
    red, green, blue = color
    return (red * share, green * share, blue * share)


def lighter(color: Color, share: float = 0.5) -> Color:
    """Return a color moved toward white by `share` of the way."""
    red, green, blue = color
    return (red + (255 - red) * share, green + (255 - green) * share, blue + (255 - blue) * share)


def arc(
    center: tuple[float, float],
    radii: tuple[float, float],
    start: float = 0.0,
    end: float = 2 * np.pi,
    *,
    count: int = 40,
) -> Outline:
    """Points of an ellipse's arc from one angle to another (radians, clockwise on the screen)."""
    angles = np.linspace(start, end, count)
    return np.stack(
        [center[0] + radii[0] * np.cos(angles), center[1] + radii[1] * np.sin(angles)], axis=1
    )


def ellipse(
    center: tuple[float, float], radii: tuple[float, float], *, angle: float = 0.0, count: int = 40
) -> Outline:
    """Outline of an ellipse turned by `angle` radians."""
    outline: Outline = _turn(arc((0.0, 0.0), radii, count=count), angle) + np.asarray(center)
    return outline


def box_outline(x0: float, y0: float, x1: float, y1: float, *, radius: float = 0.0) -> Outline:
    """Outline of a rectangle with rounded corners."""
    if radius <= 0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    radius = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    centers = [
        (x1 - radius, y0 + radius),
        (x1 - radius, y1 - radius),
        (x0 + radius, y1 - radius),
        (x0 + radius, y0 + radius),
    ]
    quarter = np.pi / 2
    corners = [
        arc(center, (radius, radius), (turn - 1) * quarter, turn * quarter, count=7)
        for turn, center in enumerate(centers)
    ]
    return np.concatenate(corners)


def polar(radii: NDArray[np.float64], *, angle: float = 0.0) -> Outline:
    """Outline from its distances to the origin at evenly spaced angles."""
    angles = np.arange(len(radii)) * (2 * np.pi / len(radii)) + angle
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def smooth(points: ArrayLike, *, steps: int = 8) -> Outline:
    """Return the closed Catmull-Rom curve through points, `steps` points from one to the next."""
    p1 = np.asarray(points, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    ) / 2
    return np.asarray(curve.reshape(-1, 2))


def stroke(points: ArrayLike, widths: float | Sequence[float]) -> Outline:
    """Outline of a line drawn with a pen whose width may change along it.

    Parameters
    ----------
    points : array_like, shape (N, 2)
        The line, N >= 2.
    widths : float or sequence of float
        The pen's width; a sequence is spread evenly over the points.
    """
    line = np.asarray(points, dtype=np.float64)
    given = np.atleast_1d(np.asarray(widths, dtype=np.float64))
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(given)), given)
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1) * (width / 2)[:, None]
    return np.concatenate([line + normal, (line - normal)[::-1]])


def _turn(points: Outline, angle: float) -> Outline:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]))


def vivid(rng: np.random.Generator, hue: float | None = None, spread: float = 0.05) -> Color:
    """Pick a strong color: of any hue, or near one."""
    center = rng.random() if hue is None else hue + rng.normal(0, spread)
    return hsv(center, rng.uniform(0.35, 0.9), rng.uniform(0.45, 0.98))


def pale(rng: np.random.Generator) -> Color:
    """Pick a warm white."""
    return hsv(rng.uniform(0.02, 0.17), rng.uniform(0.02, 0.3), rng.uniform(0.75, 1.0))


def metal(rng: np.random.Generator) -> Color:
    """Pick the color of brass, steel or copper."""
    hue, saturation = ((0.12, 0.55), (0.6, 0.08), (0.06, 0.6))[rng.integers(3)]
    return hsv(hue, saturation * rng.uniform(0.7, 1.3), rng.uniform(0.5, 0.92))


def patterned(rng: np.random.Generator, color: Color, second: Color, period: float) -> Paint:
    """Paint of two colors with a pattern, or plain."""
    pattern = str(rng.choice(["plain", "stripes", "dots", "checks"], p=[0.4, 0.25, 0.25, 0.1]))
    angle = float(rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]))
    return Paint(color, second, pattern, period * rng.uniform(0.7, 1.4), angle)
