"""The command ``wsl models``."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    pattern: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Only names that contain this.")
    ] = None,
) -> None:
    """List the classifiers that --model can name, by library."""
    import torchvision

    listed = {"torchvision": torchvision.models.list_models(module=torchvision.models)}
    try:
        import timm
    except ImportError:
        typer.echo("timm is not installed; its networks come with the extra: wsl-localize[timm]")
    else:
        listed["timm"] = timm.list_models(pretrained=True)
    for source, names in {"bundled": ["demo"], **listed}.items():
        for name in names:
            if pattern is None or pattern in name:
                typer.echo(f"{source:<12} {name}")
