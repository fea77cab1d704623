"""The command ``wsl visualize``."""

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
)
from wsl.errors import ConfigError, choices_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAXIMIZING = "activation_maximization"


def visualize(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="Saliency method; see --list.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help="Image files; activation_maximization takes none."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the methods.")] = False,
    model: ModelOption = None,
    recipe: Annotated[
        str,
        typer.Option(help="Recipe or YAML file: the views of an image, and the model if not said."),
    ] = "plain",
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class to explain: id, name or number.")
    ] = None,
    top_k: Annotated[
        int, typer.Option(min=1, help="Explain the classifier's first k classes.")
    ] = 1,
    groups: GroupsOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    device: DeviceOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and arrays.")] = Path(),
    height: Annotated[int, typer.Option(min=16, help="Height of a panel in pixels.")] = 224,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key: saliency.size=71, activation_maximization.steps=500, or "
            "target.layer=features.3 and target.channel=17 in place of a class.",
        ),
    ] = None,
) -> None:
    """Draw saliency maps of images by any method, and write them as arrays.

    activation_maximization draws the image that a class likes best (--class NAME, without images).
    """
    if list_:
        _print_methods()
        return
    if method is None:
        raise ConfigError("METHOD must be given; wsl visualize --list names them")
    _check(method, images or ())
    from wsl.cli.configuration import configuration
    from wsl.cli.terminal import ProgressBar
    from wsl.config.layers import build_options, split_overrides
    from wsl.draw.attributions import write_maximized, write_overlays
    from wsl.run.runner import build_localizer
    from wsl.saliency.activation_maximization import ActivationMaximization
    from wsl.saliency.methods import DRAWN
    from wsl.saliency.targets import TargetOptions

    of_target, rest = split_overrides(overrides or (), "target")
    of_model, rest = split_overrides(rest, _MAXIMIZING)
    if method != _MAXIMIZING:
        rest = [*rest, f"saliency.method={method}"]
        if of_model:
            raise ConfigError(f"{_MAXIMIZING}.{of_model[0]} must not be set for method {method}")
    target = build_options(TargetOptions, {}, of_target, source="--set target")
    ascent = build_options(ActivationMaximization, {}, of_model, source=f"--set {_MAXIMIZING}")
    localizer = build_localizer(
        configuration(
            recipe=recipe,
            model=model,
            groups=groups,
            checkpoint=checkpoint,
            categories=categories,
            device=device,
            overrides=rest,
        )
    )
    unit = DRAWN[method].progress_unit
    with ProgressBar(method, unit=unit, after=2.0) as bar:
        if method == _MAXIMIZING:
            drawn = write_maximized(
                localizer.classifier,
                out,
                ascent,
                classes=class_ or (),
                target=target,
                height=height,
                progress=bar,
            )
        else:
            drawn = write_overlays(
                localizer.classifier,
                images or (),
                out,
                localizer.options.saliency,
                classes=class_,
                first=top_k,
                target=target,
                height=height,
                progress=bar,
            )
        for visual in drawn:
            typer.echo(f"{visual.path}: {visual.title}")


def _check(method: str, images: Sequence[Path]) -> None:
    from wsl.saliency.methods import DRAWN

    if method not in DRAWN:
        raise ConfigError(f"there is no method {method!r}. {choices_hint(method, DRAWN)}")
    if method == _MAXIMIZING and images:
        raise ConfigError(f"{method} must have no image, but got {images[0]}")
    if method != _MAXIMIZING and not images:
        raise ConfigError(f"{method} must have images, but got none")


def _print_methods() -> None:
    from wsl.saliency.methods import DRAWN

    lines = [(name, method.summary, method.reference) for name, method in DRAWN.items()]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for name, summary, reference in lines:
        typer.echo(f"{name:<{widths[0]}}  {summary:<{widths[1]}}  {reference}")
