import contextlib
import copy
import io
import json
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from wsl.data.categories import Categories
from wsl.data.readers.coco import CocoDataset, CocoOptions, _unpacked
from wsl.errors import AnnotationError, DataError
from wsl.masks import decode_rle, encode_rle

KNOWN = Categories(("zebra", "dog"))
TRIANGLE = [1.0, 1.0, 8.5, 1.0, 1.0, 6.0]
SQUARE = [10, 2, 13, 2, 13, 5, 10, 5]
CONTENT = {
    "info": {"year": 2017},
    "images": [
        {"id": 139, "file_name": "000000000139.jpg", "width": 16, "height": 8},
        {"id": 7, "file_name": "000000000007.jpg", "width": 16, "height": 8},
        {"id": 9, "file_name": "000000000009.jpg", "width": 16, "height": 8},
    ],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 24, "name": "zebra", "supercategory": "animal"},
        {"id": 1, "name": "person", "supercategory": "person"},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 139,
            "category_id": 18,
            "bbox": [1.0, 1.0, 12.5, 5.25],
            "segmentation": [TRIANGLE, SQUARE],
            "iscrowd": 0,
            "area": 28.0,
        },
        {
            "id": 2,
            "image_id": 139,
            "category_id": 1,
            "bbox": [0, 0, 2, 8],
            "segmentation": {"size": [8, 16], "counts": [0, 16, 112]},
            "iscrowd": 1,
        },
        {"id": 3, "image_id": 7, "category_id": 18, "bbox": [0, 0, 3, 3], "segmentation": []},
        {"id": 4, "image_id": 7, "category_id": 24, "bbox": [3, 3, 3, 3]},
    ],
}


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def opened(tmp_path, content):
    """Open the content in COCO's own layout."""

    def write_and_open(categories=KNOWN):
        path = tmp_path / "annotations" / "instances_val2017.json"
        path.parent.mkdir(exist_ok=True)
        (tmp_path / "val2017").mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return CocoDataset(tmp_path, categories, split="val2017")

    return write_and_open


def test_boxes_labels_and_crowds(opened, tmp_path):
    dataset = opened()
    assert dataset.name == "coco val2017"
    assert dataset.image_ids == ("000000000139", "000000000007", "000000000009")
    one, several, nothing = dataset
    assert one.path == tmp_path / "val2017" / "000000000139.jpg"
    assert one.annotation.size == (8, 16)
    assert one.annotation.boxes().tolist() == [[1, 1, 13.5, 6.25], [0, 0, 2, 8]]
    assert [(i.label, i.ignore) for i in one.annotation.instances] == [(1, False), (-1, True)]
    assert (one.label, several.label, nothing.label) == (1, None, None)
    assert several.annotation.labels == (0, 1)
    assert [i.mask for i in several.annotation.instances] == [None, None]
    assert nothing.annotation.instances == ()
    assert dataset.sample(0, annotated=False).annotation is None


def test_masks_are_those_of_pycocotools(opened, tmp_path):
    annotation = opened()[0].annotation
    with contextlib.redirect_stdout(io.StringIO()):
        oracle = COCO(str(tmp_path / "annotations" / "instances_val2017.json"))
    for number, instance in enumerate(annotation.instances, 1):
        expected = oracle.annToMask(oracle.anns[number]).astype(bool)
        assert expected.any()
        assert (decode_rle(instance.mask, annotation.size) == expected).all()


