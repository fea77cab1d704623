"""Configurations that are damaged or meant to harm are one clear line, at once."""

import os
import time
import tracemalloc

import pytest

from wsl.config.yaml import parse_yaml
from wsl.errors import ConfigError
from wsl.run.config import load_config


def layers(first, line, count):
    """A document whose every line stands for ten times the one before."""
    return first + "".join(line(n) for n in range(1, count))


ALIASES = layers(
    "a0: &a0 {x: 1}\n",
    lambda n: f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n",
    10,
)
MERGES = layers(
    "a0: &a0 {x: 1}\n", lambda n: f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n", 9
)
CHAIN = layers("a0: &a0 [1]\n", lambda n: f"a{n}: &a{n} [*a{n - 1}]\n", 3000)


# Those of one line were found by tests/fuzz.py, but for the last two.
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
        "seed: 1\nseed: 2",
        "seed: !!python/object/apply:os.system [id]",
    ],
)
def test_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(text, message, id=name)
        for name, text, message in (
            ("aliases", ALIASES, "at most 100,000 values"),
            ("merges", MERGES, "at most 100,000 values"),
            ("chain", CHAIN, "in 50 levels"),
            ("size", "a" * 10_000_000, "at most 1,000,000 characters, but has 10,000,000"),
            ("flow", "[" * 999_999, "in 50 levels"),
            ("mappings", "{a: " * 240_000, "in 50 levels"),
            ("block", "- " * 490_000, "in 50 levels"),
            ("values", "[" + "1," * 490_000 + "]", "at most 100,000 values"),
            ("sexagesimal", "a: " + "1:" * 490_000 + "1", "integers must fit in 64 bits"),
            ("decimal", "a: " + "9" * 999_000, "integers must fit in 64 bits"),
            ("hexadecimal", "a: 0x1" + "0" * 16, "integers must fit in 64 bits"),
        )
    ],
)
def test_bombs_cost_little(text, message):
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        parse_yaml(text, "a.yaml is not YAML")
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(str(caught.value)) < 300
    assert seconds < 10
    assert peak < 100_000_000


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large"])
def test_only_small_regular_files_are_read(tmp_path, kind):
    path = tmp_path / "c.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(10**12)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*c\.yaml: .* it must"):
        load_config(path)


@pytest.mark.parametrize("value", ["!!int x", "&a [*a]", "{", "!!timestamp 2", "1" * 400])
def test_overrides_are_told_the_same_way(tmp_path, value):
    (tmp_path / "c.yaml").touch()
    with pytest.raises(ConfigError, match="--set seed: not a YAML value"):
        load_config(tmp_path / "c.yaml", [f"seed={value}"])


def test_anchors_may_be_used(tmp_path):
    (tmp_path / "c.yaml").write_text("run: {chunk_size: &n 7, batch_size: *n}")
    assert load_config(tmp_path / "c.yaml").run.batch_size == 7


def test_mappings_may_be_merged():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}"
    assert parse_yaml(text, "x")["b"] == {"x": 1, "y": 3}


def test_the_largest_integers_are_read():
    assert parse_yaml(f"[{2**63 - 1}, -{2**63 - 1}]", "x") == [2**63 - 1, -(2**63) + 1]
