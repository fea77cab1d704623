"""Components of a mask as objects of their own."""

import numpy as np
import pytest
from export_cases import (
    CATEGORIES,
    PARTS,
    TOUCHING,
    drawn,
    export,
    found,
    image,
    write_images,
    write_run,
)
from export_readers import CASES, Source
from PIL import Image

from wsl.masks import components, mask_to_box

MASKS = {"parts": PARTS, "touching": TOUCHING, "one": drawn(".##.", ".##.")}


@pytest.mark.parametrize(
    "name", ["coco", "coco-polygon", "coco-box", "yolo", "yolo-polygon", "cvat", "label_studio"]
)
def test_each_component_is_an_object(tmp_path, name):
    case = CASES[name]
    predictions = [image(key, found(mask)) for key, mask in MASKS.items()]
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    options = {**case.options, "instances": True, "min_instance": 0}
    summary = export(run, case.name, tmp_path / "out", dataset=dataset, **options)
    expected = {key: components(mask) for key, mask in MASKS.items()}
    assert summary.masks == sum(map(len, expected.values())) == 6
    read = list(case.read(Source(tmp_path / "out", CATEGORIES, {key: key for key in MASKS})))
    for key, parts in expected.items():
        masks = [mask for image_id, _, mask, _ in read if image_id == key and mask is not None]
        boxes = [box for image_id, _, _, box in read if image_id == key and box is not None]
        if "mask" in case.gives:
            assert len(masks) == len(parts)
            assert all(np.array_equal(a, b) for a, b in zip(masks, parts, strict=True))
        if "box" in case.gives:
            wanted = [mask_to_box(MASKS[key]), *map(mask_to_box, parts[1:])]  # the run's box first
            np.testing.assert_allclose(boxes, wanted, atol=1e-4)


def test_voc_numbers_the_objects(tmp_path):
    run = write_run(tmp_path / "run", [image("parts", found(PARTS))])
    options = {"instances": True, "min_instance": 0, "boundary_ignore": 0}
    export(run, "voc", tmp_path / "out", **options)
    folder = tmp_path / "out/VOCdevkit/VOC2012"
    objects = np.array(Image.open(folder / "SegmentationObject/parts.png"))
    assert objects.max() == 4
    for number, part in enumerate(components(PARTS), 1):
        assert np.array_equal(objects == number, part)
    classes = np.array(Image.open(folder / "SegmentationClass/parts.png"))
    assert np.array_equal(classes == 1, PARTS)


def test_specks_are_no_instances(tmp_path):
    mask = np.zeros((30, 40), dtype=bool)
    mask[2:22, 2:22] = mask[5:15, 28:38] = mask[28, 5] = True
    run = write_run(tmp_path / "run", [image("a", found(mask))])
    summary = export(run, "coco", tmp_path / "out", instances=True)
    assert summary.masks == 2
    assert summary.notes == ("1 components were too small to be instances",)
    assert export(run, "coco", tmp_path / "whole").masks == 1


def test_a_run_of_largest_components_says_so(tmp_path):
    config = {"localize": {"components": "largest"}}
    run = write_run(tmp_path / "run", [image("a", found(PARTS))], config=config)
    summary = export(run, "coco", tmp_path / "out", instances=True)
    assert summary.notes[-1] == "the run kept only the largest component of each mask"
