"""The base of every stage's options.

A stage keeps its options and their defaults in one pydantic model beside its code; `wsl.config`
composes these models into the schema of a configuration file. An unknown key is an error, a wrong
type is an error, and options never change once made.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Options"]


class Options(BaseModel):
    """Base of the options models: frozen, and without room for unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True
    )
