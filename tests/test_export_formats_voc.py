from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from export_cases import (
    LEFT,
    RIGHT,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from PIL import Image

from wsl.data.categories import Categories

# Published structure: each element's children in their order; * may repeat.
STRUCTURE = {
    "annotation": ["folder", "filename", "source", "size", "segmented", "object*"],
    "source": ["database", "annotation", "image"],
    "size": ["width", "height", "depth"],
    "object": ["name", "pose", "truncated", "difficult", "bndbox"],
    "bndbox": ["xmin", "ymin", "xmax", "ymax"],
}


def check_structure(element: ET.Element) -> None:
    children = [child.tag for child in element]
    if not children:
        assert element.text
        assert element.text.strip()
        return
    expected = [tag for tag in STRUCTURE[element.tag] if not tag.endswith("*")]
    repeating = [tag[:-1] for tag in STRUCTURE[element.tag] if tag.endswith("*")]
    assert children[: len(expected)] == expected
    assert set(children[len(expected) :]) <= set(repeating)
    for child in element:
        check_structure(child)


@pytest.fixture
def exported(tmp_path):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    summary = export(
        run, "voc", tmp_path / "out", classes="all", boundary_ignore=0, dataset=dataset
    )
    return predictions, tmp_path / "out", summary


def test_overlapping_masks_without_maps_go_to_the_more_probable(exported):
    _, out, summary = exported
    folder = out / "VOCdevkit/VOC2012"
    classes = np.array(Image.open(folder / "SegmentationClass/two.jpg.png"))
    objects = np.array(Image.open(folder / "SegmentationObject/two.jpg.png"))
    assert classes.tolist() == [[1, 1, 1, 1, 3, 3]] * 4
    assert objects.tolist() == [[1, 1, 1, 1, 2, 2]] * 4
    assert "masks overlap in 1 images" in summary.notes[0]
    assert "more probable class in 1" in summary.notes[0]


def test_xml_has_the_published_structure(exported):
    _, out, _ = exported
    files = list((out / "VOCdevkit/VOC2012/Annotations").iterdir())
    assert len(files) == 10
    for path in files:
        root = ET.parse(path).getroot()
        check_structure(root)
        assert root.findtext("source/database") == "hard & odd"


def test_boxes_at_the_border_are_one_based_and_inclusive(exported):
    _, out, _ = exported
    root = ET.parse(out / "VOCdevkit/VOC2012/Annotations/plain.xml").getroot()  # 5 × 7, all inside
    box = root.find("object/bndbox")
    assert [(corner.tag, corner.text) for corner in box] == [
        ("xmin", "1"),
        ("ymin", "1"),
        ("xmax", "5"),
        ("ymax", "7"),
    ]
    assert root.findtext("object/truncated") == "1"


def test_the_band_is_255_in_both_label_images(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    export(run, "voc", tmp_path / "out", images="none", boundary_ignore_pixels=1)
    for kind in ("Class", "Object"):
        path = tmp_path / f"out/VOCdevkit/VOC2012/Segmentation{kind}/a.png"
        assert np.array(Image.open(path)).tolist() == [[1, 1, 1, 255, 255, 0]] * 4


def test_more_than_254_classes_need_16_bits(tmp_path):
    names = tuple(f"class {index}" for index in range(300))
    run = write_run(tmp_path / "run", [image("a", found(RIGHT, 2))], categories=Categories(names))
    summary = export(run, "voc", tmp_path / "out", class_list="all", boundary_ignore_pixels=1)
    folder = tmp_path / "out/VOCdevkit/VOC2012"
    classes = np.array(Image.open(folder / "SegmentationClass/a.png"))
    assert classes.tolist() == [[0, 65535, 65535, 3, 3, 3]] * 4
    objects = np.array(Image.open(folder / "SegmentationObject/a.png"))
    assert objects.tolist() == [[0, 255, 255, 1, 1, 1]] * 4
    assert "ignore value is 65535" in summary.notes[0]
    assert (folder / "classes.csv").read_text().splitlines()[-1] == "65535,uncertain,"


def test_8_bits_are_enough_for_the_few_that_occur_of_many_classes(tmp_path):
    names = tuple(f"class {index}" for index in range(300))
    run = write_run(tmp_path / "run", [image("a", found(RIGHT, 2))], categories=Categories(names))
    export(run, "voc", tmp_path / "out", boundary_ignore=0)
    folder = tmp_path / "out/VOCdevkit/VOC2012"
    classes = Image.open(folder / "SegmentationClass/a.png")
    assert classes.mode == "P"
    assert np.array(classes).tolist() == [[0, 0, 1, 1, 1, 1]] * 4
    assert (folder / "classes.csv").read_text().splitlines()[1:] == [
        "0,background,",
        "1,class 2,",
        "255,uncertain,",
    ]


def test_an_empty_image_is_uncertain_everywhere(tmp_path):
    predictions = hard_predictions()
    run = write_run(tmp_path / "run", predictions)
    export(run, "voc", tmp_path / "out", images="none", empty_images=True)
    path = tmp_path / "out/VOCdevkit/VOC2012/SegmentationClass/nothing.png"
    assert np.unique(np.array(Image.open(path))).tolist() == [255]


def test_the_label_map_has_the_palette(exported):
    _, out, summary = exported
    path = "VOCdevkit/VOC2012/labelmap.txt"
    assert path in summary.files
    assert (out / path).read_text("utf-8").splitlines() == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "tench:128,0,0::",
        "hen:0,128,0::",
        "žába & co:128,128,0::",
    ]


def test_a_label_map_of_too_many_classes_has_no_colors(tmp_path):
    names = tuple(f"class: {index}" for index in range(300))
    run = write_run(tmp_path / "run", [image("a", found(RIGHT, 2))], categories=Categories(names))
    export(run, "voc", tmp_path / "out", class_list="all")
    lines = (tmp_path / "out/VOCdevkit/VOC2012/labelmap.txt").read_text().splitlines()
    assert lines[1:3] == ["background:::", "class  0:::"]
    assert len(lines) == 302


def test_the_label_map_of_the_foreground_alone_knows_the_objects_names(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(RIGHT, 2))])
    export(run, "voc", tmp_path / "out", images="none", foreground_only=True)
    lines = (tmp_path / "out/VOCdevkit/VOC2012/labelmap.txt").read_text("utf-8").splitlines()
    assert lines[1:] == ["background:0,0,0::", "foreground:128,0,0::", "žába & co:::"]
