"""What the commands share: their exit statuses, options that several take, and messages."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

FAILED_IMAGES = 3
INTERRUPTED = 130

ConfigArgument = Annotated[
    str, typer.Argument(help="Recipe, such as default, fast or simonyan2013, or YAML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the configuration."),
]


def say(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)
