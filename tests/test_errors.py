from __future__ import annotations

import pytest

from wsl import errors
from wsl.errors import choices_hint


def test_every_error_is_in_the_tree_and_in_its_picture():
    classes = [getattr(errors, name) for name in errors.__all__ if name != "choices_hint"]
    assert all(issubclass(each, errors.WslError) for each in classes)
    for each in classes:
        assert each.__name__ in (errors.__doc__ or "")


def test_all_names_are_listed():
    defined = {
        name
        for name, value in vars(errors).items()
        if getattr(value, "__module__", "") == errors.__name__ and not name.startswith("_")
    }
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.ImageError, errors.DataError),
        (errors.AnnotationError, errors.DataError),
        (errors.CheckpointError, errors.ModelError),
        (errors.RunMismatchError, errors.RunError),
        (errors.ConfigError, ValueError),
    ],
)
def test_the_branches(child, parent):
    assert issubclass(child, parent)


def test_hints():
    assert choices_hint("resnet5", ["resnet50", "vgg16"]) == "Did you mean resnet50?"
    assert choices_hint("resnet5", iter(["resnet50", "resnet51"])) == (
        "Did you mean resnet51 or resnet50?"
    )
    assert choices_hint("zzz", ["a", "b"]) == "Choose from: a, b."
    many = [f"class {number}" for number in range(20)]
    assert choices_hint("zzz", many, shown=2) == "Choose from: class 0, class 1, … (20 in all)."
