"""The natural objects of the demo: fish, starfish, butterfly, tree and mushroom.

Each function draws a new one, as parts in its own coordinates (see
`wsl.demo.shapes`); which way it is turned and how large it is comes later.
"""

from __future__ import annotations

import numpy as np

from wsl.demo.shapes import (
    DARK,
    Color,
    Outline,
    Paint,
    Part,
    arc,
    darker,
    ellipse,
    hsv,
    lighter,
    pale,
    part,
    patterned,
    polar,
    smooth,
    stroke,
    vivid,
)


def fish(rng: np.random.Generator) -> list[Part]:
    """Draw a fish, from its left side."""
    color, fins = vivid(rng), vivid(rng)
    tall = rng.uniform(0.26, 0.55)
    tail = rng.uniform(0.3, 0.5)
    bend = rng.uniform(-0.12, 0.12)
    back_line = [(-0.9, 0), (-0.6, -0.75 * tall), (-0.1, -tall), (0.4, -0.55 * tall)]
    belly = [(0.4, 0.6 * tall), (-0.1, 0.95 * tall), (-0.6, 0.7 * tall)]
    body = smooth([*back_line, (0.72, -0.13 + bend), (0.72, 0.13 + bend), *belly])
    notch = rng.uniform(0.05, 0.22)
    fork = [(0.62, bend), (0.9, bend - 0.6 * tail), (1.18, bend - tail), (1.15 - notch, bend)]
    fork += [(1.18, bend + tail), (0.9, bend + 0.6 * tail)]
    rise, back = rng.uniform(0.2, 0.45), rng.uniform(0.1, 0.5)
    dorsal = [(-0.35, -0.8 * tall), (-0.05, -tall - rise), (back, -tall - 0.7 * rise)]
    dorsal += [(0.5, -0.4 * tall), (0.1, -0.5 * tall)]
    ventral = [(0.0, 0.7 * tall), (0.12, tall + 0.7 * rise), (0.36, tall + 0.5 * rise)]
    ventral += [(0.4, 0.4 * tall)]
    edge = Paint(fins, darker(fins, 0.65), "stripes", rng.uniform(0.1, 0.16), rng.uniform(0.4, 1.2))
    skin = patterned(rng, color, vivid(rng), 0.26)
    eye = (-0.62 + rng.uniform(-0.03, 0.05), -0.22 * tall)
    size = rng.uniform(0.07, 0.11)
    flap = smooth([(-0.28, 0.05), (0.0, 0.0), (0.16, 0.14), (0.08, 0.3), (-0.12, 0.24)])
    gill = arc((-0.62, 0.02), (0.24, 0.6 * tall), -0.9, 0.9, count=14)
    mouth = [(-0.88, 0.05), (-0.78, 0.1), (-0.7, 0.09)]
    return [
        part(edge, smooth(fork, steps=5)),
        part(edge, smooth(dorsal)),
        part(edge, smooth(ventral)),
        part(skin, body),
        part(darker(color, 0.55), stroke(gill, [0.02, 0.05, 0.02])),
        part(darker(color, 0.5), stroke(mouth, 0.035)),
        part(fins, flap),
        part(Paint((245.0, 245.0, 238.0), relief=0.5), ellipse(eye, (size, size))),
        part(DARK, ellipse((eye[0] - 0.02, eye[1]), (0.55 * size, 0.55 * size))),
    ]


def starfish(rng: np.random.Generator) -> list[Part]:
    """Draw a starfish with five or six arms."""
    hue = float(rng.choice([0.03, 0.08, 0.95, 0.6, 0.8]))
    color = vivid(rng, hue)
    arms = 5 if rng.random() < 0.85 else 6
    waist, sharp = rng.uniform(0.28, 0.42), rng.uniform(1.0, 2.2)
    angles = np.arange(120) * (2 * np.pi / 120)
    lengths = rng.uniform(0.85, 1.08, arms)
    wave = (0.5 + 0.5 * np.cos(arms * angles)) ** sharp
    which = np.round(angles / (2 * np.pi) * arms).astype(int) % arms
    outline = polar(waist + (lengths[which] - waist) * wave)
    bend = rng.uniform(-0.35, 0.35)
    outline = _twist(outline, bend)
    skin = Paint(color, darker(color, 0.72), "dots", rng.uniform(0.1, 0.16), rng.uniform(0, 1.5))
    bumps = lighter(color, rng.uniform(0.35, 0.7))
    parts = [part(Paint(darker(color, 0.7), relief=0.4), outline), part(skin, outline * 0.9)]
    for arm in range(arms):
        turn = arm * 2 * np.pi / arms
        rows = np.linspace(0.16, 0.8 * lengths[arm], int(rng.integers(4, 7)))
        for far in rows:
            spot = _twist(np.array([[far * np.cos(turn), far * np.sin(turn)]]), bend)[0]
            size = 0.065 * (1.15 - far)
            parts.append(part(bumps, ellipse((spot[0], spot[1]), (size, size), count=12)))
    parts.append(part(bumps, ellipse((0, 0), (0.09, 0.09), count=16)))
    return parts


