"""The maps of an image as segmentation takes them."""

import pytest

from wsl.localize.image_maps import working_size


@pytest.mark.parametrize(
    ("size", "longer_side", "expected"),
    [
        ((375, 500), 224, (168, 224)),
        ((500, 375), 224, (224, 168)),
        ((60, 80), 224, (60, 80)),
        ((1, 4000), 224, (1, 224)),
        ((1000, 1000), None, (1000, 1000)),
    ],
    ids=str,
)
def test_working_size(size, longer_side, expected):
    assert working_size(size, longer_side) == expected
