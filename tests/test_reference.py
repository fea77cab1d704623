"""The reference has every public name, and each says by an example how it is used."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import wsl

ROOT = Path(wsl.__file__).parents[1]
LISTED = {
    target.rpartition(".")[2]: target
    for target in re.findall(
        r"^::: (\S+)$", (ROOT / "docs" / "reference" / "index.md").read_text(), re.M
    )
}
PUBLIC = sorted(set(wsl.__all__) - {"__version__"})


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    named = getattr(wsl, name)
    home = named.__module__
    assert LISTED.get(name) == f"{home}.{name}" or LISTED.get(home.rpartition(".")[2]) == home


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example_that_runs(name: str) -> None:
    examples = [
        example
        for test in doctest.DocTestFinder(recurse=False).find(getattr(wsl, name), name)
        for example in test.examples
    ]
    assert examples
    assert not any(doctest.SKIP in example.options for example in examples)
