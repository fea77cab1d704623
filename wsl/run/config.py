"""The schema of a configuration file: each stage's options, put together.

A configuration is a recipe with changes (`wsl.localize.recipes`). Relative paths are relative to
the working directory, but for ``extends`` and ``tuned_on.images``, which start at the
file's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from wsl.config.layers import build_options, merge
from wsl.data.open import DataOptions
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.localize.options import LocalizerOptions
from wsl.localize.recipes import Extends, read_layers, read_source
from wsl.models.options import ModelOptions
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.tuned_on import TunedOn


def _default_model() -> ModelOptions:
    return ModelOptions(architecture="resnet50")


class RunConfig(LocalizerOptions):
    """A dataset through a localizer: what a configuration file holds.

    Examples
    --------
    >>> config = load_config("fast", {"saliency.method": "grad_cam"})
    >>> config.saliency.method, config.localize.refine.method
    ('grad_cam', 'map_cut')
    """

    extends: Extends = None
    """What the file changes: the name of a recipe, the path of another file, or a list of these,
    of which the later ones win. Without the key it is the recipe ``default``; null: nothing."""
    data: DataOptions = Field(default_factory=IlsvrcOptions)
    """The images, and what is known of them."""
    model: ModelOptions = Field(default_factory=_default_model)
    """The classifier."""
    models: tuple[ModelOptions, ...] = ()
    """Two or more classifiers in place of `model`, whose probabilities and maps are averaged with
    equal weights (`wsl.models.average`); each is like `model`. Of `model` only the device counts
    then, for those whose own is ``auto``. Null: `model` alone."""
    classes: ClassOptions = Field(default_factory=ClassOptions)
    """The classes of each image to localize."""
    run: RunOptions = Field(default_factory=RunOptions)
    """How the work is cut and spread."""
    tuned_on: TunedOn | None = None
    """The images on which values were chosen, so that scores can tell; written by ``wsl tune``."""

    @model_validator(mode="before")
    @classmethod
    def _with_network(cls, content: Any) -> Any:
        """Let a model of which only, say, the device is given be the default one."""
        model = content.get("model") if isinstance(content, Mapping) else None
        if not isinstance(model, Mapping) or model.keys() & {"source", "architecture", "factory"}:
            return content
        return {**content, "model": {"architecture": _default_model().architecture, **model}}

    @model_validator(mode="after")
    def _one_or_several(self) -> RunConfig:
        if len(self.models) == 1:
            raise ValueError("models must name two or more classifiers; model names a single one")
        if self.models and self.model.model_copy(update={"device": "auto"}) != _default_model():
            raise ValueError(
                "model must not be given beside models, but for its device; models: null takes "
                "those of a recipe away, model: null that of a recipe"
            )
        return self


def load_config(source: Path | str, overrides: Iterable[str] | Mapping[str, Any] = ()) -> RunConfig:
    """Read a recipe or a configuration file.

    Parameters
    ----------
    source : Path or str
        Name of a recipe, such as ``default``, or a YAML file.
    overrides : iterable of str, or mapping
        ``key=value`` with a dotted key and a YAML value, such as
        ``localize.seeds.foreground=0.9``, or values by dotted keys; they win over the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown or a value is wrong; the message names the
        file and the key.

    Examples
    --------
    >>> load_config("simonyan2013").localize.seeds.foreground
    0.95
    >>> load_config("default", ["localize.working_size=160"]).localize.working_size
    160
    """
    return _build(read_source(source), overrides, str(source))


def build_config(
    content: Mapping[str, Any],
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    source: str = "configuration",
) -> RunConfig:
    """Make a configuration from nested keys and values, as a file holds them.

    Without the key ``extends`` they change the recipe ``default``.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    return _build(read_layers(content), overrides, source)


def _build(
    layers: Sequence[Mapping[str, Any]],
    overrides: Iterable[str] | Mapping[str, Any],
    source: str,
) -> RunConfig:
    config = build_options(RunConfig, merge(RunConfig, *layers), overrides, source=source)
    if config.tuned_on is None:
        return config
    return config.model_copy(update={"tuned_on": config.tuned_on.filled()})


def to_yaml(config: RunConfig) -> str:
    """Write a configuration as YAML, defaults included; `load_config` reads it back equal."""
    return yaml.safe_dump(
        {"extends": None} | config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
    )
