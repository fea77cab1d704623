from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

import wsl.data
from wsl.data import open as open_module
from wsl.data.categories import Categories
from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.options import DataFormat, DataOptions
from wsl.errors import ConfigError, DataError
from wsl.run.config import build_config

CATEGORIES = Categories(("tench", "hen"))


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def opened(**options):
    return open_dataset(DataOptions(format="files", **options), CATEGORIES)


def test_every_format_has_its_reader():
    assert tuple(open_module._FORMATS) == get_args(DataFormat)


def test_all_public_names_are_there():
    assert all(hasattr(wsl.data, name) for name in wsl.data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'picture'"):
        wsl.data.picture  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("wsl.data", {"torch", "cv2", "pandas", "PIL"}), ("wsl.data.open", {"torch", "pandas"})],
)
def test_opening_a_dataset_needs_no_torch(module, heavy):
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize(("limit", "ids"), [(1, "a"), (2, "ab"), (9, "abc"), (None, "abc")])
def test_limit_keeps_the_first(photos, limit, ids):
    dataset = opened(root=photos, limit=limit)
    assert dataset.image_ids == tuple(ids)
    assert [sample.path.stem for sample in dataset] == list(ids)


@pytest.mark.parametrize(
    ("subset", "ids"), [("1/1", "abc"), ("1/2", "a"), ("2/2", "bc"), ("2/3", "b"), ("3/3", "c")]
)
def test_a_part_is_consecutive_and_knows_its_samples(photos, part, ids):
    dataset = opened(root=photos, subset=part)
    assert dataset.image_ids == tuple(ids)
    assert [sample.path.stem for sample in dataset] == list(ids)
    assert dataset.name == f"files {photos.name}, part {part}"
    assert dataset.root == photos


@pytest.mark.parametrize("count", range(1, 4))
def test_parts_share_the_list_out_without_overlap(photos, count):
    parts = [opened(root=photos, subset=f"{which}/{count}") for which in range(1, count + 1)]
    assert [one for part in parts for one in part.image_ids] == ["a", "b", "c"]


def test_limit_is_of_the_part(photos):
    dataset = opened(root=photos, subset="2/2", limit=1)
    assert [sample.path.stem for sample in dataset] == ["b"]
    assert dataset_fingerprint(dataset) != dataset_fingerprint(opened(root=photos, limit=1))


def test_a_part_without_images_is_refused(photos):
    with pytest.raises(DataError, match=r"data\.part 1/4 holds none of the 3 images"):
        opened(root=photos, subset="1/4")


def test_a_missing_root_is_refused(photos):
    with pytest.raises(DataError, match=r"data\.root must be .*gone does not exist"):
        opened(root=photos / "gone")
    with pytest.raises(DataError, match=r"data\.root must be .*a\.jpg is a file"):
        opened(root=photos / "a.jpg")
    with pytest.raises(DataError, match=r"data\.root must name the dataset's folder"):
        open_dataset(DataOptions(format="folder"), CATEGORIES)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no images found in .* \(1 other files are there\)"):
        opened(root=tmp_path)


def test_fingerprint_is_of_name_and_ids_in_order(photos):
    dataset = opened(root=photos)
    by_hand = hashlib.sha256(f"files {photos.name}\0a\0b\0c".encode()).hexdigest()
    assert dataset_fingerprint(dataset) == by_hand
    assert dataset_fingerprint(opened(root=photos, limit=2)) != by_hand
    dataset.image_ids = ("b", "a", "c")
    assert dataset_fingerprint(dataset) != by_hand
    dataset.image_ids = ("a", "b", "c")
    dataset.name = "another"
    assert dataset_fingerprint(dataset) != by_hand


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"limit": 0}, "greater than or equal to 1"),
        ({"max_pixels": 0}, "greater than or equal to 1"),
        ({"subset": "0/2"}, "should match pattern"),
        ({"subset": "first"}, "should match pattern"),
        ({"subset": "3/2"}, "subset must be one of 1/2 to 2/2, not 3/2"),
        ({"format": "pascal"}, "'ilsvrc', 'folder'"),
        ({"splitt": "val"}, "Extra inputs"),
        ({"images": ["a.jpg"]}, "images must not be given where format is ilsvrc"),
        ({"format": "files", "root": ".", "images": ["a.jpg"]}, "must not both be given"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(values, reason):
    with pytest.raises(ValidationError, match=reason):
        DataOptions(**values)
    with pytest.raises(ConfigError, match="data"):
        build_config({"data": values})


def test_every_option_is_described():
    fields = DataOptions.model_json_schema()["properties"]
    assert all(field.get("description") for field in fields.values())
