"""The ten classes of objects that the demo draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wsl.demo.creatures import butterfly, fish, mushroom, starfish, tree
from wsl.demo.shapes import Part
from wsl.demo.things import car, house, key, mug, umbrella

Maker = Callable[[np.random.Generator], list[Part]]

# In the order of the class numbers. The angle is by how much, in radians, an object of the class
# may be turned to either side: a house stands upright, a key lies at any angle.
OBJECTS: dict[str, tuple[Maker, float]] = {
    "mug": (mug, 0.35),
    "fish": (fish, 0.8),
    "tree": (tree, 0.2),
    "house": (house, 0.2),
    "starfish": (starfish, np.pi),
    "car": (car, 0.3),
    "umbrella": (umbrella, 0.6),
    "key": (key, np.pi),
    "mushroom": (mushroom, 0.4),
    "butterfly": (butterfly, 0.9),
}
