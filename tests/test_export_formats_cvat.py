from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from export_cases import (
    HOLE,
    PARTS,
    export,
    found,
    hard_predictions,
    image,
    write_images,
)
from export_cases import write_run as write
from export_readers import cvat_mask
from hypothesis import given
from strategies import masks

from wsl.export.formats.cvat import cropped_runs, run_lengths
from wsl.masks import mask_to_box

REQUIRED = {
    "box": {"xtl", "ytl", "xbr", "ybr"},
    "polygon": {"points"},
    "mask": {"rle", "left", "top", "width", "height"},
}


def check_structure(root: ET.Element) -> None:
    """What CVAT's description of "CVAT for images 1.1" asks for."""
    assert root.tag == "annotations"
    assert [child.tag for child in root][:2] == ["version", "meta"]
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/mode") == "annotation"
    images = root.findall("image")
    assert len(root) == 2 + len(images)
    assert int(root.findtext("meta/task/size")) == len(images)
    labels = {label.findtext("name") for label in root.findall("meta/task/labels/label")}
    assert [int(element.get("id")) for element in images] == list(range(len(images)))
    for element in images:
        assert set(element.attrib) == {"id", "name", "width", "height"}
        for shape in element:
            common = {"label", "source", "occluded", "z_order"}
            assert common | REQUIRED[shape.tag] <= set(shape.attrib)
            assert shape.get("label") in labels


def exported(tmp_path, predictions, *, dataset=None, **options) -> ET.Element:
    run = write(tmp_path / "run", predictions)
    export(run, "cvat", tmp_path / "out", **options, dataset=dataset)
    root = ET.parse(tmp_path / "out/annotations.xml").getroot()
    check_structure(root)
    return root


def test_images_without_a_mask_are_there_to_be_corrected(tmp_path):
    root = exported(tmp_path, hard_predictions())
    empty = {element.get("name") for element in root.findall("image") if not len(element)}
    assert empty == {"nothing", "failed later"}


def test_names_are_paths_below_the_dataset_or_the_export(tmp_path):
    predictions = hard_predictions()[:3]
    dataset = write_images(tmp_path / "photos", predictions)
    root = exported(tmp_path, predictions, dataset=dataset)
    names = [element.get("name") for element in root.findall("image")]
    assert names == ["photo 0.png", "photo 1.jpg", "photo 2.png"]


def test_placed_images(tmp_path):
    predictions = hard_predictions()[:2]
    dataset = write_images(tmp_path / "photos", predictions)
    root = exported(tmp_path, predictions, dataset=dataset, images="copy")
    for element in root.findall("image"):
        assert (tmp_path / "out/images" / element.get("name")).is_file()


def test_polygons_are_grouped_and_holes_stay_masks(tmp_path):
    root = exported(
        tmp_path, [image("a", found(PARTS)), image("b", found(HOLE))], shapes=("polygon",)
    )
    first, second = root.findall("image")
    assert [shape.tag for shape in first] == ["polygon"] * 4
    assert {shape.get("group_id") for shape in first} == {"1"}
    assert first[0].get("points") == "0,0;2,0;2,2;0,2"
    assert [shape.tag for shape in second] == ["mask"]
    assert np.array_equal(cvat_mask(second[0], HOLE.shape), HOLE)


def test_labels_can_be_pasted(tmp_path):
    exported(tmp_path, hard_predictions())
    labels = json.loads((tmp_path / "out/labels.json").read_text())
    assert [label["name"] for label in labels] == ["tench", "hen", "žába & co"]


@given(masks(9))
def test_run_lengths_alternate_from_background(mask):
    counts = run_lengths(mask)
    assert sum(counts) == mask.size
    assert all(count > 0 for count in counts[1:])
    assert np.array_equal(np.repeat(np.arange(len(counts)) % 2 == 1, counts), mask.ravel())


@given(masks(9))
def test_crops_begin_at_the_first_pixel(mask):
    if not mask.any():
        with pytest.raises(ValueError, match="an empty mask has no rectangle"):
            cropped_runs(mask)
        return
    counts, (left, top, right, bottom) = cropped_runs(mask)
    again = np.zeros_like(mask)
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    again[top:bottom, left:right] = inside.reshape(bottom - top, right - left)
    assert np.array_equal(again, mask)
    assert (left, top, right, bottom) == mask_to_box(mask)
