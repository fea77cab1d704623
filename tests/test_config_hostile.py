"""Configurations that are damaged or meant to harm are one clear line."""

import pytest

from wsl.errors import ConfigError
from wsl.run.config import load_config

LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n" for n in range(1, 10)
)


# Found by eval/fuzz.py, but for the last four.
@pytest.mark.parametrize(
    "text",
    [
        "model: {architecture: !!int xresnet50}",
        "{!!int x: 1}",
        "seed: !!float x",
        "seed: !!timestamp 2",
        "seed: !!timestamp 2001-99-99",
        "seed: !!bool maybe",
        "seed: !!int 1:60:x",
        "seed: !!binary ä",
        "seed: 0x",
        "run: &a {run: *a}",
        "run: &a [*a]",
        LAUGHS,
        "seed: !!python/object/apply:os.system [id]",
    ],
)
def test_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("value", ["!!int x", "&a [*a]", "{", "!!timestamp 2"])
def test_overrides_are_told_the_same_way(tmp_path, value):
    (tmp_path / "c.yaml").touch()
    with pytest.raises(ConfigError, match="--set seed: not a YAML value"):
        load_config(tmp_path / "c.yaml", [f"seed={value}"])


def test_anchors_may_be_used(tmp_path):
    (tmp_path / "c.yaml").write_text("run: {chunk_size: &n 7, batch_size: *n}")
    assert load_config(tmp_path / "c.yaml").run.batch_size == 7
