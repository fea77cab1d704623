"""Layers of keys and values, and the options that they make together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from wsl.config.messages import explain
from wsl.config.options import Models, Options, discriminator_of, literals_of, models_of, unwrap
from wsl.config.yaml import parse_yaml
from wsl.errors import ConfigError

AnyOptions = TypeVar("AnyOptions", bound=Options)


def merge(model: Any, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Combine layers of nested keys and values; later layers win.

    Parameters
    ----------
    model : type of Options, or a discriminated union of such types
        The options that the layers are for. Nothing is validated here.
    *layers : mapping
        They are not changed.

    Returns
    -------
    dict
        Where a layer makes another choice than the layers before it, their options of that choice
        are dropped, except for those that all choices have. None for a field that cannot be None
        removes the key, so that the field takes its default. Each choice that is mentioned
        has its discriminator, unless there is no default.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(models_of(model), merged, layer, None)
    return merged


def _merge(
    models: Models, below: Mapping[str, Any], layer: Mapping[str, Any], default: Any
) -> dict[str, Any]:
    """Merge a layer of one of the models; `default` is the discriminator's value if none is set."""
    merged, layer = dict(below), dict(layer)
    if (name := discriminator_of(models)) is not None:
        before = merged.get(name, default)
        now = layer.pop(name, before)
        now = default if now is None else now
        chosen = tuple(model for model in models if now in literals_of(model, name))
        if now != before and not any(before in literals_of(model, name) for model in chosen):
            shared = set.intersection(*(set(model.model_fields) for model in models))
            merged = {key: value for key, value in merged.items() if key in shared}
        merged = {name: now} | merged | {name: now} if now is not None else merged
        models = chosen or models
    for key, value in layer.items():
        field = next((m.model_fields[key] for m in models if key in m.model_fields), None)
        inner = models_of(field.annotation) if field else ()
        if field and value is None and type(None) not in unwrap(field.annotation):
            merged.pop(key, None)
        elif field and inner and isinstance(value, Mapping):
            old = merged.get(key)
            known: Mapping[str, Any] = old if isinstance(old, Mapping) else {}
            merged[key] = _merge(inner, known, value, _default_choice(field, inner))
        else:
            merged[key] = value
    return merged


def _default_choice(field: FieldInfo, models: Models) -> Any:
    name = discriminator_of(models)
    default = field.get_default(call_default_factory=True) if name else None
    return getattr(default, name, None) if name else None


@overload
def build_options(
    model: type[AnyOptions],
    content: Mapping[str, Any],
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    source: str,
) -> AnyOptions: ...
@overload
def build_options(
    model: Any,
    content: Mapping[str, Any],
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    source: str,
) -> Any: ...
def build_options(
    model: Any,
    content: Mapping[str, Any],
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    source: str,
) -> Any:
    """Make options from nested keys and values, with overrides.

    Parameters
    ----------
    model : type of Options, or a discriminated union of such types
    content : mapping
    overrides : iterable of str, or mapping
        ``key=value`` with a dotted key and a YAML value, as after ``--set``; or values by dotted
        keys. They are one layer over the content (see `merge`): their order does not matter.
    source : str
        Where the content comes from, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or a value is wrong; one line for each.
    """
    if isinstance(overrides, Mapping):
        layer, named = _nested(overrides, source), {}
    else:
        layer = named = _nested(dict(map(_parse_override, overrides)), "--set")
    merged = merge(model, content, layer)
    try:
        return TypeAdapter(model).validate_python(merged)
    except ValidationError as error:
        raise ConfigError(explain(error, model, merged, named, source)) from None


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set must be key=value, but got {override!r}")
    return key.strip(), parse_yaml(text, f"--set {key}: not a YAML value")


def _nested(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Turn dotted keys into nested dictionaries."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        place = found
        for name in path:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{source}: {name} in {key} is a value and has no keys below it")
        place[last] = value
    return found


def split_overrides(overrides: Iterable[str], prefix: str) -> tuple[list[str], list[str]]:
    """Separate the overrides below a key from the others.

    Examples
    --------
    >>> split_overrides(["score.step=0.01", "data.root=x"], "score")
    (['step=0.01'], ['data.root=x'])
    """
    dotted = f"{prefix}."
    listed = list(overrides)
    own = [override.removeprefix(dotted) for override in listed if override.startswith(dotted)]
    return own, [override for override in listed if not override.startswith(dotted)]
