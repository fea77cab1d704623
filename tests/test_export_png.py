"""PNG files come back to the last pixel, however they are packed."""

import io

import numpy as np
import pytest
from PIL import Image

from wsl.export.png import png_bytes

GENERATOR = np.random.default_rng(0)
PICTURES = {
    "mask": GENERATOR.random((37, 41)) < 0.5,
    "8 bits": GENERATOR.integers(0, 256, (5, 300)).astype(np.uint8),
    "16 bits": GENERATOR.integers(0, 65536, (40, 33)).astype(np.uint16),
    "one value": np.full((64, 64), 777, dtype=np.uint16),
    "one pixel": np.full((1, 1), 255, dtype=np.uint8),
}


@pytest.mark.parametrize("pixels", ["areas", "values"])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_lost(name, pixels):
    data = png_bytes(Image.fromarray(PICTURES[name]), pixels)
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), PICTURES[name])


def test_areas_take_next_to_no_room():
    areas = np.zeros((200, 300), dtype=np.uint8)
    areas[50:150, 80:250] = 7
    assert len(png_bytes(Image.fromarray(areas), "areas")) < 600
