"""Lists of files that name files elsewhere are refused: an export would carry those along."""

import json

import pytest

from wsl.config.layers import build_options
from wsl.data.categories import Categories
from wsl.data.open import DataOptions, open_dataset
from wsl.data.parsing import inside
from wsl.data.readers.files import FilesOptions
from wsl.errors import DataError

CATEGORIES = Categories(("cat", "dog"), ("n00000001", "n00000002"))
EVIL = "../../secret/photo.jpg"


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "..", "a/../../b", "a\\..\\b", "\\\\host\\a", "a\0b"]
)
def test_names_that_lead_out_are_refused(name, tmp_path):
    with pytest.raises(DataError, match="must name files in the dataset's folder, but names"):
        inside(["fine.jpg", name], tmp_path / "list.txt")


def test_dots_in_names_are_fine(tmp_path):
    names = ("a..b.jpg", "...", "a/.hidden", "ä b/c")
    assert inside(names, tmp_path) == names


def coco(root):
    content = {
        "images": [{"id": 1, "file_name": EVIL, "width": 3, "height": 3}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return {}


def voc(root):
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text(EVIL.removesuffix(".jpg") + "\n")
    (root / "Annotations").mkdir()
    return {}


def cub(root):
    (root / "images.txt").write_text(f"1 {EVIL}\n")
    (root / "classes.txt").write_text("1 001.cat\n")
    (root / "image_class_labels.txt").write_text("1 1\n")
    (root / "train_test_split.txt").write_text("1 1\n")
    (root / "bounding_boxes.txt").write_text("1 1 1 2 2\n")
    return {"split": "all"}


def wsol(root):
    lists = root / "lists" / "val"
    lists.mkdir(parents=True)
    (lists / "image_ids.txt").write_text(EVIL + "\n")
    (lists / "class_labels.txt").write_text(f"{EVIL},0\n")
    (lists / "image_sizes.txt").write_text(f"{EVIL},3,3\n")
    (lists / "localization.txt").write_text(f"{EVIL},0,0,2,2\n")
    return {"annotations": root / "lists"}


def ilsvrc(root):
    (root / "Data" / "CLS-LOC" / "val").mkdir(parents=True)
    (root / "ImageSets" / "CLS-LOC").mkdir(parents=True)
    (root / "ImageSets" / "CLS-LOC" / "val.txt").write_text(EVIL.removesuffix(".jpg") + " 1\n")
    (root / "LOC_synset_mapping.txt").write_text("n00000001 cat\nn00000002 dog\n")
    return {}


# Found by tests/fuzz.py.
def test_a_root_of_an_impossible_name_is_told(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: File name too long"):
        open_dataset(FilesOptions(root=tmp_path / ("9" * 5000)), CATEGORIES)


@pytest.mark.parametrize("make", [coco, voc, cub, wsol, ilsvrc])
def test_no_dataset_leads_out_of_its_root(tmp_path, make):
    content = {"format": make.__name__, "root": str(tmp_path)} | make(tmp_path)
    options = build_options(DataOptions, content, source="data")
    with pytest.raises(DataError, match=r"must name (files|images) in .*, but names"):
        open_dataset(options, CATEGORIES)
