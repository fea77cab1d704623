"""The man-made objects of the demo: mug, house, car, umbrella and key.

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
    box_outline,
    darker,
    ellipse,
    hsv,
    lighter,
    metal,
    pale,
    part,
    patterned,
    polar,
    smooth,
    stroke,
    vivid,
)


def mug(rng: np.random.Generator) -> list[Part]:
    """Draw a mug, its handle to the right."""
    color = vivid(rng) if rng.random() < 0.75 else pale(rng)
    width, height = rng.uniform(0.5, 0.68), rng.uniform(0.5, 0.85)
    foot = width * rng.uniform(0.72, 1.02)
    depth = rng.uniform(0.1, 0.2)  # of the rim's ellipse: how far from above it is seen
    lower, upper = arc((0, height), (foot, depth), 0, np.pi), [(-width, -height), (width, -height)]
    body = patterned(rng, color, vivid(rng), 0.3)
    reach, tall = rng.uniform(0.3, 0.5), height * rng.uniform(0.45, 0.68)
    thick = rng.uniform(0.11, 0.17)
    middle = (0.5 * (width + foot), rng.uniform(-0.1, 0.1))
    handle = arc(middle, (reach, tall), -np.pi / 2, np.pi / 2)
    if rng.random() < 0.35:  # an angular one
        x, y = middle
        corners = [(x, y - tall), (x + 0.8 * reach, y - tall), (x + reach, y - 0.6 * tall)]
        corners += [(x + 0.9 * reach, y + 0.7 * tall), (x, y + tall)]
        handle = np.array(corners)
    drink = hsv(rng.uniform(0.03, 0.1), 0.7, rng.uniform(0.15, 0.5))
    rim = (0.0, -height)
    parts = [part(Paint(darker(color, 0.85)), stroke(handle, thick))]
    parts.append(part(body, np.concatenate([lower, upper])))
    if rng.random() < 0.4:
        low, high = sorted(rng.uniform(-0.6, 0.8, 2) * height)
        sides = [width + (foot - width) * (y + height) / (2 * height) for y in (low, high)]
        band = [
            arc((0, y), (side, depth), 0, np.pi) for y, side in zip((low, high), sides, strict=True)
        ]
        parts.append(part(vivid(rng), np.concatenate([band[0], band[1][::-1]])))
    parts.append(part(Paint(lighter(color, 0.35), relief=0.3), ellipse(rim, (width, depth))))
    inner = ellipse((0, rim[1] + 0.1 * depth), (width * 0.88, depth * 0.78))
    parts.append(part(Paint(darker(color, 0.55), relief=-0.6), inner))
    if rng.random() < 0.7:
        surface = ellipse((0, rim[1] + 0.3 * depth), (width * 0.78, depth * 0.56))
        parts.append(part(Paint(drink, relief=0.2), surface))
    return parts


def house(rng: np.random.Generator) -> list[Part]:
    """Draw the front of a house."""
    half, wall = rng.uniform(0.55, 0.85), rng.uniform(0.0, 0.15)
    wall_color = pale(rng) if rng.random() < 0.5 else vivid(rng)
    roof_color = vivid(rng, 0.02, 0.04) if rng.random() < 0.5 else vivid(rng)
    pattern = str(rng.choice(["plain", "bricks", "stripes"]))
    walls = Paint(
        wall_color,
        darker(wall_color, 0.72),
        pattern,
        0.12,
        np.pi / 2 * (pattern == "stripes"),
        0.5,
    )
    peak, over = wall - rng.uniform(0.45, 0.85), rng.uniform(0.05, 0.16)
    ridge = half * float(rng.choice([0.0, rng.uniform(0.3, 0.7)]))
    roof = [(-half - over, wall + 0.06), (-ridge, peak), (ridge, peak), (half + over, wall + 0.06)]
    tiles = Paint(
        roof_color,
        darker(roof_color, 0.75),
        str(rng.choice(["bricks", "stripes"])),
        0.11,
        0.0,
        0.6,
    )
    wood, glass = vivid(rng), hsv(rng.uniform(0.5, 0.65), 0.35, rng.uniform(0.35, 0.95))
    parts = []
    if rng.random() < 0.7:
        x = half * rng.uniform(0.3, 0.6) * float(rng.choice([-1, 1]))
        brick = darker(roof_color, 0.7)
        stack = box_outline(x - 0.09, peak - 0.05, x + 0.09, wall)
        parts += [
            part(brick, stack),
            part(darker(brick), box_outline(x - 0.12, peak - 0.1, x + 0.12, peak)),
        ]
    parts += [part(walls, box_outline(-half, wall, half, 0.9)), part(tiles, roof)]
    door = float(rng.choice([-0.5, 0.0, 0.5])) * half
    wide = rng.uniform(0.11, 0.16)
    parts.append(part(darker(wood), box_outline(door - wide - 0.03, 0.36, door + wide + 0.03, 0.9)))
    parts.append(part(wood, box_outline(door - wide, 0.4, door + wide, 0.9)))
    parts.append(
        part((230.0, 200.0, 90.0), ellipse((door + 0.6 * wide, 0.66), (0.025, 0.025), count=10))
    )
    places = [x * half for x in (-0.6, 0.0, 0.6) if abs(x * half - door) > 0.28]
    for x in places:
        parts += _window(x, rng.uniform(0.42, 0.46), glass)
    if ridge == 0 and rng.random() < 0.6:
        parts.append(part(glass, ellipse((0, (2 * wall + peak) / 3), (0.1, 0.1), count=20)))
    return parts


def _window(x: float, y: float, glass: Color) -> list[Part]:
    frame: Color = (240.0, 238.0, 230.0)
    half = 0.13
    panes = [
        box_outline(x + i * 0.115, y + j * 0.115, x + i * 0.115 + 0.1, y + j * 0.115 + 0.1)
        - (0.1075, 0.1075)
        for i in (0, 1)
        for j in (0, 1)
    ]
    return [
        part(Paint(frame, relief=0.3), box_outline(x - half, y - half, x + half, y + half)),
        part(Paint(glass, relief=0.6), *panes),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    """Draw a car that drives to the left."""
    color = vivid(rng) if rng.random() < 0.8 else hsv(0.6, 0.05, rng.uniform(0.2, 0.95))
    roof, waist, sill = -0.42 - rng.uniform(0, 0.12), rng.uniform(-0.1, -0.02), 0.3
    bonnet, boot = rng.uniform(-0.62, -0.42), rng.uniform(0.5, 0.92)
    front, rear = bonnet + rng.uniform(0.16, 0.32), boot - rng.uniform(0.05, 0.3)
    body = [(-1.0, sill), (-1.02, 0.05), (-0.95, waist + 0.06), (bonnet, waist), (boot, waist)]
    body += [(0.98, waist + 0.05), (1.02, 0.1), (1.0, sill)]
    cabin = [
        (bonnet - 0.03, waist + 0.03),
        (front, roof),
        (rear, roof),
        (boot + 0.03, waist + 0.03),
    ]
    glass = hsv(rng.uniform(0.5, 0.62), rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.9))
    middle = 0.5 * (front + rear) + rng.uniform(-0.08, 0.08)
    low, high = waist - 0.01, roof + 0.07
    panes = [
        [(bonnet + 0.07, low), (front + 0.04, high), (middle - 0.03, high), (middle - 0.03, low)],
        [(middle + 0.03, low), (middle + 0.03, high), (rear - 0.04, high), (boot - 0.07, low)],
    ]
    radius, hub = rng.uniform(0.19, 0.25), hsv(0.6, 0.05, rng.uniform(0.6, 0.95))
    wheels = [(-rng.uniform(0.56, 0.64), sill), (rng.uniform(0.54, 0.64), sill)]
    trim = darker(color, 0.6)
    parts = [
        part(Paint(color, relief=0.7), smooth(cabin, steps=1)),
        part(Paint(color), np.array(body)),
        part(
            Paint(trim, relief=0.4), box_outline(-1.04, sill - 0.09, 1.04, sill + 0.03, radius=0.05)
        ),
        part(Paint(glass, relief=0.8), *panes),
        part(trim, stroke([(middle, low), (middle + 0.02, sill - 0.09)], 0.022)),
        part(trim, box_outline(middle + 0.08, waist + 0.08, middle + 0.2, waist + 0.12)),
        part((250.0, 235.0, 170.0), ellipse((-0.94, 0.08), (0.06, 0.07))),
        part((200.0, 40.0, 35.0), box_outline(0.92, 0.02, 1.01, 0.14, radius=0.03)),
    ]
    if rng.random() < 0.3:  # a stripe along its side
        parts.insert(3, part(vivid(rng), box_outline(-0.98, 0.08, 0.92, 0.15)))
    for wheel in wheels:
        arch = ellipse(wheel, (1.18 * radius, 1.18 * radius))
        tire = ellipse(wheel, (radius, radius))
        parts += [part(darker(trim, 0.5), arch), part(DARK, tire)]
        parts.append(part(hub, ellipse(wheel, (0.55 * radius, 0.55 * radius))))
        parts.append(
            part(darker(hub, 0.4), ellipse(wheel, (0.18 * radius, 0.18 * radius), count=12))
        )
    return parts


def umbrella(rng: np.random.Generator) -> list[Part]:
    """Draw an open umbrella."""
    color, other = vivid(rng), vivid(rng) if rng.random() < 0.6 else pale(rng)
    gores, tall = int(rng.integers(4, 8)), rng.uniform(0.55, 0.9)
    rim = 0.0
    # The seams' ends along the rim, seen from the side, and the dome's height above them.
    ends = np.sin(np.linspace(-np.pi / 2, np.pi / 2, gores + 1)) * 0.98
    up = np.linspace(0, 1, 12)
    seams = [
        np.stack([end * np.cos(up * np.pi / 2), rim - tall * np.sin(up * np.pi / 2)], axis=1)
        for end in ends
    ]
    sag = rng.uniform(0.04, 0.14)
    stick = metal(rng) if rng.random() < 0.5 else hsv(0.07, 0.6, rng.uniform(0.2, 0.55))
    hook = rng.uniform(0.12, 0.2) * float(rng.choice([-1, 1]))
    length = rng.uniform(0.75, 1.0)
    bend = (
        arc((hook, length), (abs(hook), abs(hook)), np.pi, 0)
        if hook > 0
        else arc((hook, length), (abs(hook), abs(hook)), 0, np.pi)
    )
    handle = darker(vivid(rng), 0.8)
    thick = rng.uniform(0.055, 0.085)
    parts = [
        part(stick, stroke([(0, -tall - 0.14), (0, length)], thick)),
        part(handle, stroke(np.concatenate([[(0, length - 0.15)], bend]), 1.6 * thick)),
    ]
    for number in range(gores):
        left, right = seams[number], seams[number + 1]
        across = np.linspace(0, 1, 9)[:, None]
        hem = left[0] + (right[0] - left[0]) * across
        hem[:, 1] -= sag * np.sin(np.pi * across[:, 0]) * (right[0, 0] - left[0, 0]) / 0.5
        tone = color if number % 2 else other
        cloth = Paint(darker(tone, 0.85 + 0.15 * np.cos(number)), relief=0.6)
        parts.append(part(cloth, np.concatenate([hem, right, left[::-1]])))
    parts += [
        part(Paint(darker(color, 0.6), relief=0.2), stroke(seam, 0.018)) for seam in seams[1:-1]
    ]
    parts.append(part(stick, ellipse((0, -tall - 0.02), (0.06, 0.04), count=14)))
    return parts


def key(rng: np.random.Generator) -> list[Part]:
    """Draw a key, its handle to the left."""
    brass = metal(rng)
    grip = vivid(rng) if rng.random() < 0.35 else brass
    thick, radius = rng.uniform(0.09, 0.14), rng.uniform(0.28, 0.38)
    center, end = (-1 + radius, 0.0), 1.0
    teeth = int(rng.integers(2, 5))
    parts = [part(Paint(brass), box_outline(1.75 * radius - 1, -thick, end, thick, radius=0.06))]
    parts.append(
        part(darker(brass, 0.7), box_outline(-0.25, -0.25 * thick, end - 0.1, 0.25 * thick))
    )
    x = end - 0.04
    for _ in range(teeth):
        wide, deep = rng.uniform(0.08, 0.13), rng.uniform(0.14, 0.32)
        parts.append(part(brass, box_outline(x - wide, 0, x, thick + deep)))
        x -= wide + rng.uniform(0.03, 0.09)
    collar = rng.uniform(-0.3, -0.2)
    for place in (collar, collar + 0.11):
        ring = box_outline(place - 0.04, -1.5 * thick, place + 0.04, 1.5 * thick, radius=0.03)
        parts.append(part(darker(brass, 0.85), ring))
    parts.append(part(Paint(grip), *_bow(rng, center, radius)))
    return parts


def _bow(
    rng: np.random.Generator, center: tuple[float, float], radius: float
) -> tuple[Outline, ...]:
    """Outer outline of a key's handle, and its hole."""
    hole = rng.uniform(0.45, 0.66) * radius
    style = rng.integers(3)
    if style == 0:
        return ellipse(center, (radius, 1.15 * radius)), ellipse(center, (hole, 1.15 * hole))
    if style == 1:
        x, y = center
        side = 1.05 * radius
        outer = box_outline(x - radius, y - side, x + radius, y + side, radius=0.45 * radius)
        inner = box_outline(x - hole, y - hole, x + hole, y + hole, radius=0.3 * hole)
        return outer, inner
    angles = np.arange(60) * (2 * np.pi / 60)
    clover = radius * (0.92 + 0.24 * np.abs(np.cos(1.5 * angles)))
    return polar(clover) + np.asarray(center), ellipse(center, (0.8 * hole, 0.8 * hole))