@given(stnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_the_text_of_run_lengths_is_understood(mask):
    lengths = _unpacked(encode_rle(mask), "here")
    assert sum(lengths) == mask.size
    packed = coco_mask.frPyObjects({"size": list(mask.shape), "counts": lengths}, *mask.shape)
    assert packed["counts"].decode() == encode_rle(mask)


@given(st.text(st.sampled_from(string.printable), max_size=12))
def test_any_other_text_is_refused_or_fits(text):
    # What passes the checks must be safe to decode.
    try:
        lengths = _unpacked(text, "here")
    except AnnotationError:
        return
    if min(lengths, default=0) >= 0 and 0 < sum(lengths) < 10_000:
        assert decode_rle(text, (1, sum(lengths))).sum() == sum(lengths[1::2])


def test_compressed_runs_are_taken_as_they_are(opened, content):
    mask = np.zeros((8, 16), bool)
    mask[2:5, 3:9] = True
    content["annotations"][0]["segmentation"] = {"size": [8, 16], "counts": encode_rle(mask)}
    assert opened()[0].annotation.instances[0].mask == encode_rle(mask)


def test_own_folders_and_ids_that_would_be_the_same(tmp_path, content):
    content["images"][1]["file_name"] = "000000000139.png"
    path = tmp_path / "corrected.json"
    path.write_text(json.dumps(content))
    dataset = CocoDataset(tmp_path / "pictures", KNOWN, annotations=path)
    assert dataset.image_ids == ("000000000139.jpg", "000000000139.png", "000000000009")
    assert dataset[0].path == tmp_path / "pictures" / "000000000139.jpg"
    assert dataset.name == "coco corrected"


def test_an_export_of_a_run_keeps_its_ids_and_its_folder(tmp_path, content):
    for image, image_id in zip(content["images"], ("a b", "a/b", "c"), strict=True):
        image["image_id"] = image_id
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    dataset = CocoDataset(tmp_path, KNOWN, split="val")
    assert dataset.image_ids == ("a b", "a/b", "c")
    assert dataset[0].path == tmp_path / "images" / "000000000139.jpg"


def test_a_classifier_that_knows_no_class_is_refused(opened):
    with pytest.raises(DataError, match=r"none of the 3 classes of .* \(dog, zebra, person\)"):
        opened(Categories(("tench",)))


def test_neither_split_nor_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="needs its annotations' JSON file, or a split"):
        CocoDataset(tmp_path, KNOWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("{", "cannot read"),
        ("[]", "but is a list: are these results"),
        ("{}", "must have a list of objects 'images'"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        CocoDataset(tmp_path, KNOWN, annotations=path)


def change(content, where, value):
    *path, last = where
    for key in path:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("images", 0, "file_name"), None, r"images\[0\] must have a text as the key 'file_name'"),
        (("images", 0, "id"), 7, "images must have unique ids, not 7 twice"),
        (("images",), [], "the list 'images' must not be empty"),
        (("images", 1, "file_name"), "000000000139.jpg", "names '000000000139.jpg' twice"),
        (("categories", 2, "name"), None, r"categories\[2\] must have a text as the key 'name'"),
        (("annotations", 1, "image_id"), 8, r"annotations\[1\] is of the image 8, which is not in"),
        (("annotations",), None, "must have a list of objects 'annotations'"),
    ],
)
def test_a_broken_file_is_refused(opened, content, where, value, message):
    change(content, where, value)
    with pytest.raises(DataError, match=message):
        opened()


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("category_id",), 99, "category_id must be one of the file's categories, but is 99"),
        (("category_id",), [1], r"category_id must be .* but is \[1\]"),
        (("iscrowd",), 2, "iscrowd must be 0 or 1, but is 2"),
        (("bbox",), None, "bbox must be .* but is None"),
        (("bbox",), [0, 0, 1], "bbox must be"),
        (("bbox",), [0, 0, float("nan"), 1], "bbox must be"),
        (("bbox",), [0, 0, -1, 1], "bbox must not have a negative side"),
        (("bbox",), [9, 0, 9, 1], "reaches over the border of the image of 16 × 8 pixels"),
        (("segmentation",), "PPYo0", "must be a list of polygons or run lengths, but is a str"),
        (("segmentation",), [[0, 0, 5, 5]], "a polygon must be .* three or more points"),
        (("segmentation",), [[0, 0, 5, 5, 1, 2, 3]], "a polygon must be"),
        (("segmentation",), [[0, 0, 5, 5, 1, 1e9]], "must lie in the image .* coordinate 1e"),
        (("segmentation",), {"size": [16, 8], "counts": [128]}, r"must be the image's \[8, 16\]"),
        (("segmentation",), {"size": [8, 16], "counts": [0, 129]}, "128 pixels, but sum to 129"),
        (("segmentation",), {"size": [8, 16], "counts": [129, -1]}, "must be positive"),
        (("segmentation",), {"size": [8, 16], "counts": "PPYo0"}, "sum to the image's 128 pixels"),
        (("segmentation",), {"size": [8, 16], "counts": "§"}, "hold '§', which is no run length"),
        (("segmentation",), {"size": [8, 16], "counts": "P"}, "end in the middle"),
        (("segmentation",), {"size": [8, 16]}, "counts must be text or a list of integers"),
    ],
)
def test_a_wrong_object_concerns_its_image_only(opened, content, where, value, message):
    change(content["annotations"][0], where, value)
    dataset = opened()
    with pytest.raises(AnnotationError, match=message) as caught:
        dataset.sample(0)
    assert "image '000000000139.jpg', annotation 1" in str(caught.value)
    assert len(dataset[1].annotation.instances) == 2


def test_an_image_without_size_is_refused(opened, content):
    del content["images"][0]["width"]
    with pytest.raises(AnnotationError, match="must be positive integers, but are 8 and None"):
        opened().sample(0)


@pytest.mark.parametrize(
    ("files", "split", "found"),
    [
        (["val2017", "train2017"], None, "val2017"),
        (["own"], None, "own"),
        (["own", "other"], "other", "other"),
    ],
    ids=["COCO's own", "the only one", "named"],
)
def test_the_only_file_needs_no_split(tmp_path, content, files, split, found):
    (tmp_path / "annotations").mkdir()
    for name in files:
        path = tmp_path / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(content))
    dataset = CocoOptions(root=tmp_path, split=split).open(KNOWN)
    assert dataset.name == f"coco {found}"
    assert len(dataset) == 3
