from __future__ import annotations

import json
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from export_cases import (
    HOLE,
    LEFT,
    PARTS,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from export_readers import brush_mask, decode_brush
from hypothesis import given
from hypothesis import strategies as st
from label_studio_brush_rle_rs import decode_rle
from strategies import masks

from wsl.export.formats.label_studio import brush_rle


def exported(tmp_path, predictions, *, dataset=None, **options) -> list[dict]:
    run = write_run(tmp_path / "run", predictions)
    out = tmp_path / "out"
    export(run, "label_studio", out, **options, dataset=dataset)
    files = sorted(out.glob("tasks-*.json"))
    return [task for path in files for task in json.loads(path.read_text("ascii"))]


@given(masks(9))
def test_brush_code_comes_back(mask):
    pixels = decode_brush(brush_rle(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(pixels, np.repeat(mask[:, :, None], 4, axis=2) * 255)


@pytest.mark.parametrize("run", [1, 2, 3, 4, 5, 64, 65, 16384, 16385, 32768, 40000])
def test_runs_of_every_length(run):
    mask = np.zeros((1, run + 1), dtype=bool)
    mask[0, :run] = True
    assert np.array_equal(decode_brush(brush_rle(mask))[::4] == 255, mask[0])


@given(st.integers(0, 2**32 - 1))
def test_brush_code_is_what_label_studios_own_library_reads(seed):
    mask = np.random.default_rng(seed).random((13, 17)) < 0.4
    pixels = np.asarray(decode_rle(brush_rle(mask), False)).reshape(13, 17, 4)
    assert np.array_equal(pixels[:, :, 3] == 255, mask)


def test_every_region_is_in_the_interface(tmp_path):
    tasks = exported(tmp_path, hard_predictions(), shapes=("polygon", "box"))
    root = ET.parse(tmp_path / "out/config.xml").getroot()
    controls = {child.get("name"): child for child in root if child.tag != "Image"}
    assert root.find("Image").attrib == {"name": "image", "value": "$image"}
    for task in tasks:
        assert task["data"]["image"]
        for prediction in task.get("predictions", []):
            for region in prediction["result"]:
                control = controls[region["from_name"]]
                assert control.tag.lower() == region["type"]
                assert control.get("toName") == region["to_name"] == "image"
                labels = {label.get("value") for label in control}
                assert set(region["value"][region["type"]]) <= labels


def test_polygons_in_per_cent_and_holes_as_brushes(tmp_path):
    tasks = exported(
        tmp_path, [image("a", found(PARTS)), image("b", found(HOLE))], shapes=("polygon",)
    )
    first, second = (task["predictions"][0]["result"] for task in tasks)
    assert [region["type"] for region in first] == ["polygonlabels"] * 4
    points = np.array(first[0]["value"]["points"]) * [7, 5] / 100
    assert np.allclose(points, [[0, 0], [2, 0], [2, 2], [0, 2]])
    assert [region["type"] for region in second] == ["brushlabels"]
    assert np.array_equal(brush_mask(second[0]), HOLE)


def test_images_without_a_mask_are_tasks_without_predictions(tmp_path):
    tasks = exported(tmp_path, hard_predictions())
    without = {task["data"]["image_id"] for task in tasks if "predictions" not in task}
    assert without == {"nothing", "failed later"}


def test_addresses_are_encoded(tmp_path):
    predictions = hard_predictions()[:2]
    dataset = write_images(tmp_path / "photos", predictions)
    tasks = exported(tmp_path, predictions, dataset=dataset, image_url="https://x.org/{path}?a=1")
    assert [task["data"]["image"] for task in tasks] == [
        "https://x.org/photo%200.png?a=1",
        "https://x.org/photo%201.jpg?a=1",
    ]


def test_addresses_of_placed_images_lead_to_them(tmp_path):
    predictions = hard_predictions()[:2]
    dataset = write_images(tmp_path / "photos", predictions)
    tasks = exported(tmp_path, predictions, dataset=dataset, images="copy", image_url="{path}")
    for task in tasks:
        assert (tmp_path / "out" / unquote(task["data"]["image"])).is_file()


def test_files_are_not_too_large(tmp_path):
    predictions = [image(f"i{index}", found(LEFT)) for index in range(7)]
    tasks = exported(tmp_path, predictions, tasks_per_file=3)
    assert [task["data"]["image_id"] for task in tasks] == [f"i{index}" for index in range(7)]
    assert len(list((tmp_path / "out").glob("tasks-*.json"))) == 3
