"""The command ``wsl visualize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.errors import ConfigError, choices_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsl.draw.attributions import Visual


def visualize(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="Saliency method; see --list.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help="Image files; activation_maximization takes none."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the methods.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="Configuration; by default the library's defaults.")
    ] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class to explain: id, name or number.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Explain the classifier's first k.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and arrays.")] = Path(),
    height: Annotated[int, typer.Option(min=16, help="Of a panel in pixels.")] = 224,
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
    """Draw saliency maps of images by any method, and write them as arrays."""
    if list_:
        _print_methods()
        return
    if method is None:
        raise ConfigError("METHOD must be given; wsl visualize --list names them")
    for visual in _visuals(method, images or (), config, class_, top_k, out, height, overrides):
        typer.echo(f"{visual.path}: {visual.title}")


def _print_methods() -> None:
    from wsl.saliency.methods import DRAWN

    lines = [(name, method.summary, method.reference) for name, method in DRAWN.items()]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for name, summary, reference in lines:
        typer.echo(f"{name:<{widths[0]}}  {summary:<{widths[1]}}  {reference}")


def _visuals(
    method: str,
    images: Sequence[Path],
    config: Path | None,
    classes: list[str] | None,
    top_k: int,
    out: Path,
    height: int,
    overrides: list[str] | None,
) -> Iterator[Visual]:
    from wsl.cli.terminal import ProgressBar
    from wsl.config.layers import build_options, split_overrides
    from wsl.draw.attributions import write_maximized, write_overlays
    from wsl.run.config import build_config, load_config
    from wsl.run.runner import configured_classifier
    from wsl.saliency.activation_maximization import ActivationMaximization
    from wsl.saliency.methods import DRAWN, METHODS
    from wsl.saliency.targets import TargetOptions

    if method not in DRAWN:
        raise ConfigError(f"there is no method {method!r}. {choices_hint(method, DRAWN)}")
    is_model = method not in METHODS
    of_target, rest = split_overrides(overrides or (), "target")
    maximizing = "activation_maximization"
    of_model, rest = split_overrides(rest, maximizing)
    target = build_options(TargetOptions, {}, of_target, source="--set target")
    model_options = build_options(
        ActivationMaximization, {}, of_model, source=f"--set {maximizing}"
    )
    if is_model and images:
        raise ConfigError(f"{method} must have no image, but got {images[0]}")
    if not is_model and not images:
        raise ConfigError(f"{method} must have images, but got none")
    if not is_model and of_model:
        raise ConfigError(f"{maximizing}.{of_model[0]} must not be set for method {method}")
    if not is_model:
        rest = [*rest, f"saliency.method={method}"]
    plain = {"extends": "plain"}  # one view, at the weights' own input size
    configuration = load_config(config, rest) if config else build_config(plain, rest)
    classifier = configured_classifier(configuration)
    if is_model:
        yield from write_maximized(
            classifier, out, model_options, classes=classes or (), target=target, height=height
        )
        return
    with ProgressBar(method, unit="forward passes") as bar:
        yield from write_overlays(
            classifier,
            images,
            out,
            configuration.saliency,
            classes=classes,
            first=top_k,
            target=target,
            height=height,
            progress=bar,
        )
