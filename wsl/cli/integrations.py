"""The commands that serve a classifier: ``wsl app`` and ``wsl label-studio``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.cli.configuration import (
    CategoriesOption,
    CheckpointOption,
    DeviceOption,
    GroupsOption,
    ModelOption,
    RecipeOption,
)

if TYPE_CHECKING:
    from wsl.localize.localizer import Localizer


HostOption = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every one.")]


def app(
    model: ModelOption = None,
    recipe: RecipeOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    groups: GroupsOption = None,
    device: DeviceOption = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 7860,
) -> None:
    """Try images, methods and recipes on a page in the browser. Needs the extra app."""
    from wsl.integrations.gradio import serve

    localizer = _localizer(model, recipe, checkpoint, categories, groups, device)
    serve(localizer.classifier, recipe=recipe or "default", host=host, port=port)


def label_studio(
    images: Annotated[Path, typer.Option(help="Folder that is Label Studio's local storage.")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    groups: GroupsOption = None,
    device: DeviceOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="Localize the first k classes.")] = 1,
    min_score: Annotated[float, typer.Option(help="Least class probability.")] = 0.0,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the backend.")] = 9090,
) -> None:
    """Pre-annotate the tasks of Label Studio: a machine-learning backend to connect there."""
    from wsl.errors import DataError
    from wsl.integrations.label_studio import Backend, make_server

    if not images.is_dir():
        raise DataError(f"--images must be a folder, but {images} is none")
    localizer = _localizer(model, recipe, checkpoint, categories, groups, device)
    backend = Backend(localizer, images, top_k=top_k, min_score=min_score)
    with make_server(backend, host, port) as server:
        typer.echo(f"Add the model http://{host}:{server.server_port} to the project's settings.")
        server.serve_forever()


def _localizer(
    model: list[str] | None,
    recipe: str | None,
    checkpoint: list[Path] | None,
    categories: Path | None,
    groups: Path | None,
    device: str | None,
) -> Localizer:
    from wsl.cli.configuration import configuration
    from wsl.run.runner import build_localizer

    return build_localizer(
        configuration(
            model=model or ["demo"],
            recipe=recipe,
            checkpoint=checkpoint,
            categories=categories,
            groups=groups,
            device=device,
        )
    )
