"""The command ``wsl``: thin, each command's work is a call of the library.

Nothing heavy is imported before a command runs, so that ``wsl --help`` is instant.

Exit status: 0 all done, 1 a user's mistake (one clear line), 3 finished but some images failed,
130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.cli.results import export, report, score
from wsl.cli.visualize import visualize
from wsl.errors import ConfigError, WslError

if TYPE_CHECKING:
    from wsl.run.config import RunConfig
    from wsl.run.options import RayOptions
    from wsl.run.runner import RunSummary
    from wsl.run.shard import Shard

__all__ = ["app", "main"]

FAILED_IMAGES = 3
INTERRUPTED = 130
ENGINES = ("local", "ray")

app = typer.Typer(
    help="Find where objects are with nothing but an image classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Show the effective configuration or its schema.")
app.add_typer(config_app, name="config")
for command in (score, report, export, visualize):
    app.command()(command)

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file, such as configs/default.yaml.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the configuration."),
]


def main() -> None:
    """Run the command line; errors that wsl raises on purpose become one line."""
    try:
        app()
    except WslError as error:
        _say(f"wsl: error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("wsl: interrupted")
        sys.exit(INTERRUPTED)
    except ImportError as error:
        if not _is_missing_system_library(error):
            raise
        _say(
            f"wsl: error: OpenCV needs a system library that is missing ({error}). "
            "On Debian and Ubuntu: apt-get install libgl1 libglib2.0-0"
        )
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from wsl import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that come before a command."""


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file, such as configs/default.yaml.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="The run's folder or store (s3://…): new, or of the same run."),
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
        str, typer.Option(help="Of the cluster: HOST:PORT, auto, or local to start one here.")
    ] = "auto",
    actors: Annotated[
        int | None, typer.Option(help="Copies of the classifier; by default one per GPU.")
    ] = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option(help="GPUs per copy; by default 1 where there are any.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only say how far a run is.")
    ] = None,
) -> None:
    """Localize the objects of a dataset. Started again, it goes on where it stopped."""
    if status is not None:
        _print_status(status)
        return
    if config is None or out is None:
        raise ConfigError("wsl run needs a CONFIG and --out, or --status RUN alone")
    from wsl.run.config import load_config
    from wsl.run.shard import Shard

    _exit_by(
        _run(
            load_config(config, overrides or ()),
            out,
            shard=Shard.parse(shard) if shard is not None else None,
            retry_failed=retry_failed,
            verify=verify,
            ray=_ray_options(engine, address, actors, gpus_per_actor),
        )
    )


@app.command()
def tune(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option(help="Folder: new, or of the same images and maps.")],
    split: Annotated[
        str | None, typer.Option(help="Split to choose on; by default the configuration's.")
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="Part of its list to choose on, such as 1/2: the first half.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=[VALUE,...]",
            help="Values to try, such as localize.seeds.foreground=[0.9, 0.95].",
        ),
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="YAML file of such keys with their values.")
    ] = None,
    search: Annotated[
        str, typer.Option(help="grid: all combinations; descent: one key after the other.")
    ] = "grid",
    objective: Annotated[
        str, typer.Option(help="gt_known_mean (of IoU 0.3, 0.5, 0.7), gt_known_0.5 or mean_iou.")
    ] = "gt_known_mean",
    overrides: SetOption = None,
) -> None:
    """Choose seeds, smoothing, working size and other settings on an annotated split."""
    from wsl.cli.terminal import ProgressBar, print_table
    from wsl.config import build_options
    from wsl.run.config import load_config
    from wsl.tune.options import TuneOptions
    from wsl.tune.result import tuning_table, write_tuning
    from wsl.tune.space import read_space
    from wsl.tune.tuner import store_maps
    from wsl.tune.tuner import tune as tune_settings

    options = build_options(
        TuneOptions, {"search": search, "objective": objective}, source="wsl tune"
    )
    tried = read_space(space, values or ())
    own = overrides or []
    named = {"data.split": split, "data.subset": part}
    here = [f"{key}={value}" for key, value in named.items() if value is not None]
    tuning = load_config(config, [*own, *here])
    with ProgressBar("saliency") as progress:
        store = store_maps(tuning, tried, out, options, progress=progress)
    with ProgressBar("refine", unit="refinements") as progress:
        result = tune_settings(store, tried, options, progress=progress)
    path = write_tuning(result, load_config(config, own), out)
    print_table(tuning_table(result))
    typer.echo(f"{path}: for wsl run; {out / 'tuning.json'}: all that was tried")


