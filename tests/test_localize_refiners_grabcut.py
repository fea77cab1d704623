"""GrabCut on images whose answer is known."""

import threading
from itertools import pairwise

import cv2
import numpy as np
import pytest

from wsl.localize.refiners.grabcut import grabcut, rng_seed, working_size


def two_colors(size=(60, 80), box=(20, 15, 55, 40), seed=0):
    """A rectangle of one noisy color on a ground of another, and the rectangle's mask."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 60, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    image[mask] = rng.integers(160, 220, (mask.sum(), 3)).astype(np.uint8)
    return image, mask


def seeds_inside(mask):
    """Seeds: the image's rim is background, a small block of the object foreground."""
    seeds = np.full(mask.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[[0, -1], :] = cv2.GC_BGD
    seeds[:, [0, -1]] = cv2.GC_BGD
    rows, columns = np.nonzero(mask)
    y, x = int(rows.mean()), int(columns.mean())
    seeds[y - 4 : y + 4, x - 4 : x + 4] = cv2.GC_FGD
    return seeds


def test_two_colors_are_told_apart_to_the_pixel():
    image, mask = two_colors()
    found = grabcut(image, seeds_inside(mask))
    assert found.refined
    assert (found.mask == mask).all()


def test_definite_seeds_stay_what_they_are():
    image, mask = two_colors()
    seeds = seeds_inside(mask)
    seeds[2:5, 2:5] = cv2.GC_FGD  # of the ground's color
    found = grabcut(image, seeds)
    assert found.mask[seeds == cv2.GC_FGD].all()
    assert not found.mask[seeds == cv2.GC_BGD].any()


def test_the_callers_arrays_are_untouched():
    image, mask = two_colors()
    seeds = seeds_inside(mask)
    before = image.copy(), seeds.copy()
    grabcut(image, seeds)
    assert (image == before[0]).all()
    assert (seeds == before[1]).all()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(cv2.GC_BGD, False), (cv2.GC_PR_BGD, False), (cv2.GC_FGD, True), (cv2.GC_PR_FGD, True)],
)
def test_seeds_of_one_side_are_the_answer_themselves(code, expected):
    image, _ = two_colors()
    found = grabcut(image, np.full(image.shape[:2], code, np.uint8))
    assert not found.refined
    assert (found.mask == expected).all()


def test_no_iterations_take_the_seeds():
    image, mask = two_colors()
    seeds = seeds_inside(mask)
    found = grabcut(image, seeds, iterations=0)
    assert not found.refined
    assert (found.mask == (seeds == cv2.GC_FGD)).all()


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 2), (1, 400), (3, 3)])
def test_tiny_images_have_an_answer(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    seeds = np.zeros(size, np.uint8)
    seeds.flat[-1] = cv2.GC_FGD
    found = grabcut(image, seeds)
    assert found.refined
    assert found.mask.flat[-1]
    assert not found.mask.flat[0]


def hard_case():
    """Blocks of many colors on both sides: what k-means draws decides the answer."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    image = cv2.resize(blocks, (64, 64), interpolation=cv2.INTER_LINEAR)
    seeds = np.full((64, 64), cv2.GC_PR_FGD, np.uint8)
    seeds[:, 40:] = cv2.GC_PR_BGD
    seeds[:4] = cv2.GC_BGD
    seeds[20:30, 20:30] = cv2.GC_FGD
    return image, seeds


def test_the_answer_follows_from_the_seed_alone():
    image, seeds = hard_case()
    first = grabcut(image, seeds, random_seed=7).mask
    cv2.setRNGSeed(12345)
    grabcut(image, seeds, random_seed=8)
    assert (grabcut(image, seeds, random_seed=7).mask == first).all()
    others = [grabcut(image, seeds, random_seed=seed).mask for seed in range(20)]
    assert any((other != first).any() for other in others)


def test_the_answer_does_not_depend_on_the_thread():
    image, seeds = hard_case()
    here = grabcut(image, seeds, random_seed=7).mask
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(grabcut(image, seeds, random_seed=7).mask))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all((mask == here).all() for mask in found)


def test_sizes_and_codes_are_checked():
    image, mask = two_colors()
    with pytest.raises(ValueError, match="must have one size"):
        grabcut(image, np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="codes 0 to 3, but got 4"):
        grabcut(image, np.full(mask.shape, 4, np.uint8))


def test_rng_seed_tells_images_classes_and_seeds_apart():
    seeds = {
        rng_seed(image_id, label, seed)
        for image_id in ("a", "b", "a1")
        for label in (0, 1, 10)
        for seed in (0, 1)
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**31 for seed in seeds)
    # Pinned: runs made with earlier versions must come out the same.
    assert rng_seed("ILSVRC2012_val_00000001", 65, 0) == 49_951_899


@pytest.mark.parametrize(
    ("size", "longer_side", "expected"),
    [
        ((375, 500), 224, (168, 224)),
        ((500, 375), 224, (224, 168)),
        ((60, 80), 224, (60, 80)),
        ((1, 4000), 224, (1, 224)),
        ((1000, 1000), None, (1000, 1000)),
    ],
)
def test_working_size(size, longer_side, expected):
    assert working_size(size, longer_side) == expected


def wavering(seed=5):
    """An image without clear parts, and seeds that have little to do with it."""
    rng = np.random.default_rng(seed)
    clouds = cv2.GaussianBlur(rng.random((60, 80, 3)).astype(np.float32), (0, 0), 3)
    image = cv2.normalize(clouds, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    levels = cv2.GaussianBlur(rng.random((60, 80)).astype(np.float32), (0, 0), 5)
    seeds = np.full(levels.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[levels <= np.quantile(levels, 0.3)] = cv2.GC_BGD
    seeds[levels >= np.quantile(levels, 0.9)] = cv2.GC_FGD
    return image, seeds


def stepped(image, seeds, iterations, *, random_seed):
    """Masks after each round, by calls of one round each."""
    labels, models, masks = seeds.copy(), (np.zeros((1, 65)), np.zeros((1, 65))), []
    cv2.setRNGSeed(random_seed)
    for done in range(iterations):
        mode = cv2.GC_EVAL if done else cv2.GC_INIT_WITH_MASK
        cv2.grabCut(image[..., ::-1].copy(), labels, (0, 0, 0, 0), *models, 1, mode)
        masks.append((labels & 1).astype(bool))
    return masks


@pytest.mark.parametrize("iterations", [1, 3, 6])
def test_rounds_one_by_one_give_what_one_call_gives(iterations):
    image, seeds = wavering()
    whole = grabcut(image, seeds, iterations=iterations, random_seed=5)
    masks = stepped(image, seeds, iterations, random_seed=5)
    np.testing.assert_array_equal(masks[-1], whole.mask)


@pytest.mark.parametrize("settled", [0.0, 0.001, 0.01, 1.0])
def test_it_stops_after_the_first_round_that_changes_too_little(settled):
    image, seeds = wavering()
    masks = stepped(image, seeds, 8, random_seed=5)
    moved = [np.mean(after != before) for before, after in pairwise(masks)]
    assert moved[3] == 0 < moved[5]  # a round that changes nothing is not the last that does
    last = next((n for n, share in enumerate(moved, start=1) if share <= settled), 7)
    found = grabcut(image, seeds, iterations=8, random_seed=5, settled=settled)
    np.testing.assert_array_equal(found.mask, masks[last])
