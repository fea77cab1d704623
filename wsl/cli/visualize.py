"""The command ``wsl visualize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsl.cli.terminal import ProgressBar
    from wsl.draw.attributions import Visual

__all__ = ["visualize"]


def visualize(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="Saliency method; see --list.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help="Image files; activation_maximization needs none."),
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
            help="Override a key: saliency.occlusion.size=71, "
            "activation_maximization.steps=500, or target.layer=features.3 and "
            "target.channel=17 in place of a class.",
        ),
    ] = None,
) -> None:
    """Draw where the classifier looks, by any method, and write the maps as arrays."""
    if list_:
        _print_methods()
        return
    if method is None:
        raise ConfigError("METHOD must be given; wsl visualize --list names them")
    for visual in _visuals(method, images or (), config, class_, top_k, out, height, overrides):
        typer.echo(f"{visual.path}: {visual.title}")


def _print_methods() -> None:
    from wsl.saliency.methods import method_lines

    lines = method_lines()
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
    from wsl.config import build_options, split_overrides
    from wsl.draw.attributions import write_class_models, write_overlays
    from wsl.models.sources import load_classifier
    from wsl.run.config import build_config, load_config
    from wsl.saliency.explain import TargetOptions
    from wsl.saliency.methods import CLASS_MODEL, check_method
    from wsl.saliency.options import ClassModelOptions

    check_method(method)
    of_target, rest = split_overrides(overrides or (), "target")
    of_model, rest = split_overrides(rest, "activation_maximization")
    target = build_options(TargetOptions, {}, of_target, source="--set target")
    model_options = build_options(ClassModelOptions, {}, of_model, source="activation_maximization")
    is_model = method == CLASS_MODEL
    if is_model and images:
        raise ConfigError(f"activation_maximization has no image, but got {images[0]}")
    if not is_model and not images:
        raise ConfigError(f"{method} must have images, but got none")
    if not is_model and of_model:
        raise ConfigError(
            f"activation_maximization.{of_model[0]} must not be set for method {method}"
        )
    if not is_model:
        rest = [*rest, f"saliency.method={method}"]
    configuration = load_config(config, rest) if config else build_config({}, rest)
    classifier = load_classifier(configuration.model)
    if is_model:
        yield from write_class_models(
            classifier, out, model_options, classes=classes or (), target=target, height=height
        )
        return
    with ProgressBar("occlude", unit="masked images") as bar:
        yield from write_overlays(
            classifier,
            images,
            out,
            configuration.saliency,
            classes=classes,
            first=top_k,
            target=target,
            height=height,
            progress=_Counter(bar),
        )


class _Counter:
    """Turns "so many of so many" into steps of a progress bar."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._done = bar, 0

    def __call__(self, done: int, total: int) -> None:
        if self._done == 0:
            self._bar.start(total, 0)
        self._bar.advance(done - self._done, 0)
        self._done = done
        if done == total:
            self._bar.stop()
            self._done = 0
