"""The commands ``wsl config show`` and ``wsl config schema``."""

from __future__ import annotations

import typer

from wsl.cli.common import ConfigArgument, SetOption

__all__ = ["config_app"]

config_app = typer.Typer(help="Show the effective configuration or its schema.")


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Print the effective configuration: the file, the overrides, and the defaults."""
    from wsl.run.config import load_config, to_yaml

    typer.echo(to_yaml(load_config(config, overrides or ())), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of configurations."""
    import json

    from wsl.run.config import RunConfig

    typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))
