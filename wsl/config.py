"""Options and YAML: the base of all options, layers of keys and values, overrides, messages.

The options of a stage are one frozen pydantic model beside the stage's code. Where there is a
choice (a saliency method, the format of a dataset), each choice is a model of its own with a
`Literal` field that names it, the discriminator, and a union joins them::

    class GradCam(MethodOptions):
        method: Literal["grad_cam"] = "grad_cam"
        layer: str | None = None

    SaliencyOptions = Annotated[Gradient | GradCam, Field(discriminator="method")]

Keys and values come in layers: defaults, a recipe, the user's file, ``--set``. A layer that makes
another choice drops the options of the earlier choice, and keeps those that all choices share; see
`merge`.
"""

from __future__ import annotations

import difflib
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from wsl.errors import ConfigError, choices_hint
from wsl.storage import read_file

__all__ = [
    "Options",
    "build_options",
    "choices",
    "merge",
    "option_keys",
    "parse_yaml",
    "read_yaml",
    "split_overrides",
]


class Options(BaseModel):
    """Base of the options models: frozen, without unknown keys, with finite numbers."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


AnyOptions = TypeVar("AnyOptions", bound=Options)
Models = tuple[type[Options], ...]


# ---- What the models say


def _unwrap(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, without metadata; of anything else, that alone."""
    if get_origin(annotation) is Annotated:
        return _unwrap(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for member in get_args(annotation) for inner in _unwrap(member))
    return (annotation,)


def _models(annotation: Any) -> Models:
    """Options models among which a field chooses; none if it holds plain values."""
    return tuple(
        member
        for member in _unwrap(annotation)
        if isinstance(member, type) and issubclass(member, Options)
    )


def _literals(model: type[Options], name: str) -> tuple[Any, ...]:
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _discriminator(models: Models) -> str | None:
    """Name of the field that tells models apart; None if there are not several."""
    for name in models[0].model_fields if len(models) > 1 else ():
        literals = [_literals(model, name) for model in models]
        if all(literals) and len(set().union(*literals)) == sum(map(len, literals)):
            return name
    return None


def choices(union: Any) -> dict[str, type[Options]]:
    """Return the models of a discriminated union, by the value of their discriminator.

    Parameters
    ----------
    union : type
        Such as ``Annotated[A | B, Field(discriminator="method")]``.
    """
    models = _models(union)
    name = _discriminator(models)
    return {value: model for model in models for value in _literals(model, name)} if name else {}


