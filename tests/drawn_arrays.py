"""Arrays drawn for the tests of pictures."""

from __future__ import annotations

import numpy as np


def gray_image(height: int = 40, width: int = 60, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2
