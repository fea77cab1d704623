"""The command ``wsl show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

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
from wsl.errors import ConfigError


def show(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files; or one run's folder.")
    ],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class to localize: id, name or number.")
    ] = None,
    top_k: Annotated[
        int, typer.Option(min=1, help="Localize the classifier's first k classes.")
    ] = 1,
    groups: GroupsOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    device: DeviceOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path(),
    height: Annotated[int, typer.Option(min=16, help="Height of a panel in pixels.")] = 224,
    worst: Annotated[
        int | None, typer.Option(min=1, help="Draw so many of a run's worst images on one sheet.")
    ] = None,
    doubtful: Annotated[
        int | None,
        typer.Option(min=1, help="Draw so many of a run's images, those of the lowest quality."),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Draw one strip per class of an image: image, saliency, seeds, mask and box."""
    if worst or doubtful:
        _sheet(images, out, worst=worst, doubtful=doubtful, overrides=overrides or ())
        return
    from wsl.cli.configuration import configuration
    from wsl.cli.terminal import ProgressBar
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
    out.mkdir(parents=True, exist_ok=True)
    with ProgressBar("show", after=2.0) as progress:
        progress.start(len(images), 0)
        for image in images:
            for found in localizer(image, classes=class_, top_k=top_k):
                path = out / f"{file_part(image.stem)}-{found.rank}-{file_part(found.category)}.png"
                what = f"{found.category}, rank {found.rank}, probability {found.score:.3f}"
                save_png(path, found.plot(height=height))
                typer.echo(f"{path}: {what}, box {found.box}")
            progress.advance(1, 0)


def _sheet(
    runs: Sequence[Path],
    out: Path,
    *,
    worst: int | None,
    doubtful: int | None,
    overrides: Sequence[str],
) -> None:
    if len(runs) != 1 or (worst and doubtful):
        raise ConfigError("a sheet is of one run: wsl show RUN --worst 20, or --doubtful 20")
    from wsl.draw.pictures import save_png
    from wsl.report.sheet import run_sheet
    from wsl.run.opened import open_run

    order: Literal["worst", "doubt"] = "worst" if worst else "doubt"
    opened = open_run(runs[0], overrides)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{opened.folder.path.name}-{'worst' if worst else 'doubtful'}.png"
    save_png(path, run_sheet(opened, count=worst or doubtful or 1, order=order))
    typer.echo(path)
