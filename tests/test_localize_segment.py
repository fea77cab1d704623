"""From a map to a box on an image whose object is known."""

import cv2
import numpy as np
import pytest

from wsl.localize.segment import LocalizeOptions, resize_mask, segment
from wsl.masks import mask_iou, mask_to_box


def scene(size=(90, 120), box=(40, 20, 100, 70)):
    """A noisy rectangle and a saliency map that knows its middle."""
    rng = np.random.default_rng(0)
    image = rng.integers(20, 60, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    image[mask] = rng.integers(160, 220, (mask.sum(), 3)).astype(np.uint8)
    saliency = np.zeros(size, np.float32)
    saliency[(y0 + y1) // 2, (x0 + x1) // 2] = 1
    return image, cv2.GaussianBlur(saliency, (0, 0), (y1 - y0) / 3), mask


def test_the_object_is_found_at_its_own_size():
    image, saliency, mask = scene()
    found = segment(image, saliency)
    assert found.refined
    assert (found.mask == mask).all()
    assert found.box == (40, 20, 100, 70)
    assert found.seeds.shape == (90, 120)


def test_a_smaller_working_size_gives_a_mask_of_the_images_size():
    image, saliency, mask = scene((180, 240), (80, 40, 200, 140))
    found = segment(image, saliency, LocalizeOptions(working_size=60))
    assert found.seeds.shape == (45, 60)
    assert found.mask.shape == (180, 240)
    assert mask_iou(found.mask, mask) > 0.95


def test_a_flat_map_finds_nothing():
    image, _, _ = scene()
    found = segment(image, np.full((90, 120), 0.3, np.float32))
    assert found.box is None
    assert not found.mask.any()
    assert not found.refined


def test_components_say_what_the_mask_keeps():
    image, saliency, mask = scene((90, 120), (10, 20, 60, 70))
    other_image, other_saliency, other = scene((90, 120), (90, 30, 110, 50))
    image[other] = other_image[other]
    both = np.maximum(saliency / saliency.max(), other_saliency / other_saliency.max())
    largest = segment(image, both, LocalizeOptions(components="largest"))
    everything = segment(image, both, LocalizeOptions(components="all"))
    assert largest.box == everything.box == (10, 20, 60, 70)
    assert (largest.mask == mask).all()
    assert (everything.mask == mask | other).all()


def test_the_map_may_have_another_size_than_the_image():
    image, saliency, _ = scene()
    small = cv2.resize(saliency, (60, 45), interpolation=cv2.INTER_AREA)
    assert segment(image, small).box == (40, 20, 100, 70)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_images_of_hardly_any_pixels_have_an_answer(size):
    image = np.zeros((*size, 3), np.uint8)
    saliency = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    found = segment(image, saliency)
    assert found.mask.shape == size
    assert (found.box is None) == (not found.mask.any())


def test_resizing_a_mask_keeps_where_it_is():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:8] = True
    assert mask_to_box(resize_mask(mask, (40, 40))) == (12, 8, 32, 24)
    assert resize_mask(mask, (10, 10)) is mask
