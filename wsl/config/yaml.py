"""YAML, read within bounds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from wsl.errors import ConfigError
from wsl.storage import read_file

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 50
_MAX_NODES = 100_000
_MAX_INTEGER = 2**63 - 1
_TOO_MANY = f"it must have at most {_MAX_NODES:,} values in {_MAX_DEPTH} levels"

# What a wrong value after an explicit type, such as !!int x, makes PyYAML's constructors raise.
_YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read a file of keys and values.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no regular file, is not YAML, holds something other than
        keys and values, or exceeds the bounds of `parse_yaml`.
    """
    try:
        text = read_file(Path(path), max_bytes=_MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    content = parse_yaml(text, f"{path} is not YAML")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, but holds a {type(content).__name__}")
    return content


def parse_yaml(text: str, complaint: str) -> Any:
    """Parse YAML within bounds that are checked before anything is built.

    At most 1,000,000 characters, 50 levels and 100,000 values, each alias counted as what it
    stands for; integers of 64 bits; no value inside itself.

    Raises
    ------
    ConfigError
        It begins with `complaint`.
    """
    loader = None
    try:
        if len(text) > _MAX_BYTES:
            raise ValueError(
                f"it must have at most {_MAX_BYTES:,} characters, but has {len(text):,}"
            )
        _check_events(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except _YAML_ERRORS as error:
        raise ConfigError(f"{complaint}: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with integers of 64 bits."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node)) if len(node.value) < 100 else _MAX_INTEGER + 1
        if abs(value) > _MAX_INTEGER:
            raise ValueError(f"integers must fit in 64 bits, but got {node.value[:40]}…")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _check_events(text: str) -> None:
    """Refuse what is too long or nests too deeply, before the recursive composer sees it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or count > 2 * _MAX_NODES:
            raise ValueError(_TOO_MANY)


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Count the values of a node and its levels, aliases written out; refuse too many."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = (_MAX_NODES, 0)  # until it is counted: it holds itself
    inner = list(node.value) if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"each key must be given once, but {min(twice)} is given twice")
        inner = [part for pair in node.value for part in pair]
    sizes = [_measure(part, known) for part in inner]
    count, depth = 1 + sum(size for size, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    if count > _MAX_NODES or depth > _MAX_DEPTH:
        raise ValueError(_TOO_MANY)
    known[id(node)] = (count, depth)
    return count, depth
