"""Options of the chain from an image to masks and boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from wsl.config.layers import build_options, merge
from wsl.config.options import Options
from wsl.config.yaml import read_yaml
from wsl.localize.recipes import RECIPES, read_source
from wsl.localize.segment import LocalizeOptions
from wsl.saliency.methods import SaliencyOptions


@cache
def _default() -> LocalizerOptions:
    # Without `merge`, which asks for this class's defaults.
    content = read_yaml(RECIPES / "default.yaml")
    return LocalizerOptions.model_validate(_own_part(content))


class LocalizerOptions(Options):
    """How an image becomes masks and boxes.

    What is not given is that of the recipe ``default``, whose file alone has these values.
    """

    saliency: SaliencyOptions = Field(default_factory=lambda: _default().saliency)
    """From the classifier to saliency maps."""
    localize: LocalizeOptions = Field(default_factory=lambda: _default().localize)
    """From a map to a mask and a box."""
    seed: int = Field(0, ge=0)
    """Everything random is drawn from this, the image's id and the class."""


def load_recipe(
    source: Path | str | LocalizerOptions, overrides: Iterable[str] | Mapping[str, Any] = ()
) -> LocalizerOptions:
    """Read the part of a recipe or a configuration file that concerns single images.

    Parameters
    ----------
    source : Path, str or LocalizerOptions
        Name of a recipe, such as ``fast``, or a YAML file; options are taken as they are.
    overrides : iterable of str, or mapping
        ``key=value`` with a dotted key and a YAML value, or values by dotted keys.

    Raises
    ------
    ConfigError
        If there is no such recipe or file, a key is unknown or a value is wrong.
    """
    if isinstance(source, LocalizerOptions):
        content = source.model_dump(include=set(LocalizerOptions.model_fields))
        return build_options(LocalizerOptions, content, overrides, source="options")
    merged = merge(LocalizerOptions, *read_source(source))
    return build_options(LocalizerOptions, _own_part(merged), overrides, source=str(source))


def _own_part(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key in LocalizerOptions.model_fields}
