"""The command ``wsl``: thin, each command's work is a call of the library.

One file per group of commands. Nothing heavy is imported before a command runs, so that
``wsl --help`` is instant.

Exit status: 0 all done, 1 a user's mistake (one clear line), 3 finished but some images failed,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from wsl.cli import compare, config, demo, integrations, models, results, run, show, tune, visualize
from wsl.cli.common import INTERRUPTED, say
from wsl.cli.signals import StopSignal, stop_signals
from wsl.errors import WslError

app = typer.Typer(
    help="Find where objects are with nothing but an image classifier.\n\n"
    "Begin with: wsl demo. Then: wsl run PHOTOS --model resnet50 --out run",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (  # in the order of use
    demo.demo,
    run.run,
    results.score,
    results.report,
    results.export,
    results.import_,
    show.show,
    visualize.visualize,
    compare.compare,
    tune.tune,
    models.models,
    integrations.app,
    integrations.label_studio,
):
    app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
app.add_typer(config.config_app, name="config")


def main() -> None:
    """Run the command line; errors that wsl raises on purpose become one line."""
    # Read when torch is loaded. Its threads would spin while they wait for each other, which takes
    # several times the processor time where other programs want the cores, too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with stop_signals():
            app()
    except WslError as error:
        say("; ".join([f"wsl: error: {error}", *getattr(error, "__notes__", ())]))
        sys.exit(1)
    except StopSignal as error:
        say("; ".join(["wsl: interrupted", *getattr(error, "__notes__", ())]))
        sys.exit(INTERRUPTED)
    except ImportError as error:
        if not _is_missing_system_library(error):
            raise
        say(
            f"wsl: error: OpenCV needs a system library that is missing ({error}). "
            "On Debian and Ubuntu: apt-get install libgl1 libglib2.0-0"
        )
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from wsl import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that come before a command."""


def _is_missing_system_library(error: ImportError) -> bool:
    return ".so" in str(error) and "cannot open shared object file" in str(error)
