"""The quality of a localization, judged without annotations."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsl.demo.scene import DEMO_SEED, draw_image
from wsl.localize import quality as quality_module
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions
from wsl.localize.quality import localization_quality as quality_of
from wsl.localize.refiners.base import rng_seed
from wsl.localize.refiners.none import NoRefinement
from wsl.localize.segment import CutOptions, LocalizeOptions, segment
from wsl.masks import mask_to_box
from wsl.models.options import ModelOptions
from wsl.models.sources import load_classifier

SIZE = (96, 96)


def localization_quality(image, saliency, mask, box, *, probability=1.0):
    """The quality where the class is certain, unless another probability is given."""
    return quality_of(image, saliency, mask, box, probability=probability)


def plain_scene(box=(24, 24, 72, 72)):
    """A plain square, a map that is 1 on it, and its mask: worked out by hand below."""
    mask = np.zeros(SIZE, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    image = np.full((*SIZE, 3), 50, np.uint8)
    image[mask] = 200
    return image, mask.astype(np.float32), mask


def box_mask(box):
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_a_map_a_mask_and_a_box_that_agree_in_the_middle_have_the_quality_1():
    assert localization_quality(*plain_scene(), (24, 24, 72, 72)) == pytest.approx(1)


def test_half_is_missing_of_what_touches_two_borders_and_more_of_what_is_off_the_middle():
    quality = localization_quality(*plain_scene((0, 0, 48, 48)), (0, 0, 48, 48))
    # The centers are a quarter of each side apart.
    assert quality == pytest.approx((1 + 1 + 1 / 2 + 1 - 2 * np.hypot(1 / 4, 1 / 4) + 1 + 1) / 6)


def test_what_is_far_from_the_middle_is_no_worse_than_0():
    quality = localization_quality(*plain_scene((84, 84, 96, 96)), (84, 84, 96, 96))
    assert quality == pytest.approx((1 + 1 + 1 / 2 + 0 + 1 + 1) / 6)


@pytest.mark.parametrize(
    ("probability", "sure"), [(1.0, 1), (0.1, 5 / 6), (1e-3, 1 / 2), (1e-6, 0), (1e-9, 0), (0.0, 0)]
)
def test_the_probability_counts_by_its_order_of_magnitude(probability, sure):
    scene = plain_scene()
    quality = localization_quality(*scene, (24, 24, 72, 72), probability=probability)
    assert quality == pytest.approx((5 + sure) / 6)


def test_a_mask_twice_as_wide_as_the_map_loses_half_of_the_agreement():
    image, _, mask = plain_scene()
    saliency = plain_scene((24, 24, 48, 72))[1]
    quality = localization_quality(image, saliency, mask, (24, 24, 72, 72))
    # A map of two values leaves GrabCut nothing to choose: its box is the map's.
    assert quality == pytest.approx((1 / 2 + 1 + 1 + 1 + 1 + 1) / 6)


def test_a_mask_of_half_of_the_map_has_half_of_its_share():
    image, saliency, _ = plain_scene()
    half = box_mask((24, 24, 48, 72))
    quality = localization_quality(image, saliency, half, (24, 24, 48, 72))
    # The centers are 12 of 96 columns apart.
    assert quality == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 - 2 / 8 + 1 + 1) / 6)


def test_the_weight_of_a_map_counts_where_it_lies():
    image, saliency, mask = plain_scene()
    elsewhere = saliency + plain_scene((81, 81, 96, 96))[1]
    quality = localization_quality(image, elsewhere, mask, (24, 24, 72, 72))
    assert quality == pytest.approx((1 + 48**2 / (48**2 + 15**2) + 1 + 1 + 1 + 1) / 6)


@pytest.mark.parametrize("wrong", [(36, 36, 60, 60), (12, 12, 84, 84)], ids=["smaller", "larger"])
def test_the_image_says_which_of_two_boxes_is_the_better_one(wrong):
    image, saliency, mask = noisy_scene(contrast=140, size=(96, 96), box=(24, 24, 72, 72))
    right = localization_quality(image, saliency, mask, (24, 24, 72, 72))
    assert right > localization_quality(image, saliency, box_mask(wrong), wrong) + 0.05


def test_a_map_of_more_than_two_levels_is_parted_less_well():
    thirds = np.repeat(np.float32([0, 1, 2]), 32)[None].repeat(96, axis=0)
    # Otsu's threshold explains 3/4 of the variance of thirds, and all of the one of two levels.
    assert quality_module._separability(thirds) == pytest.approx(1.5 * 3 / 4 - 0.5)
    assert quality_module._separability(plain_scene()[1]) == pytest.approx(1)
    assert quality_module._separability(np.zeros(SIZE, np.float32)) == 0


def test_nothing_found_has_the_quality_0():
    image, saliency, mask = plain_scene()
    assert localization_quality(image, saliency, np.zeros_like(mask), None) == 0


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_flat_map_has_the_quality_0(level):
    image, _, mask = plain_scene()
    flat = np.full(SIZE, level, np.float32)
    assert localization_quality(image, flat, mask, (24, 24, 72, 72)) == 0


def test_a_mask_of_the_whole_image_touches_all_borders():
    image, saliency, _ = plain_scene()
    whole = np.ones(SIZE, bool)
    quality = localization_quality(image, saliency, whole, (0, 0, 96, 96))
    assert quality == pytest.approx((1 / 4 + 1 + 0 + 1 + 1 + 1) / 6)


def test_scaling_a_map_or_adding_to_it_changes_nothing():
    image, saliency, mask = noisy_scene(contrast=60)
    box = mask_to_box(mask)
    quality = localization_quality(image, saliency, mask, box)
    assert localization_quality(image, 3 * saliency, mask, box) == pytest.approx(quality, abs=1e-4)
    lifted = saliency + saliency.max()
    assert localization_quality(image, lifted, mask, box) == pytest.approx(quality, abs=1e-4)


def test_mirroring_everything_changes_nothing():
    image, saliency, mask = noisy_scene(contrast=60)
    mirrored = (
        np.ascontiguousarray(image[:, ::-1]),
        np.ascontiguousarray(saliency[:, ::-1]),
        np.ascontiguousarray(mask[:, ::-1]),
    )
    here = localization_quality(image, saliency, mask, mask_to_box(mask))
    there = localization_quality(*mirrored, mask_to_box(mirrored[2]))
    assert there == pytest.approx(here, abs=1e-4)


def noisy_scene(*, contrast, seed=0, size=(120, 150), box=(40, 30, 110, 90)):
    """A noisy rectangle, brighter by `contrast`, and a map around its middle."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 110, (*size, 3))
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    image[mask] += contrast
    points = np.zeros(size, np.float32)
    points[(y0 + y1) // 2, (x0 + x1) // 2] = 1
    saliency = cv2.GaussianBlur(points, (0, 0), (y1 - y0) / 3)
    return image.astype(np.uint8), saliency, mask


@pytest.mark.parametrize("seed", range(5))
def test_a_clear_object_has_a_higher_quality_than_noise(seed):
    image, saliency, _ = noisy_scene(contrast=120, seed=seed)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, image.shape).astype(np.uint8)
    noise_map = rng.random(saliency.shape).astype(np.float32)
    found = [segment(image, saliency), segment(noise, noise_map)]
    clear, unclear = (
        localization_quality(picture, map_, one.mask, one.box)
        for picture, map_, one in zip((image, noise), (saliency, noise_map), found, strict=True)
    )
    assert clear > unclear + 0.3


