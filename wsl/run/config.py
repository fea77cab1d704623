"""The schema of a configuration file: each stage's options, put together.

Relative paths are relative to the working directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from wsl.config import build_options, read_yaml
from wsl.data.open import DataOptions
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.localize.options import LocalizerOptions
from wsl.models.options import ModelOptions
from wsl.run.options import ClassOptions, RunOptions
from wsl.run.tuned_on import TunedOn

__all__ = ["RunConfig", "build_config", "load_config", "to_yaml"]


class RunConfig(LocalizerOptions):
    """A dataset through a localizer."""

    data: DataOptions = Field(default_factory=IlsvrcOptions)
    """The images, and what is known of them."""
    model: ModelOptions = Field(default_factory=lambda: ModelOptions(architecture="resnet50"))
    """The classifier."""
    classes: ClassOptions = Field(default_factory=ClassOptions)
    """The classes of each image to localize."""
    run: RunOptions = Field(default_factory=RunOptions)
    """How the work is cut and spread."""
    tuned_on: TunedOn | None = None
    """The images on which values were chosen, so that scores can tell; written by ``wsl tune``."""


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a configuration file.

    Parameters
    ----------
    path : Path or str
        YAML.
    overrides : iterable of str
        ``key=value`` with a dotted key and a YAML value, such as
        ``localize.seeds.foreground=0.9``; they win over the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown or a value is wrong; the message names the
        file and the key.
    """
    return build_config(read_yaml(path), overrides, source=str(path))


def build_config(
    content: Mapping[str, Any],
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    source: str = "configuration",
) -> RunConfig:
    """Make a configuration from nested keys and values, as a file holds them.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    return build_options(RunConfig, content, overrides, source=source)


def to_yaml(config: RunConfig) -> str:
    """Write a configuration as YAML, defaults included; `load_config` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
