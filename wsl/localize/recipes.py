"""Recipes: named settings in YAML files of the package, and the files that build on them.

A file says with ``extends`` what it changes: the name of a recipe, the path of another file from
its own folder, a list of these (the later ones win), or null for nothing. Without the key it
changes the recipe ``default``: nothing said is what we recommend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsl.config.yaml import read_yaml
from wsl.errors import ConfigError, choices_hint

RECIPES = Path(__file__).parents[1] / "recipes"
"""The folder of the recipes."""

Extends = str | tuple[str, ...] | None

_DEFAULT = "default"


def recipe_names() -> list[str]:
    """Names of the recipes, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def resolve(source: Path | str, folder: Path | str = "") -> Path:
    """Find the file of a recipe's name, or of a path.

    Parameters
    ----------
    source : Path or str
        Names of recipes win over files of the same name; ``./default`` is a file.
    folder : Path or str
        What a relative path is relative to; by default the working directory.

    Raises
    ------
    ConfigError
        If there is neither a recipe nor a file.
    """
    names = recipe_names()
    if str(source) in names:
        return RECIPES / f"{source}.yaml"
    path = Path(folder) / source
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        raise ConfigError(
            f"there is no recipe and no file {str(source)!r}. {choices_hint(str(source), names)}"
        )
    return path


def read_source(
    source: Path | str, folder: Path | str = "", *, below: tuple[Path, ...] = ()
) -> list[dict[str, Any]]:
    """Read a recipe or a file with all that it builds on; as `read_layers`."""
    path = resolve(source, folder)
    chain = (*below, path.resolve())
    if path.resolve() in below:
        raise ConfigError(f"{path} extends itself: {' -> '.join(map(str, chain))}")
    return read_layers(read_yaml(path), path.parent, below=chain)


def read_layers(
    content: Mapping[str, Any], folder: Path | str = "", *, below: tuple[Path, ...] = ()
) -> list[dict[str, Any]]:
    """Read what nested keys and values build on, for `wsl.config.layers.merge`.

    Parameters
    ----------
    content : mapping
        As a file holds it, ``extends`` included.
    folder : Path or str
        What its paths are relative to.
    below : tuple of Path
        Files that are being read, to find circles.

    Returns
    -------
    list of dict
        From the bottom to `content` itself, without ``extends``. The path ``tuned_on.images``
        starts at the working directory in each, unless it is the name of a recipe's list.

    Raises
    ------
    ConfigError
        If a file cannot be read, or files extend each other in a circle.
    """
    own = {key: value for key, value in content.items() if key != "extends"}
    layers: list[dict[str, Any]] = []
    for source in _parents(content.get("extends", _DEFAULT)):
        layers += read_source(source, folder, below=below)
    return [*layers, _with_path(own, Path(folder))]


def _parents(extends: Any) -> Iterable[str]:
    listed = extends if isinstance(extends, list | tuple) else () if extends is None else (extends,)
    if not all(isinstance(source, str) for source in listed):
        raise ConfigError(
            "extends must be the name of a recipe, a path, a list of these, or null, "
            f"but is {extends!r}"
        )
    return listed


def _with_path(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    tuned_on = content.get("tuned_on")
    images = tuned_on.get("images") if isinstance(tuned_on, Mapping) else None
    if not isinstance(images, str) or (RECIPES / images).is_file():
        return content
    return {**content, "tuned_on": {**content["tuned_on"], "images": str(folder / images)}}
