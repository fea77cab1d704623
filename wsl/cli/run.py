"""The command ``wsl run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.cli.common import FAILED_IMAGES, SetOption, say
from wsl.cli.configuration import (
    CategoriesOption,
    CheckpointOption,
    DataOption,
    DeviceOption,
    GroupsOption,
    ModelOption,
    RecipeOption,
    SubsetOption,
)
from wsl.cli.results import write_export
from wsl.errors import ConfigError

if TYPE_CHECKING:
    from wsl.run.config import RunConfig
    from wsl.run.options import RayOptions
    from wsl.run.runner import RunSummary
    from wsl.run.shard import Shard

ENGINES = ("local", "ray")


def run(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Image files, a folder of images, or a dataset; or one YAML file, or a recipe.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="The run's folder or store (s3://…): new, or of the same run."),
    ] = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to localize, separated by commas; by default each image's label, or "
            "else the classifier's first."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Localize the classifier's first k classes.")
    ] = None,
    groups: GroupsOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    device: DeviceOption = None,
    subset: SubsetOption = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="Then export, such as to coco, into OUT/export/FORMAT."
        ),
    ] = None,
    overrides: SetOption = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do every N-th chunk only, from the I-th (from 0)."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do chunks with failed images again.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the maps of finished chunks bit by bit, too.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: a Ray cluster (extra ray).")
    ] = "local",
    address: Annotated[
        str,
        typer.Option(help="Address of the cluster: HOST:PORT, auto, or local to start one here."),
    ] = "auto",
    actors: Annotated[
        int | None, typer.Option(help="Copies of the classifier; by default one per GPU.")
    ] = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option(help="GPUs per copy; by default 1 where there are any.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="RUN", help="Say how far a run is, and do nothing else.")
    ] = None,
) -> None:
    """Localize the objects of a dataset. Run it again to continue where it stopped."""
    if status is not None:
        _print_status(status)
        return
    if out is None:
        raise ConfigError("wsl run needs --out, or --status RUN alone")
    if (
        not sources
        and data is None
        and not any(text.startswith("data.") for text in overrides or ())
    ):
        raise ConfigError("wsl run needs images: files, a folder, a dataset, or a YAML file")
    from wsl.run.folder import RunFolder

    RunFolder(out).check()  # before what takes long to import
    from wsl.cli.configuration import configuration
    from wsl.run.shard import Shard

    if export is not None:
        _check_export(export, out, shard)
    summary = run_with_progress(
        configuration(
            sources or (),
            recipe=recipe,
            model=model,
            data=data,
            classes=classes,
            top_k=top_k,
            checkpoint=checkpoint,
            categories=categories,
            groups=groups,
            device=device,
            subset=subset,
            overrides=overrides or (),
        ),
        out,
        shard=Shard.parse(shard) if shard is not None else None,
        retry_failed=retry_failed,
        verify=verify,
        ray=_ray_options(engine, address, actors, gpus_per_actor),
    )
    if export is not None:
        write_export(Path(out), export, Path(out) / "export" / export)
    exit_by(summary)


def _check_export(form: str, out: str, shard: str | None) -> None:
    """Refuse before the work what would be refused after it."""
    from wsl.config.layers import build_options
    from wsl.export.formats import AnyFormat

    build_options(AnyFormat, {"format": form}, source="wsl run --export")
    if shard is not None:
        raise ConfigError("--export and --shard must not both be given: export the whole run")
    if "://" in out:
        raise ConfigError(f"--export must have a local --out, but got {out}: use wsl export")


def _ray_options(
    engine: str, address: str, actors: int | None, gpus_per_actor: float | None
) -> RayOptions | None:
    from wsl.config.layers import build_options
    from wsl.errors import choices_hint
    from wsl.run.options import RayOptions

    given = {"address": address, "actors": actors, "gpus_per_actor": gpus_per_actor}
    if engine == "ray":
        return build_options(RayOptions, given, source="--engine ray")
    if engine != "local":
        raise ConfigError(f"there is no engine {engine!r}. {choices_hint(engine, ENGINES)}")
    if given != RayOptions().model_dump(include=set(given)):
        raise ConfigError("--address, --actors and --gpus-per-actor need --engine ray")
    return None


def _print_status(place: str) -> None:
    from wsl.run.status import read_status

    for line in read_status(place).lines():
        typer.echo(line)


def run_with_progress(
    configuration: RunConfig,
    out: Path | str,
    *,
    shard: Shard | None = None,
    retry_failed: bool = False,
    verify: bool = False,
    ray: RayOptions | None = None,
) -> RunSummary:
    """Run with a progress bar and print the counts."""
    from wsl.cli.terminal import ProgressBar
    from wsl.run.runner import run_dataset

    with ProgressBar("localize") as progress:
        summary = run_dataset(
            configuration,
            out,
            progress=progress,
            shard=shard,
            retry_failed=retry_failed,
            verify=verify,
            ray=ray,
        )
    counts = summary.counts
    typer.echo(
        f"{out}: {counts['images']:,} images, {counts['failed']:,} failed, "
        f"{counts['localizations']:,} localizations"
    )
    for image_id, reason in summary.failures:
        say(f"failed: {image_id}: {reason}")
    if summary.failed > len(summary.failures):
        say(f"… and {summary.failed - len(summary.failures):,} more; see the column error")
    return summary


def exit_by(summary: RunSummary) -> None:
    """Exit with status 3 if images failed."""
    if summary.failed:
        raise typer.Exit(FAILED_IMAGES)
