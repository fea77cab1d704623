"""Quantile seeds, checked by hand-worked maps and by properties."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from skimage.filters import threshold_otsu
from strategies import maps

from wsl.localize.seeds import SeedOptions, quantile_seeds, smooth_map


def test_a_ramp_is_cut_at_its_quantiles():
    ramp = np.arange(100, dtype=np.float32).reshape(10, 10)
    seeds = quantile_seeds(ramp, SeedOptions(foreground=0.95, background=0.30))
    # Linear quantiles of 0 … 99: 94.05 and 29.7.
    assert (seeds == cv2.GC_FGD).sum() == 5
    assert (seeds == cv2.GC_BGD).sum() == 30
    assert (seeds == cv2.GC_PR_BGD).sum() == 65


@pytest.mark.parametrize(
    ("undecided", "probable_foreground"),
    [("probable_background", 0), ("probable_foreground", 65), ("split", 35)],
)
def test_undecided_says_what_the_others_are(undecided, probable_foreground):
    ramp = np.arange(100, dtype=np.float32).reshape(10, 10)
    seeds = quantile_seeds(ramp, SeedOptions(undecided=undecided, probable_threshold=0.6))
    assert (seeds == cv2.GC_PR_FGD).sum() == probable_foreground
    assert (seeds == cv2.GC_PR_BGD).sum() == 65 - probable_foreground


def test_levels_of_the_maximum_cut_by_value():
    saliency = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 1.0]], np.float32) * 8
    options = SeedOptions(threshold="maximum", foreground=0.4, background=0.1)
    assert quantile_seeds(saliency, options).tolist() == [[0, 0, 2], [2, 1, 1]]
    split = SeedOptions(
        threshold="maximum", foreground=1, background=0, undecided="split", probable_threshold=0.3
    )
    assert quantile_seeds(saliency, split).tolist() == [[0, 2, 2], [3, 3, 1]]


@given(maps, st.integers(1, 100))
def test_levels_of_the_maximum_are_a_threshold(saliency, percent):
    options = SeedOptions(threshold="maximum", foreground=percent / 100, background=0)
    at_least = saliency >= np.float32(percent / 100) * saliency.max()
    expected = at_least & (saliency > 0)
    assert ((quantile_seeds(saliency, options) == cv2.GC_FGD) == expected).all()


def test_a_flat_map_has_background_alone():
    assert (quantile_seeds(np.full((4, 5), 0.5, np.float32)) == cv2.GC_BGD).all()


def test_one_bright_pixel_of_a_dark_map_is_foreground():
    saliency = np.zeros((10, 10), np.float32)
    saliency[3, 7] = 1
    seeds = quantile_seeds(saliency)
    assert np.argwhere(seeds == cv2.GC_FGD).tolist() == [[3, 7]]
    assert (seeds == cv2.GC_BGD).sum() == 99


@given(maps, st.floats(0.5, 1), st.floats(0.5, 1))
def test_raising_the_foreground_quantile_never_adds_foreground(saliency, first, second):
    low, high = sorted((first, second))
    few = quantile_seeds(saliency, SeedOptions(foreground=high)) == cv2.GC_FGD
    many = quantile_seeds(saliency, SeedOptions(foreground=low)) == cv2.GC_FGD
    assert not (few & ~many).any()


@given(maps)
def test_there_are_always_background_seeds(saliency):
    assert (quantile_seeds(saliency) == cv2.GC_BGD).any()


@given(maps, st.sampled_from([0.5, 2.0, 1024.0]))
def test_scale_does_not_matter(saliency, scale):
    assert (quantile_seeds(saliency) == quantile_seeds(saliency * np.float32(scale))).all()


def test_levels_around_otsus_threshold():
    saliency = np.full((10, 10), 0.1, np.float32)
    saliency[:, :4] = 0.9
    saliency[0, 0], saliency[9, 9] = 1, 0
    options = SeedOptions(threshold="otsu", background=0.25, foreground=0.75)
    seeds = quantile_seeds(saliency, options)
    # The levels lie half way between the threshold, which parts the values, and the extremes.
    threshold = threshold_otsu(saliency)
    assert 0.09 < threshold < 0.9
    assert ((seeds == cv2.GC_FGD) == (saliency >= (threshold + 1) / 2)).all()
    assert ((seeds == cv2.GC_BGD) == (saliency <= threshold / 2)).all()


def test_a_flat_map_has_no_foreground_around_otsus_threshold():
    seeds = quantile_seeds(np.full((4, 5), 0.5, np.float32), SeedOptions(threshold="otsu"))
    assert (seeds == cv2.GC_BGD).all()


@pytest.mark.parametrize(
    "saliency",
    [np.zeros((0, 3), np.float32), np.zeros(3, np.float32)],
    ids=["empty", "one dimension"],
)
def test_other_shapes_are_refused(saliency):
    with pytest.raises(ValueError, match=r"must be \(H, W\)"):
        quantile_seeds(saliency)


def test_a_map_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        quantile_seeds(np.array([[0, np.nan]], np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foreground": 0.3, "background": 0.3}, "background must be below foreground"),
        ({"undecided": "split", "probable_threshold": 0.2}, "probable_threshold must lie between"),
    ],
)
def test_quantiles_out_of_order_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        SeedOptions(**options)


def test_smoothing_is_a_share_of_the_longer_side():
    saliency = np.zeros((100, 200), np.float32)
    saliency[50, 100] = 1
    smoothed = smooth_map(saliency, 0.02)
    _, columns = np.indices(saliency.shape)
    spread = np.sqrt((smoothed * (columns - 100) ** 2).sum() / smoothed.sum())
    assert spread == pytest.approx(0.02 * 200, rel=0.02)
    assert smooth_map(saliency, 0) is saliency
