"""The command ``wsl show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsl.cli.common import SetOption
from wsl.cli.configuration import (
    CategoriesOption,
    CheckpointOption,
    DeviceOption,
    GroupsOption,
    ModelOption,
    RecipeOption,
)

__all__ = ["show"]


def show(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class to localize: id, name or number.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Localize the classifier's first k.")] = 1,
    groups: GroupsOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    device: DeviceOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path(),
    height: Annotated[int, typer.Option(min=16, help="Height of a panel in pixels.")] = 224,
    overrides: SetOption = None,
) -> None:
    """Draw one strip per class of an image: image, saliency, seeds, mask and box."""
    from wsl.cli.configuration import configuration
    from wsl.draw.pictures import file_part, save_png
    from wsl.run.runner import build_localizer

    localizer = build_localizer(
        configuration(
            recipe=recipe,
            model=model,
            groups=groups,
            checkpoint=checkpoint,
            categories=categories,
            device=device,
            overrides=overrides or (),
        )
    )
    method = localizer.options.saliency.method
    out.mkdir(parents=True, exist_ok=True)
    for image in images:
        for found in localizer(image, classes=class_, top_k=top_k):
            path = out / f"{file_part(image.stem)}-{found.rank}-{file_part(found.category)}.png"
            title = f"{found.category}, rank {found.rank}, probability {found.score:.3f} · {method}"
            save_png(path, found.plot(height=height, title=title))
            typer.echo(
                f"{path}: {found.category}, rank {found.rank}, "
                f"probability {found.score:.3f}, box {found.box}"
            )
