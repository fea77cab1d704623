"""Exports of the 650 images, read by other tools. Masks are drawn into the annotated boxes."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pandas as pd
import pytest
from export_cases import export, found, write_run
from PIL import Image
from torchvision.datasets import CocoDetection, ImageFolder, VOCDetection, VOCSegmentation

from wsl.data.categories import Categories
from wsl.data.images import image_size
from wsl.data.open import open_dataset
from wsl.data.options import DataOptions
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import decode_rle

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def annotated(shared_data, tmp_path_factory):
    """The dataset, a run of it, and the run's localizations by image id."""
    root = shared_data / "data/ilsvrc"
    categories = Categories.from_file(root / "LOC_synset_mapping.txt")
    dataset = open_dataset(DataOptions(format="ilsvrc", root=root, split="val"), categories)
    rng = np.random.default_rng(0)
    predictions = []
    for sample in dataset:
        height, width = image_size(sample.path)
        instance = next(one for one in sample.annotation.instances if one.label == sample.label)
        x0, y0, x1, y1 = (round(value) for value in instance.box)
        mask = np.zeros((height, width), dtype=bool)
        mask[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < 0.95
        mask[[y0, y1 - 1], x0:x1] = mask[y0:y1, [x0, x1 - 1]] = True
        localization = found(mask, 0)
        localization = Localization(
            **{
                **localization.__dict__,
                "label": sample.label,
                "category": categories.names[sample.label],
            }
        )
        predictions.append(Prediction(sample.image_id, mask.shape, (localization,)))
    run = write_run(
        tmp_path_factory.mktemp("ilsvrc") / "run",
        predictions,
        categories=categories,
        chunk_size=256,
    )
    return dataset, run, {one.image_id: one.localizations[0] for one in predictions}


def test_coco(annotated, tmp_path):
    dataset, run, expected = annotated
    summary = export(run, "coco", tmp_path / "out", dataset=dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = CocoDetection(
            str(dataset.root), str(tmp_path / "out/annotations/instances_train.json")
        )
    assert len(loaded) == summary.masks == len(expected) == 650
    for index, key in enumerate(loaded.ids):
        picture, (item,) = loaded[index]
        localization = expected[loaded.coco.imgs[key]["image_id"]]
        assert (picture.height, picture.width) == localization.mask.shape
        assert item["category_id"] == localization.label + 1
        assert np.array_equal(loaded.coco.annToMask(item).astype(bool), localization.mask)
        x, y, width, height = item["bbox"]
        assert (x, y, x + width, y + height) == localization.box


def test_voc(annotated, tmp_path):
    dataset, run, expected = annotated
    export(run, "voc", tmp_path / "out", boundary_ignore=0, class_list="all", dataset=dataset)
    detection = VOCDetection(str(tmp_path / "out"), year="2012", image_set="train")
    segmentation = VOCSegmentation(str(tmp_path / "out"), year="2012", image_set="train")
    assert len(detection) == len(segmentation) == 650
    for (_, annotation), (_, target) in zip(detection, segmentation, strict=True):
        content = annotation["annotation"]
        localization = expected[content["filename"].removesuffix(".jpg")]
        (item,) = content["object"]
        box = [int(item["bndbox"][name]) for name in ("xmin", "ymin", "xmax", "ymax")]
        assert (box[0] - 1, box[1] - 1, box[2], box[3]) == localization.box
        assert np.array_equal(np.array(target), localization.mask * (localization.label + 1))


def test_yolo_boxes(annotated, tmp_path):
    dataset, run, expected = annotated
    export(run, "yolo", tmp_path / "out", class_list="all", dataset=dataset)
    images = list((tmp_path / "out/images/train").iterdir())
    assert len(images) == 650
    for path in images:
        with Image.open(path) as picture:
            width, height = picture.size
        text = (tmp_path / f"out/labels/train/{path.stem}.txt").read_text()
        label, *numbers = text.split()
        x, y, w, h = np.array(numbers, dtype=float) * [width, height, width, height]
        assert int(label) == expected[path.stem].label
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        assert np.allclose(box, expected[path.stem].box, atol=1e-4)


def test_masks_and_tables(annotated, tmp_path):
    dataset, run, expected = annotated
    export(run, "masks", tmp_path / "masks", dataset=dataset)
    export(run, "parquet", tmp_path / "table", dataset=dataset)
    boxes = pd.read_parquet(tmp_path / "table/boxes.parquet").set_index("image_id")
    files = pd.read_csv(tmp_path / "masks/masks.csv").set_index("image_id")
    assert len(boxes) == len(files) == 650
    for image_id, localization in expected.items():
        mask = np.array(Image.open(tmp_path / "masks" / files.at[image_id, "file"]))
        assert np.array_equal(mask, localization.mask * np.uint8(255))
        for table in (boxes, files):
            assert tuple(table.loc[image_id, ["x0", "y0", "x1", "y1"]]) == localization.box
        assert boxes.at[image_id, "mask_area"] == localization.mask.sum()


def test_image_folder(annotated, tmp_path):
    dataset, run, expected = annotated
    export(run, "image_folder", tmp_path / "out", dataset=dataset)
    loaded = ImageFolder(str(tmp_path / "out/train"))
    assert len(loaded) == 650
    assert set(loaded.classes) == {dataset.categories.ids[it.label] for it in expected.values()}
    lines = (tmp_path / "out/train/metadata.jsonl").read_text().splitlines()
    by_file = {entry["file_name"]: entry for entry in map(json.loads, lines)}
    for entry in by_file.values():
        localization = expected[entry["image_id"]]
        (rle,), ((x, y, width, height),) = entry["objects"]["mask"], entry["objects"]["bbox"]
        mask = decode_rle(rle, (entry["height"], entry["width"]))
        assert np.array_equal(mask, localization.mask)
        assert (x, y, x + width, y + height) == localization.box
    for path, label in loaded.samples:
        name = "/".join(path.rsplit("/", 2)[1:])
        wnid = dataset.categories.ids[by_file[name]["objects"]["label"][0]]
        assert loaded.classes[label] == wnid
