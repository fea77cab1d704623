from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from wsl.data.categories import Categories
from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.readers.files import FilesOptions
from wsl.data.readers.folder import FolderOptions
from wsl.errors import ConfigError, DataError
from wsl.run.config import build_config

CATEGORIES = Categories(("tench", "hen"))


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def opened(**options):
    return open_dataset(FilesOptions(**options), CATEGORIES)


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
def test_a_part_is_consecutive_and_knows_its_samples(photos, subset, ids):
    dataset = opened(root=photos, subset=subset)
    assert dataset.image_ids == tuple(ids)
    assert [sample.path.stem for sample in dataset] == list(ids)
    assert dataset.name == f"files {photos.name}, subset {subset}"
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
    with pytest.raises(DataError, match=r"data\.subset 1/4 holds none of the 3 images"):
        opened(root=photos, subset="1/4")


def test_a_missing_root_is_refused(photos):
    with pytest.raises(DataError, match=r"data\.root must be .*gone does not exist"):
        opened(root=photos / "gone")
    with pytest.raises(DataError, match=r"data\.root must be .*a\.jpg is a file"):
        opened(root=photos / "a.jpg")
    with pytest.raises(DataError, match=r"data\.root must name the dataset's folder"):
        open_dataset(FolderOptions(), CATEGORIES)


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
        ({"limit": 0}, r"data\.limit must be greater than or equal to 1, but got 0"),
        ({"max_pixels": 0}, r"data\.max_pixels must be greater than or equal to 1, but got 0"),
        ({"subset": "0/2"}, r"data\.subset .*match pattern .*, but got '0/2'"),
        ({"subset": "first"}, r"data\.subset .*match pattern .*, but got 'first'"),
        ({"subset": "3/2"}, "subset must be one of 1/2 to 2/2, not 3/2"),
        ({"format": "pascal"}, r"data\.format must be one of ilsvrc, folder, .*but got 'pascal'"),
        ({"splitt": "val"}, r"data\.splitt is an unknown key\. Did you mean split"),
        ({"part": "1/2"}, r"data\.part is now subset"),
        ({"images": ["a.jpg"]}, r"data\.images is an option of format files, but format is ilsvrc"),
        ({"format": "files", "root": ".", "images": ["a.jpg"]}, "must not both be given"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_meant_are_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        build_config({"data": values})
