from __future__ import annotations

import pytest

from wsl.data.categories import Categories
from wsl.errors import ConfigError, DataError

CATEGORIES = Categories(
    ("tench, Tinca tinca", "great white shark", "crane", "crane"),
    ("n01440764", "n01484850", "n02012849", "n03126707"),
)


def test_ids_must_fit_the_names():
    with pytest.raises(ValueError, match="but got 1 ids and 2 names"):
        Categories(("a", "b"), ("x",))
    with pytest.raises(ValueError, match="must be unique"):
        Categories(("a", "b"), ("x", "x"))


@pytest.mark.parametrize(
    ("key", "index"),
    [
        ("n01484850", 1),
        ("N01484850", 1),
        ("tench", 0),
        ("Tench, Tinca tinca", 0),
        ("great_white_shark", 1),
        ("n03126707", 3),
        ("2", 2),
        (2, 2),
    ],
)
def test_a_class_is_found_by_id_name_synonym_or_number(key, index):
    assert CATEGORIES.index(key) == index
    if not str(key).isdecimal():
        assert CATEGORIES.find(key) == index


def test_what_is_not_there_is_not_found():
    assert CATEGORIES.find("Tinca tinca") is None
    assert CATEGORIES.find("crane") is None
    assert CATEGORIES.find("2") is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("crane", "several classes: 2, 3; give the number"),
        ("tensch", "there is no class 'tensch'. Did you mean tench"),
        (4, "class 4 must be in 0 to 3"),
        ("4", "class 4 must be in 0 to 3"),
        (-1, "class -1 must be in 0 to 3"),
    ],
)
def test_a_wrong_class_is_refused(key, reason):
    with pytest.raises(ConfigError, match=reason):
        CATEGORIES.index(key)


def test_numbered_and_with_ids():
    assert Categories.numbered(2).names == ("class 0", "class 1")
    assert Categories.numbered(2).with_ids(["a", "b"]) == Categories(
        ("class 0", "class 1"), ("a", "b")
    )
    assert len(CATEGORIES) == 4


def test_a_file_of_wnids_and_names(tmp_path):
    path = tmp_path / "mapping.txt"
    path.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n\n")
    expected = Categories(("tench, Tinca tinca", "goldfish"), ("n01440764", "n01443537"))
    assert Categories.from_file(path) == expected


def test_a_file_of_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("schwarzer Käfer\nn01443537 goldfish\nhen\n", encoding="utf-8")
    assert Categories.from_file(path) == Categories(
        ("schwarzer Käfer", "n01443537 goldfish", "hen")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "must hold one class per line"),
        (b"a\n\nb\n", "must hold one class per line, but has an empty line"),
        (b"n01440764 a\nn01440764 b\n", "names n01440764 twice"),
        (b"\xff\xfe\n", "cannot read"),
    ],
    ids=["empty", "empty line", "twice", "other bytes"],
)
def test_a_wrong_file_is_refused(tmp_path, content, reason):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        Categories.from_file(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*gone\.txt"):
        Categories.from_file(tmp_path / "gone.txt")


@pytest.mark.data
def test_the_challenges_mapping(shared_data):
    categories = Categories.from_file(shared_data / "data/ilsvrc/LOC_synset_mapping.txt")
    assert len(categories) == 1000
    assert categories.index("n01440764") == categories.index("tench") == 0
    assert categories.names[999].startswith("toilet tissue")
