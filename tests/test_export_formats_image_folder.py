from __future__ import annotations

import json

import numpy as np
import pytest
from export_cases import expected_masks, export, hard_predictions, write_images, write_run
from torchvision.datasets import ImageFolder

from wsl.masks import decode_rle, mask_to_box


@pytest.fixture
def exported(tmp_path):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    summary = export(
        run, "image_folder", tmp_path / "out", classes="all", images="copy", dataset=dataset
    )
    return predictions, tmp_path / "out/train", summary


def test_metadata_has_masks_and_boxes(exported):
    predictions, folder, _ = exported
    expected, seen = expected_masks(predictions), set()
    for line in (folder / "metadata.jsonl").read_text("ascii").splitlines():
        entry = json.loads(line)
        assert (folder / entry["file_name"]).is_file()
        objects = entry["objects"]
        assert len({len(values) for values in objects.values()}) == 1
        for label, rle, (x, y, width, height) in zip(
            objects["label"], objects["mask"], objects["bbox"], strict=True
        ):
            localization = expected[entry["image_id"], label]
            seen.add((entry["image_id"], label))
            size = (entry["height"], entry["width"])
            assert np.array_equal(decode_rle(rle, size), localization.mask)
            wanted = localization.box or mask_to_box(localization.mask)
            assert (x, y, x + width, y + height) == wanted
    assert seen == set(expected)


def test_torchvision_reads_it_as_a_folder_of_classes(exported):
    _, folder, summary = exported
    loaded = ImageFolder(str(folder))
    assert loaded.classes == ["n1", "n2", "n3"]
    assert len(loaded) == summary.images_exported == 10
    counts = np.bincount([label for _, label in loaded.samples])
    assert counts.tolist() == [5, 4, 1]
    assert all(picture.size for picture, _ in loaded)
