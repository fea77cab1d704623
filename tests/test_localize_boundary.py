"""The band around a mask's boundary, on images whose answer is known."""

import cv2
import numpy as np
import pytest

from wsl.localize.boundary import band_of, refine_band
from wsl.localize.refine import LocalizeOptions, refine, resize_mask
from wsl.localize.refiners.grabcut import GrabCutOptions, grabcut
from wsl.localize.seeds import SeedOptions
from wsl.masks import mask_iou


def disc(size=(240, 320), center=(113, 151), radius=67):
    y, x = np.ogrid[: size[0], : size[1]]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def colored(mask, seed=0):
    """Noise around one color inside of the mask, around another outside."""
    noise = np.random.default_rng(seed).integers(0, 40, (*mask.shape, 3))
    return (noise + np.where(mask[..., None], (180, 60, 40), (30, 120, 150))).astype(np.uint8)


def seeds_of(mask, inner=20, outer=100):
    """Definite in a small disc and far outside, probable background between."""
    seeds = np.full(mask.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[disc(mask.shape, radius=inner)] = cv2.GC_FGD
    seeds[~disc(mask.shape, radius=outer)] = cv2.GC_BGD
    return seeds


@pytest.fixture
def models():
    mask = disc()
    found = grabcut(colored(mask), seeds_of(mask))
    assert found.models is not None
    return found.models


def test_a_rough_boundary_becomes_the_true_one(models):
    mask = disc()
    small = cv2.resize(mask.astype(np.uint8), (32, 24), interpolation=cv2.INTER_NEAREST)
    rough = resize_mask(small.astype(bool), mask.shape)
    assert mask_iou(rough, mask) < 0.97
    found = refine_band(colored(mask), rough, seeds_of(mask), models, width=12)
    np.testing.assert_array_equal(found, mask)


def test_outside_of_the_band_nothing_changes(models):
    mask = disc()
    wrong = mask.copy()
    wrong[100:120, 140:160] = False  # a hole, whose middle the band does not reach
    found = refine_band(colored(mask), wrong, np.full(mask.shape, 2, np.uint8), models, width=3)
    band = band_of(wrong, 3)
    np.testing.assert_array_equal(found[~band], wrong[~band])
    assert not found[103:117, 143:157].any()


@pytest.mark.parametrize("code", [cv2.GC_BGD, cv2.GC_FGD])
def test_definite_seeds_hold_everywhere(models, code):
    mask = disc()
    seeds = seeds_of(mask)
    seeds[100:126, 210:226] = code  # across the boundary
    seeds[5:9, 5:9] = code  # far from it
    found = refine_band(colored(mask), mask, seeds, models, width=6)
    assert (found[seeds == cv2.GC_FGD]).all()
    assert not (found[seeds == cv2.GC_BGD]).any()


def test_without_a_free_pixel_the_seeds_decide(models):
    mask = disc()
    seeds = mask.astype(np.uint8)
    found = refine_band(colored(mask), ~mask, seeds, models, width=2)
    np.testing.assert_array_equal(found, mask)


def test_the_callers_arrays_are_untouched(models):
    mask = disc()
    arrays = colored(mask), mask, seeds_of(mask), *models
    before = [array.copy() for array in arrays]
    refine_band(arrays[0], mask, arrays[2], models, width=5)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_the_band_of_a_half_plane():
    mask = np.zeros((5, 10), bool)
    mask[:, 4:] = True
    np.testing.assert_array_equal(np.flatnonzero(band_of(mask, 1)[2]), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(band_of(mask, 3)[0]), [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("value", [True, False])
def test_a_mask_without_a_boundary_has_no_band(value):
    assert not band_of(np.full((4, 6), value), 2).any()


def test_a_band_has_a_width():
    with pytest.raises(ValueError, match="width must be at least 1, but got 0"):
        band_of(disc(), 0)


def refined(size, **options):
    mask = disc(size)
    y, x = np.ogrid[: size[0], : size[1]]
    saliency = np.exp(-((y - 113) ** 2 + (x - 151) ** 2) / 4000).astype(np.float32)
    chosen = LocalizeOptions(
        seeds=SeedOptions(foreground=0.9, background=0.7), grabcut=GrabCutOptions(**options)
    )
    return mask, refine(colored(mask), saliency, chosen, random_seed=1)


def test_the_whole_way_is_exact_with_a_band():
    mask, plain = refined((240, 320), working_size=40)
    _, banded = refined((240, 320), working_size=40, band=1.5)
    assert mask_iou(plain.mask, mask) < 0.98
    np.testing.assert_array_equal(banded.mask, mask)
    assert banded.box == (84, 46, 219, 181)


def test_at_the_images_own_size_there_is_nothing_to_refine():
    _, plain = refined((240, 320), working_size=None)
    _, banded = refined((240, 320), working_size=320, band=1.5)
    np.testing.assert_array_equal(banded.mask, plain.mask)
