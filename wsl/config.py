"""Options and YAML: the base of every stage's options, files, overrides and error messages.

A stage keeps its options and their defaults in one pydantic model beside its code; `wsl.run.config`
composes these models into the schema of a configuration file. An unknown key is an error, a wrong
type is an error, and options never change once made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from wsl.errors import ConfigError, choices_hint

__all__ = [
    "Options",
    "build_options",
    "parse_yaml",
    "read_yaml",
    "set_key",
    "split_overrides",
]


class Options(BaseModel):
    """Base of the options models: frozen, and without room for unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True
    )


AnyOptions = TypeVar("AnyOptions", bound=Options)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read a file of keys and values.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, or holds something else than keys and values.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    content = parse_yaml(text, f"{path} is not YAML")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, but holds a {type(content).__name__}")
    return content


def build_options(
    model: type[AnyOptions],
    content: Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    source: str,
) -> AnyOptions:
    """Make any options model from nested keys and values, with overrides.

    Parameters
    ----------
    model : type of Options
    content : mapping
    overrides : iterable of str
        ``key=value``, as for `load_config`.
    source : str
        Where the content comes from, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or a value is wrong.
    """
    merged = _copied(content)
    for override in overrides:
        _apply(merged, override)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, model, source)) from None


def split_overrides(overrides: Iterable[str], prefix: str) -> tuple[list[str], list[str]]:
    """Take the overrides below a key from the others.

    Examples
    --------
    >>> split_overrides(["score.step=0.01", "data.root=x"], "score")
    (['step=0.01'], ['data.root=x'])
    """
    dotted = f"{prefix}."
    listed = list(overrides)
    own = [override.removeprefix(dotted) for override in listed if override.startswith(dotted)]
    return own, [override for override in listed if not override.startswith(dotted)]


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

_MAX_NODES = 100_000


def parse_yaml(text: str, complaint: str) -> Any:
    """Parse YAML; refuse what names of anchors would blow up, or what contains itself.

    Raises
    ------
    ConfigError
        It begins with `complaint`.
    """
    try:
        content = yaml.safe_load(text)
    except _YAML_ERRORS as error:
        raise ConfigError(f"{complaint}: {_one_line(error)}") from error
    todo, seen = [content], 0
    while todo:
        node = todo.pop()
        seen += 1
        if isinstance(node, Mapping):
            todo += node.values()
        elif isinstance(node, list | tuple | set):
            todo += node
        if seen > _MAX_NODES or len(todo) > _MAX_NODES:
            raise ConfigError(f"{complaint}: it must have at most {_MAX_NODES:,} values")
    return content


def _copied(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _copied(value) for key, value in content.items()}
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    """Set one dotted key in nested dictionaries, in place: they are a copy."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set must be key=value, but got {override!r}")
    value = parse_yaml(text, f"--set {key}: not a YAML value")
    set_key(content, key.strip(), value, source=f"--set {key}")


def set_key(content: dict[str, Any], key: str, value: Any, *, source: str) -> None:
    """Set a dotted key in nested dictionaries, in place.

    Raises
    ------
    ConfigError
        If a part of the key above the last is a value; the message begins with `source`.
    """
    *path, last = key.split(".")
    place = content
    for name in path:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{source}: {name} is a value and has no keys below it")
    place[last] = value


def _explain(error: ValidationError, model: type[Options], source: str) -> str:
    """One line per wrong key."""
    return "\n".join(_explain_one(dict(detail), model, source) for detail in error.errors())


def _explain_one(detail: dict[str, Any], model: type[Options], source: str) -> str:
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = list(_keys_at(model, location[:-1]))
        return f"{source}: there is no key {key}. {choices_hint(location[-1], known)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(detail.get("input"), dict) else f", but got {detail.get('input')!r}"
    if detail["type"] == "value_error":
        found = ""
    return f"{source}: {key or 'the whole'}: {message}{found}"


def _keys_at(options: type[Options], location: list[str]) -> Iterable[str]:
    """Return the known keys below a dotted place."""
    model: Any = options
    for name in location:
        field = model.model_fields.get(name) if _is_options(model) else None
        model = field.annotation if field is not None else None
    return model.model_fields if _is_options(model) else ()


def _is_options(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, Options)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
