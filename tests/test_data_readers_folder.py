from __future__ import annotations

from pathlib import Path

import pytest

from wsl.data.categories import Categories
from wsl.data.open import open_dataset
from wsl.data.readers.folder import FolderOptions
from wsl.errors import DataError

CATEGORIES = Categories(
    ("tench, Tinca tinca", "great white shark", "crane", "crane", "7"),
    ("n01440764", "n01484850", "n02012849", "n03126707", "n00000007"),
)


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def opened(root: Path, **options):
    return open_dataset(FolderOptions(root=root, **options), CATEGORIES)


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("n01484850", 1),
        ("tench, Tinca tinca", 0),
        ("Tench", 0),
        ("great_white_shark", 1),
        ("3", 3),
        ("7", 4),  # a name goes before a number
    ],
)
def test_a_folder_is_a_class_by_id_name_synonym_or_number(tmp_path, folder, label):
    touch(tmp_path, f"{folder}/a.jpg")
    sample = opened(tmp_path)[0]
    assert (sample.image_id, sample.label, sample.annotation) == (f"{folder}/a", label, None)
    assert sample.path == tmp_path / folder / "a.jpg"


def test_images_are_sorted_and_may_lie_deeper(tmp_path):
    touch(tmp_path, "tench/b.PNG", "tench/a.bmp", "tench/in/side/ö 1.webp", "n01484850/z.jpeg")
    dataset = opened(tmp_path)
    assert dataset.name == f"folder {tmp_path.name}"
    assert dataset.image_ids == ("n01484850/z", "tench/a", "tench/b", "tench/in/side/ö 1")
    assert [sample.label for sample in dataset] == [1, 0, 0, 0]
    assert all(sample.path.is_file() for sample in dataset)


def test_what_is_not_listed_is_counted(tmp_path):
    touch(tmp_path, "tench/a.jpg", "tench/.hidden.jpg", "tench/readme.txt", "tench/b.gif")
    touch(tmp_path, ".git/objects/a.jpg", "loose.jpg", "list.csv")
    dataset = opened(tmp_path)
    assert dataset.image_ids == ("tench/a",)
    assert dataset.skipped == 6  # a hidden folder is one


def test_an_unknown_folder_is_refused_with_the_nearest(tmp_path):
    touch(tmp_path, "tench/a.jpg", "tensch/a.jpg")
    with pytest.raises(DataError, match=r"/tensch must be named after a class.*Did you mean tench"):
        opened(tmp_path)


def test_a_folder_of_several_classes_is_refused(tmp_path):
    touch(tmp_path, "crane/a.jpg")
    with pytest.raises(DataError, match=r"/crane must be named after a class: .*several classes"):
        opened(tmp_path)


def test_a_number_beyond_the_classes_is_refused(tmp_path):
    touch(tmp_path, "5/a.jpg")
    with pytest.raises(DataError, match="/5 must be named after a class: class 5 must be in 0"):
        opened(tmp_path)


def test_loose_images_alone_are_refused(tmp_path):
    touch(tmp_path, "a.jpg")
    with pytest.raises(DataError, match=r"must hold one folder per class.*format: files"):
        opened(tmp_path)


def test_linked_class_folders_are_followed(tmp_path):
    touch(tmp_path, "elsewhere/a.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "tench").symlink_to(tmp_path / "elsewhere")
    assert opened(tmp_path / "root").image_ids == ("tench/a",)
