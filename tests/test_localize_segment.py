"""From a map to a box on an image whose object is known."""

import cv2
import numpy as np
import pytest

from wsl.localize.boundary import GuidedFilter
from wsl.localize.refiners.none import NoRefinement
from wsl.localize.seeds import SeedOptions
from wsl.localize.segment import CutOptions, LocalizeOptions, _smooth_colors, segment
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


def test_the_box_may_come_from_a_cut_of_its_own():
    image, saliency, mask = scene()
    tight = CutOptions(
        seeds=SeedOptions(foreground=0.98, background=0.97), refine=NoRefinement(), working_size=60
    )
    found = segment(image, saliency, LocalizeOptions(box=tight))
    assert (found.mask == mask).all()
    alone = segment(image, saliency, LocalizeOptions(**tight.model_dump()))
    assert found.box == alone.box
    assert found.box != mask_to_box(mask)


def test_maps_of_their_working_sizes_are_taken_as_they_are():
    image, saliency, mask = scene()
    options = LocalizeOptions(working_size=60, box=CutOptions(working_size=24))
    assert options.map_sizes == (60, 24)
    elsewhere = np.zeros((18, 24), np.float32)
    elsewhere[14:, :4] = 1
    maps = {60: cv2.resize(saliency, (60, 45), interpolation=cv2.INTER_AREA), 24: elsewhere}
    found = segment(image, maps, options)
    assert mask_iou(found.mask, mask) > 0.9
    x0, _, x1, y1 = found.box
    assert (x0, y1) == (0, 90)
    assert x1 < 60


def test_without_a_mask_there_is_no_box_and_with_one_there_is():
    image, _, _ = scene()
    ramp = np.tile(np.arange(120, dtype=np.float32), (90, 1))
    steps = (ramp > 1).astype(np.float32)  # so few zeros that all quantiles are 1
    by_quantile = CutOptions()
    by_maximum = CutOptions(seeds=SeedOptions(threshold="maximum"))
    nothing = segment(image, steps, LocalizeOptions(**by_quantile.model_dump(), box=by_maximum))
    assert nothing.box is None
    assert not nothing.mask.any()
    something = segment(image, steps, LocalizeOptions(**by_maximum.model_dump(), box=by_quantile))
    assert something.box == mask_to_box(something.mask)


def test_smoothed_colors_lose_texture_and_keep_edges():
    rng = np.random.default_rng(0)
    image = np.full((80, 80, 3), 60, np.uint8)
    image[:, 40:] = 180
    noisy = (image + rng.integers(-12, 13, image.shape)).astype(np.uint8)
    smooth = _smooth_colors(noisy, 30)
    assert noisy[:, :30].std() > 1.8 * smooth[:, :30].std()
    assert (smooth[:, 40].astype(int) - smooth[:, 39]).mean() > 110
    assert _smooth_colors(noisy, 0) is noisy


@pytest.mark.parametrize("boundary", [None, GuidedFilter()], ids=["enlarged", "guided filter"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_images_of_hardly_any_pixels_have_an_answer(size, boundary):
    image = np.zeros((*size, 3), np.uint8)
    saliency = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    options = LocalizeOptions(boundary=boundary, color_smoothing=30, box=CutOptions())
    found = segment(image, saliency, options)
    assert found.mask.shape == size
    assert (found.box is None) == (not found.mask.any())
