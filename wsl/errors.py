"""Every error that wsl raises on purpose.

::

    WslError
    ├── ConfigError          a configuration file, key or value that cannot be used
    ├── DataError            a dataset that cannot be read
    │   ├── ImageError       one image that cannot be read or is too large
    │   └── AnnotationError  one annotation that cannot be read or contradicts itself
    ├── ModelError           a classifier that cannot be built or used
    │   └── CheckpointError  weights that cannot be read or do not fit
    ├── RunError             a run folder that cannot be used
    │   └── RunMismatchError a run folder that belongs to another configuration or dataset
    ├── ScoreError           predictions and annotations that cannot be scored together
    └── OutputError          a file that cannot be written

Messages name the file or key, say what was expected and what was found. The command line prints
them without a traceback and exits with status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ImageError",
    "ModelError",
    "OutputError",
    "RunError",
    "RunMismatchError",
    "ScoreError",
    "WslError",
    "choices_hint",
]


class WslError(Exception):
    """Base of all errors that wsl raises on purpose.

    Examples
    --------
    >>> from wsl import load_config
    >>> try:
    ...     load_config("defalt")
    ... except WslError as error:
    ...     print(type(error).__name__)
    ConfigError
    """


class ConfigError(WslError, ValueError):
    """A configuration file, key or value cannot be used."""


class DataError(WslError):
    """A dataset cannot be read."""


class ImageError(DataError):
    """One image cannot be read, or is larger than allowed."""


class AnnotationError(DataError):
    """One annotation cannot be read, or contradicts itself."""


class ModelError(WslError):
    """A classifier cannot be built or used."""


class CheckpointError(ModelError):
    """Weights cannot be read, or do not fit the architecture."""


class RunError(WslError):
    """A run folder cannot be used."""


class RunMismatchError(RunError):
    """A run folder belongs to another configuration or dataset."""


class ScoreError(WslError):
    """Predictions and annotations cannot be scored together."""


class OutputError(WslError, OSError):
    """A file cannot be written."""


def choices_hint(name: str, choices: Iterable[str], *, shown: int = 12) -> str:
    """Say what could have been meant instead of `name`.

    Parameters
    ----------
    name : str
        What was asked for.
    choices : iterable of str
        What there is.
    shown : int
        At most so many choices are listed.

    Returns
    -------
    str
        A sentence for the end of an error message: the nearest choices if any is near, else the
        choices themselves.

    Examples
    --------
    >>> choices_hint("resnet5", ["resnet50", "vgg16"])
    'Did you mean resnet50?'
    >>> choices_hint("x", ["ilsvrc", "folder"])
    'Choose from: ilsvrc, folder.'
    """
    listed = list(choices)
    near = difflib.get_close_matches(name, listed, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    more = f", … ({len(listed)} in all)" if len(listed) > shown else ""
    return f"Choose from: {', '.join(listed[:shown])}{more}."