def _twist(points: Outline, amount: float) -> Outline:
    """Turn points about the origin, the farther out the more."""
    far = np.linalg.norm(points, axis=1)
    turn = np.arctan2(points[:, 1], points[:, 0]) + amount * far**2
    return np.stack([far * np.cos(turn), far * np.sin(turn)], axis=1)


def butterfly(rng: np.random.Generator) -> list[Part]:
    """Draw a butterfly with its wings spread."""
    color, other = vivid(rng), vivid(rng)
    edge = darker(color, rng.uniform(0.2, 0.55))
    open_ = rng.uniform(0.7, 1.0)  # how far the wings are spread
    reach, rise = rng.uniform(0.8, 1.05), rng.uniform(0.6, 0.85)
    lobe, drop = rng.uniform(0.5, 0.75), rng.uniform(0.55, 0.85)
    fore = smooth(
        [
            (0.03, -0.1),
            (0.3, -0.55 * rise),
            (0.7 * reach, -rise),
            (reach, -0.75 * rise),
            (0.85 * reach, -0.25),
            (0.35, 0.08),
        ]
    )
    hind = smooth(
        [
            (0.03, 0.0),
            (0.4, -0.02),
            (lobe, 0.25),
            (0.8 * lobe, 0.8 * drop),
            (0.45 * lobe, drop),
            (0.12, 0.4),
        ]
    )
    skin = patterned(rng, color, darker(color, 0.7), 0.2)
    eyes = [(rng.uniform(0.5, 0.72) * reach, -0.58 * rise, rng.uniform(0.09, 0.16))]
    eyes += [(0.6 * lobe, 0.5 * drop, rng.uniform(0.07, 0.13))]
    parts = []
    for side in (-1.0, 1.0):
        mirror = np.array([side * open_, 1.0])
        for wing, paint in ((hind, Paint(darker(other, 0.9))), (fore, skin)):
            middle = wing.mean(axis=0)
            parts.append(part(Paint(edge, relief=0.4), wing * mirror))
            parts.append(part(paint, (middle + (wing - middle) * 0.82) * mirror))
        for x, y, size in eyes:
            for share, tone in ((1.0, edge), (0.7, lighter(other, 0.4)), (0.3, DARK)):
                spot = ellipse((x, y), (share * size, share * size), count=18)
                parts.append(part(tone, spot * mirror))
        feeler = [(0.02, -0.35), (0.1, -0.6), (0.22, -0.78), (0.3, -0.8)]
        parts.append(part(DARK, stroke(np.array(feeler) * (side, 1), [0.03, 0.03, 0.06])))
    torso = darker(vivid(rng, 0.08), 0.5)
    parts.append(
        part(
            Paint(torso, lighter(torso, 0.3), "stripes", 0.14, np.pi / 2),
            ellipse((0, 0.1), (0.07, 0.45)),
        )
    )
    parts.append(part(torso, ellipse((0, -0.36), (0.085, 0.09))))
    return parts


def tree(rng: np.random.Generator) -> list[Part]:
    """Draw a conifer, or a tree with a round crown."""
    hue = float(rng.choice([0.3, 0.25, 0.08, 0.14, 0.92], p=[0.4, 0.25, 0.12, 0.13, 0.1]))
    leaves = hsv(hue + rng.normal(0, 0.03), rng.uniform(0.35, 0.85), rng.uniform(0.3, 0.85))
    bark = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.55))
    thick, lean = rng.uniform(0.08, 0.16), rng.uniform(-0.12, 0.12)
    trunk = stroke([(0, 0.95), (0.3 * lean, 0.4), (lean, -0.2)], [2.4 * thick, 1.4 * thick, thick])
    wood = Paint(bark, darker(bark, 0.7), "stripes", 0.09, 0.15)
    if rng.random() < 0.35:
        return [part(wood, trunk), *_conifer_crown(rng, leaves, lean)]
    parts = [part(wood, trunk)]
    for side in (-1, 1):
        tip = (lean + side * rng.uniform(0.3, 0.45), rng.uniform(-0.2, 0.0))
        fork = [(0.5 * lean, rng.uniform(0.25, 0.4)), tip]
        parts.append(part(wood, stroke(fork, [0.9 * thick, 0.4 * thick])))
    broad, tall = rng.uniform(0.5, 0.75), rng.uniform(0.42, 0.6)
    center = np.array([lean, -0.35])
    count = int(rng.integers(6, 10))
    turns = np.arange(count) * (2 * np.pi / count) + rng.uniform(0, 1)
    for turn in rng.permutation(turns):
        place = center + 0.62 * np.array([broad * np.cos(turn), tall * np.sin(turn)])
        tone = darker(leaves, rng.uniform(0.72, 1.05))
        parts.append(_foliage(rng, (place[0], place[1]), rng.uniform(0.5, 0.62) * tall, tone))
    parts.append(_foliage(rng, (center[0], center[1] - 0.05), 0.7 * tall, lighter(leaves, 0.12)))
    if rng.random() < 0.4:
        fruit = vivid(rng, 0.0, 0.06)
        for _ in range(int(rng.integers(5, 12))):
            turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.85)
            spot = (center[0] + broad * far * np.cos(turn), center[1] + tall * far * np.sin(turn))
            parts.append(part(fruit, ellipse(spot, (0.055, 0.055), count=14)))
    return parts


