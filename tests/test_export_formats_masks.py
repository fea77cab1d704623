from __future__ import annotations

import numpy as np
from export_cases import HOLE, export, found, image, write_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import norm
from strategies import masks

from wsl.export.formats.masks import soft_mask


@given(masks(9), st.floats(0.1, 20))
def test_the_mask_is_half_and_more_of_its_soft_mask(mask, sigma):
    assert np.array_equal(soft_mask(mask, sigma) >= 128, mask)


@given(st.integers(1, 8), st.floats(0.3, 3))
def test_a_straight_boundary_gives_the_normal_distribution(column, sigma):
    mask = np.zeros((3, 9), dtype=bool)
    mask[:, column:] = True
    expected = 255 * norm.cdf((np.arange(9) + 0.5 - column) / sigma)
    assert np.abs(soft_mask(mask, sigma) - expected).max() <= 0.5 + 1e-3


def test_whole_and_empty_masks_have_no_boundary():
    assert np.unique(soft_mask(np.ones((3, 4), dtype=bool), 2)).tolist() == [255]
    assert np.unique(soft_mask(np.zeros((3, 4), dtype=bool), 2)).tolist() == [0]


def test_soft_masks_are_written_on_request(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(HOLE))])
    export(run, "masks", tmp_path / "out", boundary_error=0.1)
    values = np.array(Image.open(tmp_path / "out/masks/a.0.png"))
    assert np.array_equal(values, soft_mask(HOLE, 0.1 * np.hypot(*HOLE.shape)))
    assert len(np.unique(values)) > 2
