from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsl.export.names import FileNames, escaped, fingerprint, repeated

texts = st.text(max_size=60)


def names_of(image_ids: list[str]) -> list[str]:
    keys = [fingerprint(FileNames.key(image_id)) for image_id in image_ids]
    names = FileNames(frozenset(repeated(keys).tolist()))
    return [names.stem(image_id) for image_id in image_ids]


@given(texts)
@example("..")
@example("/etc/passwd")
@example("a\0b")
@example("con.txt")
@example("C:\\x")
@example("")
def test_a_name_is_one_plain_part_of_a_path(image_id):
    (name,) = names_of([image_id])
    assert name.isascii()
    assert name.isprintable()
    assert 1 <= len(name) <= 200
    assert not set(name) & set('/\\:*?"<>| \0')
    assert not name.startswith((".", "-"))
    assert PurePosixPath(name).name == name
    assert PureWindowsPath(f"{name}.png").name == f"{name}.png"


@given(texts)
def test_escaping_is_undone_by_unquote(text):
    assert unquote(escaped(text), errors="strict") == text


@given(st.lists(texts, unique=True, max_size=12))
@example(["a", "A", "a.jpg", "a.JPG", "%61"])
@example(["x" * 300, "x" * 301, "X" * 300])
def test_different_ids_have_names_that_differ_beyond_case(image_ids):
    names = names_of(image_ids)
    assert len({name.casefold() for name in names}) == len(image_ids)


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("ILSVRC2012_val_00000347", "ILSVRC2012_val_00000347"),
        ("dog.JPEG", "dog.JPEG"),
        ("v1.2.final", "v1.2.final"),
        (".png", "%2Epng"),
        ("a/b", "a%2Fb"),
        ("nul", "%6Eul"),
        ("nullable", "nullable"),
    ],
)
def test_names_worked_by_hand(image_id, name):
    assert names_of([image_id]) == [name]


def test_a_name_does_not_depend_on_other_images_unless_they_share_it():
    alone, *_ = names_of(["b", "c"])
    both = names_of(["b", "B"])
    assert alone == "b"
    assert [name[:2] for name in both] == ["b~", "B~"]