def _foliage(
    rng: np.random.Generator, center: tuple[float, float], radius: float, color: Color
) -> Part:
    rough = radius * rng.uniform(0.88, 1.1, 13)
    paint = Paint(color, darker(color, 0.75), "dots", rng.uniform(0.1, 0.16), rng.uniform(0, 1.5))
    return part(paint, smooth(polar(rough), steps=4) + np.asarray(center))


def _conifer_crown(rng: np.random.Generator, leaves: Color, lean: float) -> list[Part]:
    tiers, width = int(rng.integers(3, 6)), rng.uniform(0.45, 0.68)
    top, bottom = -1.0, rng.uniform(0.4, 0.6)
    parts = []
    for tier in range(tiers, 0, -1):
        share = tier / tiers
        low = top + (bottom - top) * share
        high = low - (bottom - top) / tiers * rng.uniform(1.4, 1.7)
        half = width * (0.25 + 0.75 * share)
        teeth = np.linspace(1, -1, 2 * tiers + 1)
        hem = [
            (half * x, low - (0.07 if i % 2 else 0.0) - 0.08 * abs(x)) for i, x in enumerate(teeth)
        ]
        tone = darker(leaves, 0.75 + 0.25 * (1 - share))
        paint = Paint(tone, darker(tone, 0.78), "stripes", 0.11, rng.uniform(-0.4, 0.4))
        tier_outline = np.array([(0, max(high, -1.02)), *hem])
        parts.append(part(paint, np.add(tier_outline, (lean * (1 - share), 0))))
    return parts


def mushroom(rng: np.random.Generator) -> list[Part]:
    """Draw a mushroom."""
    hue = float(rng.choice([0.0, 0.07, 0.1, 0.55, 0.8], p=[0.4, 0.2, 0.2, 0.1, 0.1]))
    color, flesh = vivid(rng, hue, 0.03), pale(rng)
    half, tall = rng.uniform(0.65, 0.95), rng.uniform(0.5, 0.8)
    lean, thick = rng.uniform(-0.12, 0.12), rng.uniform(0.15, 0.27)
    stem = stroke(
        [(lean, -0.1), (0.6 * lean, 0.3), (0, 0.7), (0, 0.95)],
        [1.5 * thick, 1.6 * thick, 2 * thick, 2.3 * thick],
    )
    droop = rng.uniform(0.1, 0.2)
    rim = arc((0, 0), (half, droop), 0, np.pi)
    dome = np.concatenate([rim, arc((0, 0), (half, tall), np.pi, 2 * np.pi)])
    cap = np.add(dome, (lean, -0.15))
    gills = ellipse((lean, -0.13 + 0.35 * droop), (0.92 * half, 0.75 * droop))
    under = Paint(darker(flesh, 0.8), darker(flesh, 0.5), "stripes", 0.07, relief=-0.4)
    parts = [part(Paint(flesh, darker(flesh, 0.88), "stripes", 0.12), stem)]
    if rng.random() < 0.5:
        right = [(1.2 * thick, 0.22), (1.4 * thick, 0.36)]
        left = [(-1.4 * thick, 0.36), (-1.2 * thick, 0.22)]
        skirt = np.add(smooth([*left, (0, 0.14), *right, (0, 0.42)]), (0.6 * lean, 0))
        parts.append(part(lighter(flesh, 0.3), skirt))
    parts.append(part(Paint(color, relief=1.3), cap))
    parts.append(part(under, gills))
    spots = lighter(color, 0.75) if rng.random() < 0.8 else darker(color, 0.6)
    for _ in range(int(rng.integers(0, 9)) + 2 * (hue == 0.0)):
        turn, far = rng.uniform(np.pi + 0.2, 2 * np.pi - 0.2), rng.uniform(0.3, 0.82)
        place = (lean + half * far * np.cos(turn), -0.15 + tall * far * np.sin(turn))
        size = rng.uniform(0.05, 0.12) * (1.1 - 0.4 * far)
        parts.append(part(spots, ellipse(place, (size, 0.8 * size), count=16)))
    return parts
