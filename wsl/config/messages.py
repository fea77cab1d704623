"""What is wrong with keys and values, in a line for each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import ValidationError

from wsl.config.options import Models, choices, discriminator_of, literals_of, models_of, unwrap
from wsl.errors import choices_hint

# Keys and values of earlier versions, by the end of the dotted key, with what replaces them.
RENAMED_KEYS = {
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
        annotation, models, union = model, models_of(model), models_of(model)
        options: Models = ()
        for part in location:
            inner = models_of(annotation)
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
    for member in unwrap(annotation):
        origin, inner = get_origin(member), get_args(member)
        if origin is dict or (origin in (tuple, list) and isinstance(part, int)):
            return inner[-1] if origin is dict else inner[0]
    return None


def explain(
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
        name = str(discriminator_of(models_of(place.annotation)))
        key, given = (*key, name), _get(given, (name,))
        what = f" must be one of {', '.join(allowed)}"
        if given is _MISSING:
            return key, what, ""
        hint = _hint(given, allowed)
    elif kind == "literal_error":
        literals = [value for member in unwrap(place.annotation) for value in get_args(member)]
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
    for old, new in RENAMED_KEYS.items():
        if f".{dotted}".endswith(f".{old}"):
            return f" is now {new}"
    name = discriminator_of(place.union)
    owners = [
        value
        for model in place.union
        if last in model.model_fields
        for value in (literals_of(model, name) if name else ())
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