def option_keys(model: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over the dotted keys of a model, or of all choices of a union, and their fields."""
    for member in _models(model):
        for name, field in member.model_fields.items():
            yield f"{prefix}{name}", field
            yield from option_keys(field.annotation, f"{prefix}{name}.")


# ---- Layers of keys and values


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
        merged = _merge(_models(model), merged, layer, None)
    return merged


def _merge(
    models: Models, below: Mapping[str, Any], layer: Mapping[str, Any], default: Any
) -> dict[str, Any]:
    """Merge a layer of one of the models; `default` is the discriminator's value if none is set."""
    merged, layer = dict(below), dict(layer)
    if (name := _discriminator(models)) is not None:
        before = merged.get(name, default)
        now = layer.pop(name, before)
        now = default if now is None else now
        chosen = tuple(model for model in models if now in _literals(model, name))
        if now != before and not any(before in _literals(model, name) for model in chosen):
            shared = set.intersection(*(set(model.model_fields) for model in models))
            merged = {key: value for key, value in merged.items() if key in shared}
        merged = {name: now} | merged | {name: now} if now is not None else merged
        models = chosen or models
    for key, value in layer.items():
        field = next((m.model_fields[key] for m in models if key in m.model_fields), None)
        inner = _models(field.annotation) if field else ()
        if field and value is None and type(None) not in _unwrap(field.annotation):
            merged.pop(key, None)
        elif field and inner and isinstance(value, Mapping):
            old = merged.get(key)
            known: Mapping[str, Any] = old if isinstance(old, Mapping) else {}
            merged[key] = _merge(inner, known, value, _default_choice(field, inner))
        else:
            merged[key] = value
    return merged


def _default_choice(field: FieldInfo, models: Models) -> Any:
    name = _discriminator(models)
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
        raise ConfigError(_explain(error, model, merged, named, source)) from None


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


# ---- Messages

# Keys and values of earlier versions, by the end of the dotted key, with what replaces them.
_RENAMED_KEYS = {
    "views.scales": "input_sizes",
    "views.input_size": "input_sizes",
    "views.classes_at": "classify_at",
    "seeds.levels": "threshold",
    "seeds.between": "undecided",
    "seeds.split_at": "probable_threshold",
    "localize.grabcut": "localize.refine, and for working_size localize.working_size",
    "data.part": "subset",
    "class_model": "activation_maximization",
    "saliency.smoothgrad": "the keys of saliency itself, with method: smoothgrad",
    "saliency.integrated_gradients": "the keys of saliency itself, with method: "
    "integrated_gradients",
    "saliency.cam": "saliency.layer",
    "saliency.occlusion": "the keys of saliency itself, with method: occlusion",
    "saliency.fused": "the keys of saliency itself, with method: layercam_fusion",
}
_RENAMED_VALUES = {
    "rectified": "deconvnet",
    "guided": "guided_backprop",
    "fused": "layercam_fusion",
    "class_model": "activation_maximization",
    "full": "squash",
    "centre": "center_crop",
}
_MOST_LINES = 20
_LONGEST_VALUE = 100


class _Place(NamedTuple):
    """Where a wrong value stands: its dotted key in parts, without pydantic's tags of unions."""

    key: tuple[str, ...]
    annotation: Any
    models: Models
    """The models that should have the key's last part as a field."""
    union: Models
    """All choices of which `models` is one."""

    @classmethod
    def find(cls, model: Any, location: tuple[int | str, ...]) -> _Place:
        key: list[str] = []
        annotation, models, union = model, _models(model), _models(model)
        options: Models = ()
        for part in location:
            inner = _models(annotation)
            if len(inner) > 1:
                options, annotation = inner, choices(annotation).get(str(part))
                continue
            if inner:
                models, union, options = inner, options or inner, ()
                field = inner[0].model_fields.get(str(part))
                annotation = field.annotation if field else None
            elif (element := _element(annotation, part)) is not None:
                annotation = element
            else:
                break
            key.append(str(part))
        return cls(tuple(key), annotation, models, union)


def _element(annotation: Any, part: int | str) -> Any:
    """Type of the elements of a container; None if it is none or has no place `part`."""
    for member in _unwrap(annotation):
        origin, inner = get_origin(member), get_args(member)
        if origin is dict or (origin in (tuple, list) and isinstance(part, int)):
            return inner[-1] if origin is dict else inner[0]
    return None


def _explain(
    error: ValidationError,
    model: Any,
    content: Mapping[str, Any],
    overrides: Mapping[str, Any],
    source: str,
) -> str:
    """Write one line per wrong key."""
    wrong: dict[str, tuple[str, list[str], str]] = {}
    for detail in error.errors(include_url=False):
        place = _Place.find(model, detail["loc"])
        key, what, got = _describe(dict(detail), place, content)
        where = "--set" if _sets(overrides, key) else source
        # A plain union has one error for each of its members.
        wrong.setdefault(".".join(key), (where, [], got))[1].append(what)
    lines = [
        f"{where}: {key}{' or'.join(dict.fromkeys(whats))}{got}"
        if key
        else f"{where}{whats[0]}{got}"
        for key, (where, whats, got) in wrong.items()
    ]
    more = [f"… and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join(lines[:_MOST_LINES] + more)


def _describe(
    detail: dict[str, Any], place: _Place, content: Mapping[str, Any]
) -> tuple[tuple[str, ...], str, str]:
    """Say of one error: the key, what it must be, what it is."""
    key, kind = place.key, detail["type"]
    if kind == "extra_forbidden":
        return key, _unknown_key(place, content), ""
    if kind == "missing":
        return key, " must be given", ""
    if kind == "value_error":
        return key, f": {detail['msg'].removeprefix('Value error, ')}", ""
    given, hint = detail.get("input"), ""
    what = f" {detail['msg']}".replace(" Input should ", " must ").split(", unable to ")[0]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        what = " must be keys and values"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = choices(place.annotation)
        name = str(_discriminator(_models(place.annotation)))
        key, given = (*key, name), _get(given, (name,))
        what = f" must be one of {', '.join(allowed)}"
        if given is _MISSING:
            return key, what, ""
        hint = _hint(given, allowed)
    elif kind == "literal_error":
        literals = [value for member in _unwrap(place.annotation) for value in get_args(member)]
        hint = _hint(given, filter(lambda value: isinstance(value, str), literals))
    shown = repr(given)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}…"
    return key, what, f", but got {shown}{hint}"


def _hint(given: Any, allowed: Iterable[str]) -> str:
    listed = list(allowed)
    new = _RENAMED_VALUES.get(str(given))
    if new in listed:
        return f": it is now {new}"
    near = difflib.get_close_matches(str(given), listed, n=1)
    return f". Did you mean {near[0]}?" if near else ""


def _unknown_key(place: _Place, content: Mapping[str, Any]) -> str:
    """Say of a key that does not exist what it should be."""
    *above, last = place.key
    dotted = ".".join(place.key)
    for old, new in _RENAMED_KEYS.items():
        if f".{dotted}".endswith(f".{old}"):
            return f" is now {new}"
    name = _discriminator(place.union)
    owners = [
        value
        for model in place.union
        if last in model.model_fields
        for value in (_literals(model, name) if name else ())
    ]
    if owners:
        chosen = _get(content, (*above, str(name)))
        return f" is an option of {name} {' or '.join(owners)}, but {name} is {chosen}"
    known = [field for model in place.models for field in model.model_fields]
    return f" is an unknown key. {choices_hint(last, known)}"


_MISSING = object()


def _sets(layer: Any, key: tuple[str, ...]) -> bool:
    """Whether a layer has a value at a key or above it."""
    return not isinstance(layer, Mapping) or (
        not key or (key[0] in layer and _sets(layer[key[0]], key[1:]))
    )


def _get(content: Any, path: Iterable[str]) -> Any:
    """Return the value at a dotted key's parts, or `_MISSING`."""
    for name in path:
        if not isinstance(content, Mapping) or name not in content:
            return _MISSING
        content = content[name]
    return content


# ---- YAML

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
