"""The commands ``wsl config show`` and ``wsl config schema``."""

from __future__ import annotations

from typing import Any

import typer

from wsl.cli.common import ConfigArgument, SetOption

config_app = typer.Typer(help="Show the effective configuration or its schema.")


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Print the effective configuration: the file, the overrides, and the defaults."""
    from wsl.run.config import load_config, to_yaml

    typer.echo(to_yaml(load_config(config, overrides or ())), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of all keys that --set takes, of every command."""
    import json

    from pydantic import Field, create_model

    from wsl.export.formats import AnyFormat
    from wsl.run.config import RunConfig
    from wsl.saliency.activation_maximization import ActivationMaximization
    from wsl.saliency.targets import TargetOptions
    from wsl.score.protocols import ProtocolOptions

    commands: dict[str, tuple[Any, str]] = {
        "score": (ProtocolOptions, "Options of wsl score."),
        "export": (AnyFormat, "Options of wsl export."),
        "target": (TargetOptions, "What wsl visualize explains in place of a class."),
        "activation_maximization": (
            ActivationMaximization,
            "Options of this method.",
        ),
    }
    fields: dict[str, Any] = {
        key: (options | None, Field(None, description=text))
        for key, (options, text) in commands.items()
    }
    model = create_model("Configuration", __base__=RunConfig, **fields)
    typer.echo(json.dumps(model.model_json_schema(), indent=2))
