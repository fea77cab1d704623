"""The demo's dataset on disk."""

import csv

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from wsl.data.categories import Categories
from wsl.demo.draw import CATEGORIES, draw_image, write_dataset

COUNT, SEED = 12, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "a b"
    write_dataset(folder, count=COUNT, seed=SEED)
    return folder


def image_ids():
    return [f"DEMO_val_{number:08d}" for number in range(1, COUNT + 1)]


def inclusive(drawn):
    return [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in drawn.boxes]


def test_lists_name_every_image_in_order(root):
    lines = (root / "ImageSets/CLS-LOC/val.txt").read_text().splitlines()
    assert lines == [f"{name} {number}" for number, name in enumerate(image_ids(), start=1)]
    assert sorted(path.stem for path in (root / "Data/CLS-LOC/val").glob("*.JPEG")) == image_ids()
    assert Categories.from_file(root / "LOC_synset_mapping.txt") == CATEGORIES


def test_jpeg_is_the_drawn_picture_but_for_its_loss(root):
    for index, name in enumerate(image_ids()):
        with Image.open(root / f"Data/CLS-LOC/val/{name}.JPEG") as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            stored = np.asarray(image, dtype=float)
        drawn = draw_image(index, seed=SEED).image
        assert stored.shape == drawn.shape
        assert np.abs(stored - drawn).mean() < 12


def test_xml_holds_the_boxes_inclusive_and_0_based(root):
    touching = 0
    for index, name in enumerate(image_ids()):
        drawn = draw_image(index, seed=SEED)
        tree = ElementTree.parse(root / f"Annotations/CLS-LOC/val/{name}.xml")
        assert tree.findtext("filename") == name
        height, width = drawn.image.shape[:2]
        assert [int(tree.findtext(f"size/{side}")) for side in ("height", "width")] == [
            height,
            width,
        ]
        found = []
        for each in tree.iter("object"):
            assert each.findtext("name") == CATEGORIES.ids[drawn.label]
            corners = ("xmin", "ymin", "xmax", "ymax")
            found.append(tuple(int(each.findtext(f"bndbox/{corner}")) for corner in corners))
        assert found == inclusive(drawn)
        for x0, y0, x1, y1 in found:
            assert 0 <= x0 < x1 <= width - 1
            assert 0 <= y0 < y1 <= height - 1
            touching += x0 == 0 or y0 == 0 or x1 == width - 1 or y1 == height - 1
    assert touching > 0


def test_solution_holds_the_same_boxes(root):
    with (root / "LOC_val_solution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ImageId"] for row in rows] == image_ids()
    for index, row in enumerate(rows):
        drawn = draw_image(index, seed=SEED)
        words = row["PredictionString"].split()
        groups = [words[start : start + 5] for start in range(0, len(words), 5)]
        assert [tuple(map(int, group[1:])) for group in groups] == inclusive(drawn)
        assert {group[0] for group in groups} == {CATEGORIES.ids[drawn.label]}


def test_masks_are_indexed_and_exact(root):
    for index, name in enumerate(image_ids()):
        drawn = draw_image(index, seed=SEED)
        with Image.open(root / f"Masks/CLS-LOC/val/{name}.png") as image:
            assert image.mode == "P"
            numbers = np.asarray(image)
        assert numbers.max() == len(drawn.masks)
        for number, mask in enumerate(drawn.masks, start=1):
            np.testing.assert_array_equal(numbers == number, mask)


def test_writing_again_gives_the_same_bytes(root, tmp_path):
    write_dataset(tmp_path, count=3, seed=SEED)
    for path in tmp_path.rglob("*00000*.*"):
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes()


def test_other_split_has_its_own_names(tmp_path):
    write_dataset(tmp_path, count=1, seed=SEED, split="tune")
    assert (tmp_path / "Data/CLS-LOC/tune/DEMO_tune_00000001.JPEG").is_file()
    assert (tmp_path / "LOC_tune_solution.csv").is_file()


def test_no_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="count must be >= 1, but got 0"):
        write_dataset(tmp_path, count=0, seed=0)


def test_split_must_be_a_plain_name(tmp_path):
    with pytest.raises(ValueError, match=r"must be letters and digits, but got '\.\./x'"):
        write_dataset(tmp_path, count=1, seed=0, split="../x")
