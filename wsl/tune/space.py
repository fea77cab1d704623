"""The settings to try: values for dotted keys of a run's configuration, below ``localize``."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsl.config.yaml import parse_yaml
from wsl.errors import ConfigError
from wsl.localize.segment import LocalizeOptions
from wsl.run.config import RunConfig, build_config
from wsl.storage import read_text

Choices = Mapping[str, Any]
"""One value for each key of a search space."""

_BELOW = "localize."


@dataclass(frozen=True)
class SearchSpace:
    """Values to try.

    Raises
    ------
    ConfigError
        If there is no key, a key is not below ``localize``, one key is below another, or a key has
        no value or one value twice.
    """

    values: Mapping[str, tuple[Any, ...]]
    """Values by dotted key, such as ``localize.seeds.foreground``. A value may be a mapping, which
    sets several keys below its key together and leaves the others as they are:
    ``localize.seeds`` takes ``{foreground: 0.9, background: 0.3}``."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("there is nothing to try: give a space, or keys with their values")
        for key, values in self.values.items():
            if not key.startswith(_BELOW):
                raise ConfigError(
                    f"{key} cannot be tuned: keys must be below localize, because maps are made "
                    "once. Tune once for each setting of the rest"
                )
            if not values:
                raise ConfigError(f"{key} must have at least one value to try, but has none")
            texts = [_text(value) for value in values]
            if len(set(texts)) < len(texts):
                raise ConfigError(f"the values of {key} must differ, but are {', '.join(texts)}")
        for key, other in itertools.permutations(self.values, 2):
            if other.startswith(f"{key}."):
                raise ConfigError(f"{other} cannot be tuned along with {key}, which contains it")

    @classmethod
    def from_pairs(cls, pairs: Iterable[str]) -> SearchSpace:
        """Read ``key=[value, value, …]`` as the command line has them.

        Examples
        --------
        >>> SearchSpace.from_pairs(["localize.seeds.smoothing=[0, 0.01]"]).values
        {'localize.seeds.smoothing': (0, 0.01)}
        """
        found: dict[str, Any] = {}
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals:
                raise ConfigError(f"--grid must be key=[value, value, …], but got {pair!r}")
            if key.strip() in found:
                raise ConfigError(f"--grid {key.strip()} is given twice")
            found[key.strip()] = parse_yaml(text, f"--grid {key.strip()} is not YAML")
        return cls.from_mapping(found, source="--grid")

    @classmethod
    def from_file(cls, path: Path | str) -> SearchSpace:
        """Read a YAML file: dotted keys, each with its list of values."""
        try:
            text = read_text(Path(path), max_bytes=1_000_000)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the search space {path}: {error}") from error
        content = parse_yaml(text, f"{path} is not YAML")
        if not isinstance(content, dict):
            raise ConfigError(f"{path} must hold dotted keys, each with a list of values")
        return cls.from_mapping(content, source=str(path))

    @classmethod
    def from_mapping(cls, content: Mapping[Any, Any], *, source: str) -> SearchSpace:
        """Take dotted keys, each with its list of values."""
        for key, values in content.items():
            if not isinstance(values, list | tuple):
                raise ConfigError(f"{source}: {key} must have a list of values, not {values!r}")
        return cls({str(key): tuple(values) for key, values in content.items()})

    def combinations(self) -> Iterator[dict[str, Any]]:
        """All combinations, in the order in which the values stand; the last key varies first."""
        for values in itertools.product(*self.values.values()):
            yield dict(zip(self.values, values, strict=True))

    def __len__(self) -> int:
        count = 1
        for values in self.values.values():
            count *= len(values)
        return count


def read_space(path: Path | str | None, pairs: Iterable[str]) -> SearchSpace:
    """Read a search space from a file, from ``key=[value, …]``, which win over it, or from both."""
    from_file = SearchSpace.from_file(path).values if path is not None else {}
    listed = list(pairs)
    from_pairs = SearchSpace.from_pairs(listed).values if listed else {}
    return SearchSpace({**from_file, **from_pairs})


@dataclass(frozen=True, eq=False)
class Candidate:
    """Settings that can be tried."""

    choices: Choices
    """What was chosen for each key of the space; empty for the configuration as it is given."""
    options: LocalizeOptions
    """All of the effective options."""
    digest: str
    """The same for the same effective options."""

    @property
    def text(self) -> str:
        """The choices in one line."""
        return describe(self.choices)


def describe(choices: Choices) -> str:
    """Write choices in one line, without the part that all keys have in common."""
    if not choices:
        return "as configured"
    return ", ".join(f"{key.removeprefix(_BELOW)}={_text(value)}" for key, value in choices.items())


def make_candidate(config: RunConfig, choices: Choices) -> Candidate:
    """Put choices into a configuration.

    Raises
    ------
    ConfigError
        If a key is unknown or the values cannot be used together; the message names the choices.
    """
    options = build_config(
        config.model_dump(mode="json"), choices, source=f"candidate {describe(choices)}"
    ).localize
    dumped = json.dumps(options.model_dump(mode="json"), sort_keys=True)
    return Candidate(dict(choices), options, hashlib.sha256(dumped.encode()).hexdigest()[:16])


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False).replace('"', "")