@app.command()
def show(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    config: Annotated[
        Path | None, typer.Option(help="Configuration; by default the library's defaults.")
    ] = None,
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
    from wsl.run.config import build_config, load_config
    from wsl.run.runner import build_localizer

    configuration = (
        load_config(config, overrides or ()) if config else build_config({}, overrides or ())
    )
    localizer = build_localizer(configuration)
    for image in images:
        for strip in write_strips(
            localizer, image, out, classes=class_, top_k=top_k, height=height
        ):
            found = strip.localization
            typer.echo(
                f"{strip.path}: {found.category}, rank {found.rank}, "
                f"probability {found.score:.3f}, box {found.box}"
            )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the images, the run and pictures.")] = Path(
        "wsl-demo"
    ),
    count: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
    pictures: Annotated[int, typer.Option(min=0, help="Strips to draw.")] = 24,
) -> None:
    """Draw a small dataset, localize its objects, score the result. Needs no download."""
    from wsl.cli.tour import DemoPlan

    plan = DemoPlan(out, count=count, seed=seed)
    typer.echo(f"Drawing {count} images into {plan.data}")
    plan.draw()
    summary = _run(plan.config, plan.run)
    score(plan.run)
    drawn = list(plan.write_pictures(pictures))
    typer.echo(f"{len(drawn)} strips of the steps: {plan.pictures}")
    iou = plan.score_masks()
    typer.echo(
        f"mean IoU of the masks with the exact ones: {100 * iou.value:.2f} % "
        f"({100 * iou.low:.2f} to {100 * iou.high:.2f} %, n = {iou.n})"
    )
    _exit_by(summary)


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Print the effective configuration: the file, the overrides, and the defaults."""
    from wsl.run.config import load_config, to_yaml

    typer.echo(to_yaml(load_config(config, overrides or ())), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of configurations."""
    import json

    from wsl.run.config import RunConfig

    typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))


def _ray_options(
    engine: str, address: str, actors: int | None, gpus_per_actor: float | None
) -> RayOptions | None:
    from wsl.config import build_options
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


def _run(
    configuration: RunConfig,
    out: Path | str,
    *,
    shard: Shard | None = None,
    retry_failed: bool = False,
    verify: bool = False,
    ray: RayOptions | None = None,
) -> RunSummary:
    """Run with a progress bar, and say what came of it."""
    from wsl.cli.terminal import ProgressBar
    from wsl.run.runner import run_dataset

    with ProgressBar("localize") as progress:
        try:
            summary = run_dataset(
                configuration,
                out,
                progress=progress,
                shard=shard,
                retry_failed=retry_failed,
                verify=verify,
                ray=ray,
            )
        except KeyboardInterrupt:
            progress.stop()
            _say(
                f"wsl: interrupted; finished chunks are kept in {out}. "
                "Start the same command again to go on"
            )
            sys.exit(INTERRUPTED)
    counts = summary.counts
    typer.echo(
        f"{out}: {counts['images']:,} images, {counts['failed']:,} failed, "
        f"{counts['localizations']:,} localizations"
    )
    for image_id, reason in summary.failures:
        _say(f"failed: {image_id}: {reason}")
    if summary.failed > len(summary.failures):
        _say(f"… and {summary.failed - len(summary.failures):,} more; see the column error")
    return summary


def _exit_by(summary: RunSummary) -> None:
    if summary.failed:
        raise typer.Exit(FAILED_IMAGES)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _is_missing_system_library(error: ImportError) -> bool:
    return ".so" in str(error) and "cannot open shared object file" in str(error)
