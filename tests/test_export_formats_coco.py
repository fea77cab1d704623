from __future__ import annotations

import contextlib
import io
import json

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
from export_readers import load_coco
from torchvision.datasets import CocoDetection


def exported(tmp_path, predictions, *, dataset=None, **options):
    run = write_run(tmp_path / "run", predictions)
    out = tmp_path / "out"
    summary = export(run, "coco", out, **options, dataset=dataset)
    return summary, load_coco(out / "annotations/instances_train.json")


def test_layout_is_the_published_one(tmp_path):
    predictions = hard_predictions()
    run = write_run(tmp_path / "run", predictions)
    export(run, "coco", tmp_path / "out", shape="polygon")
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text("ascii"))
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    assert [category["id"] for category in content["categories"]] == [1, 2, 3]
    assert [category["name"] for category in content["categories"]] == ["tench", "hen", "žába & co"]
    sizes = {item["id"]: (item["height"], item["width"]) for item in content["images"]}
    assert list(sizes) == list(range(1, len(sizes) + 1))
    assert [item["id"] for item in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    for item in content["annotations"]:
        assert item["image_id"] in sizes
        assert item["category_id"] in {1, 2, 3}
        segmentation = item["segmentation"]
        if isinstance(segmentation, dict):
            assert tuple(segmentation["size"]) == sizes[item["image_id"]]
            assert isinstance(segmentation["counts"], str)
        else:
            assert all(len(ring) >= 8 and len(ring) % 2 == 0 for ring in segmentation)


def test_the_area_without_a_mask_is_the_boxs(tmp_path):
    _, coco = exported(tmp_path, [image("a", found(LEFT, quality=0.25))], shape="box")
    assert coco.anns[1]["segmentation"] == []
    assert coco.anns[1]["area"] == 16
    assert (coco.anns[1]["score"], coco.anns[1]["quality"]) == (0.5, 0.25)


def test_a_mask_with_a_hole_stays_run_lengths_and_parts_are_polygons(tmp_path):
    summary, coco = exported(
        tmp_path, [image("hole", found(HOLE)), image("parts", found(PARTS))], shape="polygon"
    )
    first, second = coco.anns[1], coco.anns[2]
    assert isinstance(first["segmentation"], dict)
    assert [len(ring) for ring in second["segmentation"]] == [8, 8, 8, 8]
    assert summary.notes == ("1 masks have holes and were not written as polygons",)


def test_results_are_scored_as_right_against_the_instances(tmp_path):
    from pycocotools.cocoeval import COCOeval

    _, coco = exported(tmp_path, hard_predictions(), classes="all")
    with contextlib.redirect_stdout(io.StringIO()):
        results = coco.loadRes(str(tmp_path / "out/annotations/results_train.json"))
        evaluation = COCOeval(coco, results, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_torchvision_reads_it(tmp_path):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    summary, _ = exported(tmp_path, predictions, dataset=dataset, images="copy")
    out = tmp_path / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = CocoDetection(str(out / "images"), str(out / "annotations/instances_train.json"))
    assert len(loaded) == summary.images_exported == 10
    for picture, objects in loaded:
        for annotation in objects:
            assert loaded.coco.annToMask(annotation).shape == (picture.height, picture.width)


def test_paths_lead_to_the_dataset_without_copies(tmp_path):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    _, coco = exported(tmp_path, predictions, dataset=dataset)
    assert all((dataset.root / item["file_name"]).is_file() for item in coco.imgs.values())
    assert not (tmp_path / "out/images").exists()


def test_whole_numbers_stay_image_ids(tmp_path):
    _, coco = exported(tmp_path, [image("139", found(LEFT)), image("7", found(LEFT))])
    assert set(coco.imgs) == {139, 7}


def test_leading_zeros_are_no_numbers(tmp_path):
    _, coco = exported(tmp_path, [image("007", found(LEFT)), image("7", found(LEFT))])
    assert {key: item["image_id"] for key, item in coco.imgs.items()} == {1: "007", 2: "7"}


def test_empty_images_only_if_asked_for(tmp_path):
    predictions = hard_predictions()
    summary, coco = exported(tmp_path, predictions, classes="all", empty_images=True)
    without = {item["image_id"] for item in coco.imgs.values() if not coco.imgToAnns[item["id"]]}
    assert without == {"nothing", "failed later"}
    assert summary.images_without_mask == 3


def test_nothing_at_all_is_an_empty_but_valid_file(tmp_path):
    from export_cases import EMPTY

    summary, coco = exported(tmp_path, [image("a", found(EMPTY))])
    assert (coco.imgs, coco.anns, summary.masks) == ({}, {}, 0)
    assert json.loads((tmp_path / "out/annotations/results_train.json").read_text()) == []
