from __future__ import annotations

import math

import numpy as np
import pytest
from export_cases import LEFT, RIGHT, export, found, image, write_images, write_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from wsl.export.pseudo_labels import owners, uncertain_band

label_images = arrays(
    np.int32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.integers(0, 3),
)


def slow_band(labels: np.ndarray, width: float) -> np.ndarray:
    uncertain = np.zeros(labels.shape, dtype=bool)
    for y, x in np.ndindex(labels.shape):
        uncertain[y, x] = any(
            labels[other] != labels[y, x] and math.dist((y, x), other) <= width
            for other in np.ndindex(labels.shape)
        )
    return uncertain


@given(label_images, st.sampled_from([0, 0.5, 1, 1.2, 1.5, 2, 3]))
def test_band_is_what_its_definition_says(labels, width):
    assert np.array_equal(uncertain_band(labels, width), slow_band(labels, width))


def test_the_images_border_is_no_boundary():
    assert not uncertain_band(np.ones((5, 5), dtype=np.int32), 3).any()


@given(label_images, st.floats(0, 4), st.floats(0, 4))
def test_a_wider_band_never_frees_a_pixel(labels, first, second):
    narrow, wide = sorted((first, second))
    assert not (uncertain_band(labels, narrow) & ~uncertain_band(labels, wide)).any()


@given(st.data())
def test_owners_follow_the_strongest_of_the_masks_that_cover_a_pixel(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=6))
    count = data.draw(st.integers(1, 4))
    masks = [data.draw(arrays(bool, shape)) for _ in range(count)]
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    strengths = [data.draw(arrays(np.float32, shape, elements=values)) for _ in range(count)]
    settled = owners(masks, scores=[0.5] * count, strengths=strengths)
    for at in np.ndindex(shape):
        covering = [index for index in range(count) if masks[index][at]]
        best = max(covering, key=lambda index: (strengths[index][at], -index), default=-1)
        assert settled[at] == best + 1


DEFAULTS = {"classes": "all", "class_list": "all"}


def label_image(tmp_path, predictions, *, maps=None, name="two", **options):
    run = write_run(tmp_path / "run", predictions, maps=maps)
    summary = export(run, "segmentation", tmp_path / "out", **{**DEFAULTS, **options})
    return np.array(Image.open(tmp_path / f"out/labels/{name}.png")), summary


TWO = [image("two", found(LEFT, 0, score=0.6), found(RIGHT, 2, score=0.3, rank=2))]


def test_the_stronger_map_takes_a_contested_pixel_whatever_the_scale(tmp_path):
    # Columns 2 and 3 are contested. The second map is a hundredth of the first in scale.
    first, second = np.ones((4, 6)), np.full((4, 6), 0.002)
    first[:, 3], second[:, 3] = 0.5, 0.01
    maps = {("two", 0): first, ("two", 2): second}
    labels, summary = label_image(tmp_path, TWO, maps=maps, boundary_ignore=0, overlap_smoothing=0)
    assert labels.tolist() == [[1, 1, 1, 3, 3, 3]] * 4
    assert "stronger saliency has the pixel in 1 and" in summary.notes[0]


def test_one_stray_pixel_does_not_win_when_maps_are_smoothed(tmp_path):
    left, right = (np.zeros((40, 60)) for _ in range(2))
    left_mask, right_mask = (np.zeros((40, 60), dtype=bool) for _ in range(2))
    left_mask[:, :40] = right_mask[:, 20:] = True
    left[:, 20:40], right[:, 40:] = 0.6, 1
    left[:, :20] = 1
    right[17, 25] = 1
    maps = {("two", 0): left, ("two", 2): right}
    predictions = [image("two", found(left_mask), found(right_mask, 2, rank=2))]
    labels, _ = label_image(tmp_path, predictions, maps=maps, boundary_ignore=0)
    assert labels[17, 25] == 1
    assert np.unique(labels[:, 45:]).tolist() == [3]


def test_a_missing_map_leaves_it_to_the_probability(tmp_path):
    maps = {("two", 0): np.ones((4, 6))}
    labels, summary = label_image(tmp_path, TWO, maps=maps, boundary_ignore=0)
    assert labels.tolist() == [[1, 1, 1, 1, 3, 3]] * 4
    assert "more probable class in 1" in summary.notes[0]


def test_maps_of_the_working_size_are_enlarged(tmp_path):
    maps = {("two", 0): np.array([[1.0, 0.0]]), ("two", 2): np.array([[0.0, 1.0]])}
    labels, _ = label_image(tmp_path, TWO, maps=maps, boundary_ignore=0, overlap_smoothing=0)
    assert labels.tolist() == [[1, 1, 1, 3, 3, 3]] * 4


def test_the_band_runs_between_objects_too(tmp_path):
    labels, _ = label_image(tmp_path, TWO, boundary_ignore_pixels=1)
    assert labels.tolist() == [[1, 1, 1, 255, 255, 3]] * 4


def test_a_share_of_the_diagonal(tmp_path):
    mask = np.zeros((30, 40), dtype=bool)
    mask[:, :20] = True
    labels, _ = label_image(
        tmp_path, [image("half", found(mask, 1))], name="half", boundary_ignore=0.04
    )
    # The diagonal is 50: 2 pixels on each side.
    assert labels[0].tolist() == [2] * 18 + [255] * 4 + [0] * 18


def test_objects_that_the_band_takes_whole_are_counted(tmp_path):
    pixel = np.zeros((5, 5), dtype=bool)
    pixel[2, 2] = True
    labels, summary = label_image(
        tmp_path, [image("pixel", found(pixel))], name="pixel", boundary_ignore_pixels=1
    )
    assert np.argwhere(labels == 255).tolist() == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]
    assert summary.notes == ("1 masks have no certain pixel left",)


def test_foreground_only(tmp_path):
    labels, _ = label_image(tmp_path, TWO, boundary_ignore=0, foreground_only=True)
    assert labels.tolist() == [[1] * 6] * 4
    assert (tmp_path / "out/classes.csv").read_text().splitlines() == [
        "value,category,id",
        "0,background,",
        "1,foreground,",
        "255,uncertain,",
    ]


def test_lists_and_images(tmp_path):
    dataset = write_images(tmp_path / "photos", TWO)
    run = write_run(tmp_path / "run", TWO)
    export(
        run,
        "segmentation",
        tmp_path / "out",
        images="copy",
        split="val",
        class_list="all",
        dataset=dataset,
    )
    assert (tmp_path / "out/val.txt").read_text() == "two\n"
    assert (tmp_path / "out/images/two.png").is_file()
    assert (tmp_path / "out/classes.csv").read_text("utf-8").splitlines()[1:4] == [
        "0,background,",
        "1,tench,n1",
        "2,hen,n2",
    ]


@pytest.mark.parametrize("classes", ["ground_truth", "top1"])
def test_one_class_per_image(tmp_path, classes):
    predictions = [
        image(
            "two",
            found(LEFT, 0, score=0.6, truth=False),
            found(RIGHT, 2, score=0.3, rank=2, truth=True),
        )
    ]
    run = write_run(tmp_path / "run", predictions)
    export(
        run, "segmentation", tmp_path / "out", **DEFAULTS | {"classes": classes}, boundary_ignore=0
    )
    labels = np.array(Image.open(tmp_path / "out/labels/two.png"))
    expected = [0, 0, 3, 3, 3, 3] if classes == "ground_truth" else [1, 1, 1, 1, 0, 0]
    assert labels.tolist() == [expected] * 4