def test_the_thread_changes_nothing():
    image, saliency, mask = noisy_scene(contrast=40)
    box = mask_to_box(mask)
    here = localization_quality(image, saliency, mask, box)
    barrier = threading.Barrier(4)

    def elsewhere(number):
        barrier.wait()
        cv2.setRNGSeed(number)
        return localization_quality(image, saliency, mask, box)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(elsewhere, range(4))) == {here}


def small_localizer(*, quality=True, seed=0):
    options = LocalizerOptions(localize=LocalizeOptions(quality=quality), seed=seed)
    return Localizer(load_classifier(ModelOptions(source="demo", device="cpu")), options)


def test_the_agreement_with_the_boxs_own_mask_counts_twice():
    image, saliency, mask = plain_scene()
    half = box_mask((24, 24, 48, 72))
    quality = quality_of(image, saliency, mask, (24, 24, 72, 72), probability=1.0, box_mask=half)
    assert quality == pytest.approx((6 + 2 * 1 / 2) / 8)


def test_a_localizer_compares_the_mask_with_the_boxs_own():
    image = draw_image(0, seed=DEMO_SEED).image
    options = LocalizeOptions(box=CutOptions(refine=NoRefinement(), working_size=48))
    localizer = Localizer(
        load_classifier(ModelOptions(source="demo", device="cpu")),
        LocalizerOptions(localize=options),
    )
    (views,) = [localizer.views(image)]
    (maps,) = localizer.explain([views], [(3,)], first=0)
    by_size = localizer.image_maps(maps, views).of_class(0)
    again = segment(image, by_size, options, random_seed=rng_seed("0", 3, 0))
    (found,) = localizer(image, classes=[3], image_id="0")
    expected = quality_of(
        *(image, by_size[224], again.mask, again.box),
        probability=found.score,
        box_mask=again.box_mask,
    )
    assert found.quality == expected
    assert (again.box_mask != again.mask).any()


def test_each_localization_carries_its_quality():
    image = draw_image(0, seed=DEMO_SEED).image
    for found in small_localizer()(image, top_k=2, image_id="0"):
        expected = localization_quality(
            image, found.saliency, found.mask, found.box, probability=found.score
        )
        assert found.quality == expected
        assert 0 < expected <= 1


def test_switched_off_there_is_none():
    image = draw_image(0, seed=DEMO_SEED).image
    with_it, without = (
        small_localizer(quality=quality)(image, top_k=1)[0] for quality in (True, False)
    )
    assert without.quality is None
    assert without.box == with_it.box
    assert (without.mask == with_it.mask).all()


def test_nothing_given_is_changed():
    given_ = noisy_scene(contrast=40)
    kept = [array.copy() for array in given_]
    localization_quality(*given_, mask_to_box(given_[2]))
    for array, before in zip(given_, kept, strict=True):
        assert (array == before).all()


@settings(max_examples=60)
@given(data=st.data())
def test_the_quality_is_in_0_to_1(data):
    size = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    small = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    values = st.floats(0, 2.0**60, width=32)
    saliency = data.draw(arrays(np.float32, small, elements=values))
    mask = rng.random(size) < data.draw(st.sampled_from([0.02, 0.5, 1.0]))
    quality = localization_quality(image, saliency, mask, mask_to_box(mask))
    assert isinstance(quality, float)
    assert 0 <= quality <= 1
