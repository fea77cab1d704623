"""The command ``wsl show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsl.cli.common import SetOption

__all__ = ["show"]


def show(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    config: Annotated[
        str, typer.Option(help="Recipe, such as default or fast, or YAML file.")
    ] = "default",
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class to localize: id, name or number.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Localize the classifier's first k.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path(),
    height: Annotated[int, typer.Option(min=16, help="Of a panel in pixels.")] = 224,
    overrides: SetOption = None,
) -> None:
    """Draw one strip per class of an image: image, saliency, seeds, mask and box."""
    from wsl.draw.strips import write_strips
    from wsl.run.config import load_config
    from wsl.run.runner import build_localizer

    localizer = build_localizer(load_config(config, overrides or ()))
    for image in images:
        for strip in write_strips(
            localizer, image, out, classes=class_, top_k=top_k, height=height
        ):
            found = strip.localization
            typer.echo(
                f"{strip.path}: {found.category}, rank {found.rank}, "
                f"probability {found.score:.3f}, box {found.box}"
            )
