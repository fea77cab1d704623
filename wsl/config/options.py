"""The base of all options, and introspection of options models."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Options(BaseModel):
    """Base of the options models: frozen, without unknown keys, with finite numbers."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


Models = tuple[type[Options], ...]


def unwrap(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, without metadata; of anything else, that alone."""
    if get_origin(annotation) is Annotated:
        return unwrap(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for member in get_args(annotation) for inner in unwrap(member))
    return (annotation,)


def models_of(annotation: Any) -> Models:
    """Options models among which a field chooses; none if it holds plain values."""
    return tuple(
        member
        for member in unwrap(annotation)
        if isinstance(member, type) and issubclass(member, Options)
    )


def literals_of(model: type[Options], name: str) -> tuple[Any, ...]:
    """Values of a field that is a `Literal`; none of any other field."""
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def discriminator_of(models: Models) -> str | None:
    """Name of the field that tells models apart; None if there are not several."""
    for name in models[0].model_fields if len(models) > 1 else ():
        literals = [literals_of(model, name) for model in models]
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
    models = models_of(union)
    name = discriminator_of(models)
    return {value: model for model in models for value in literals_of(model, name)} if name else {}


def option_keys(model: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over the dotted keys of a model, or of all choices of a union, and their fields."""
    for member in models_of(model):
        for name, field in member.model_fields.items():
            yield f"{prefix}{name}", field
            yield from option_keys(field.annotation, f"{prefix}{name}.")
