from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsl.data.categories import Categories
from wsl.data.open import open_dataset
from wsl.data.readers.files import FilesDataset, FilesOptions, list_images
from wsl.errors import DataError

CATEGORIES = Categories.numbered(3)


def touch(root: Path, *files: str) -> list[Path]:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return [root / file for file in files]


def opened(*images: Path, **options):
    return open_dataset(FilesOptions(images=images, **options), CATEGORIES)


def test_a_folder_is_listed_deeply_and_without_labels(tmp_path):
    touch(tmp_path, "b.jpg", "a.png", "in side/größe.WEBP", "in side/readme", ".hidden.jpg")
    dataset = opened(root=tmp_path)
    assert dataset.name == f"files {tmp_path.name}"
    assert dataset.image_ids == ("a", "b", "in side/größe")
    assert dataset.skipped == 2
    assert all(sample.path.is_file() for sample in dataset)
    assert {(sample.label, sample.annotation) for sample in dataset} == {(None, None)}


def test_named_files_are_taken_whatever_their_extension(tmp_path):
    paths = touch(tmp_path, "x/b.dat", "x/.hidden", "y/a.jpg")
    dataset = opened(*paths)
    assert dataset.image_ids == ("x/b", "x/.hidden", "y/a")
    assert [sample.path for sample in dataset] == paths
    assert dataset.root == tmp_path


def test_one_file_is_named_by_its_stem(tmp_path):
    (path,) = touch(tmp_path, "some dog.jpg")
    assert opened(path).image_ids == ("some dog",)


def test_folders_among_the_files_are_listed(tmp_path):
    (single,) = touch(tmp_path, "z.jpg")
    touch(tmp_path, "in/b.jpg", "in/a.jpg", "in/notes.txt")
    dataset = opened(single, tmp_path / "in")
    assert dataset.image_ids == ("z", "in/a", "in/b")
    assert dataset.skipped == 1


def test_relative_paths_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.jpg", "b.jpg")
    monkeypatch.chdir(tmp_path / "in")
    dataset = opened(Path("a.jpg"), Path("../b.jpg"))
    assert dataset.image_ids == ("in/a", "b")
    assert all(sample.path.is_file() for sample in dataset)


def test_ids_that_collide_keep_their_extensions(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "b.jpg", "c.png", "c.png.bmp", "in/a.jpg")
    dataset = opened(root=tmp_path)
    assert dataset.image_ids == ("a.jpg", "a.png", "b", "c", "c.png.bmp", "in/a")
    assert [sample.path.name for sample in dataset] == [
        "a.jpg",
        "a.png",
        "b.jpg",
        "c.png",
        "c.png.bmp",
        "a.jpg",
    ]


@given(st.sets(st.text("ab./", min_size=1, max_size=6)))
def test_ids_are_unique_and_lead_back_to_the_files(names):
    files = sorted({os.path.normpath(name).lstrip("/") for name in names} - {".", ""})
    dataset = FilesDataset("files", Path("/root"), CATEGORIES, files)
    assert len(set(dataset.image_ids)) == len(files)
    assert [sample.path for sample in dataset] == [Path("/root") / file for file in files]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.images: there is no file .*gone\.jpg"):
        opened(tmp_path / "gone.jpg")


def test_a_file_named_twice_is_refused(tmp_path):
    (path,) = touch(tmp_path, "in/a.jpg")
    with pytest.raises(DataError, match=r"must name each file once, not .*a\.jpg twice"):
        opened(path, tmp_path / "in")


def test_neither_root_nor_images_is_refused():
    with pytest.raises(
        DataError, match=r"data\.root must name .* folder, or data\.images its files"
    ):
        opened()


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path):
    touch(tmp_path, "in/a.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    assert list_images(tmp_path) == (["in/a.jpg"], 1)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only on Linux")
def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xe9t\xe9.jpg")).touch()
    with pytest.raises(DataError, match="an image's name must be Unicode"):
        opened(root=tmp_path)


@pytest.mark.data
def test_the_photographs_are_listed(shared_data):
    dataset = opened(root=shared_data / "data" / "photos")
    assert len(dataset) == 63
    assert dataset.skipped == 0
    assert dataset.image_ids[0] == "n01440764_tench"
