"""All formats of annotated datasets through the options, drawn small."""

import json

import pytest

from wsl.config.layers import build_options
from wsl.config.options import choices
from wsl.data.categories import Categories
from wsl.data.open import DataOptions, find_format, open_dataset
from wsl.data.readers.coco import CocoOptions
from wsl.errors import ConfigError, DataError

KNOWN = Categories(("dog", "cat"))
BOX = [1, 2, 5, 4]


def draw_wsol(root):
    lists = root / "metadata" / "pets" / "val"
    lists.mkdir(parents=True)
    (lists / "image_ids.txt").write_text("a.jpg\nb.jpg\n")
    (lists / "class_labels.txt").write_text("a.jpg,0\nb.jpg,1\n")
    (lists / "image_sizes.txt").write_text("a.jpg,10,8\nb.jpg,10,8\n")
    (lists / "localization.txt").write_text("a.jpg,1,2,4,3\nb.jpg,1,2,4,3\n")
    return {"annotations": root / "metadata" / "pets"}


def draw_cub(root):
    for name, content in {
        "images": "1 001.dog/a.jpg\n2 002.cat/b.jpg\n",
        "image_class_labels": "1 1\n2 2\n",
        "bounding_boxes": "1 1.0 2.0 4.0 2.0\n2 1.0 2.0 4.0 2.0\n",
        "train_test_split": "1 0\n2 0\n",
        "classes": "1 001.dog\n2 002.cat\n",
    }.items():
        (root / f"{name}.txt").write_text(content)
    return {"split": "test"}


def draw_voc(root):
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("a\nb\n")
    for image_id, name in (("a", "dog"), ("b", "cat")):
        (root / "Annotations" / f"{image_id}.xml").write_text(
            f"<annotation><object><name>{name}</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
            "<xmax>5</xmax><ymax>4</ymax></bndbox></object></annotation>"
        )
    return {}


def draw_coco(root):
    path = root / "corrected.json"
    size = {"width": 10, "height": 8}
    content = {
        "images": [{"id": n, "file_name": f"{name}.jpg", **size} for n, name in enumerate("ab")],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n + 1, "bbox": [1, 2, 4, 2]} for n in (0, 1)
        ],
    }
    path.write_text(json.dumps(content))
    return {"annotations": path}


DRAW = {"wsol": draw_wsol, "cub": draw_cub, "voc": draw_voc, "coco": draw_coco}


@pytest.mark.parametrize("name", DRAW)
def test_the_same_box_in_every_format(tmp_path, name):
    content = {"format": name, "root": str(tmp_path)} | DRAW[name](tmp_path)
    options = build_options(DataOptions, content, source="data")
    dataset = open_dataset(options, KNOWN)
    assert [sample.label for sample in dataset] == [0, 1]
    assert [sample.annotation.boxes().tolist() for sample in dataset] == [[BOX], [BOX]]
    assert len(open_dataset(options.model_copy(update={"limit": 1}), KNOWN)) == 1


@pytest.mark.parametrize("model", choices(DataOptions).values(), ids=choices(DataOptions))
def test_every_format_says_what_it_is(model):
    assert model.summary
    fields = model.model_json_schema()["properties"].values()
    assert all(field.get("description") for field in fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"annotations": "x"},
            "annotations is an option of format wsol or coco, but format is voc",
        ),
        ({"images": ["x"]}, "images is an option of format files, but format is voc"),
        ({"format": "folder", "split": "x"}, "split is an option of format ilsvrc or .* is folder"),
        ({"format": "wsol"}, "annotations must be given"),
        (
            {"format": "cub", "split": "val"},
            "split must be 'train', 'test' or 'all', but got",
        ),
    ],
    ids=["annotations", "images", "split", "missing", "literal"],
)
def test_options_of_other_formats_are_refused(content, message):
    with pytest.raises(ConfigError, match=message):
        build_options(DataOptions, {"format": "voc"} | content, source="data")


def test_a_missing_split_of_coco_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*instances_val2017\.json"):
        open_dataset(CocoOptions(root=tmp_path), KNOWN)


@pytest.mark.parametrize("name", ["cub", "voc"])
def test_the_format_of_a_folder_is_found(tmp_path, name):
    DRAW[name](tmp_path)
    assert find_format(tmp_path) == name


def test_coco_is_found_by_its_lists(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").touch()
    assert find_format(tmp_path) == "coco"


def test_a_folder_without_marks_holds_files(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert find_format(tmp_path) == find_format("s3://bucket/photos") == "files"
