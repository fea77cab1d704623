"""The commands on runs that are done: ``wsl score``, ``report``, ``export`` and ``import``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer


def _run(place: str) -> Path:
    """Check that a folder is a run, before anything heavy is imported."""
    from wsl.run.info import read_info
    from wsl.storage import as_path

    path = as_path(place)
    read_info(path)
    return path


RunArgument = Annotated[Path, typer.Argument(parser=_run, metavar="RUN", help="A run's folder.")]


def score(
    run: Annotated[
        Path | None,
        typer.Argument(parser=_run, help="A run's folder; not needed to score other maps."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="A protocol; see --list.")] = "ilsvrc",
    maps: Annotated[
        Path | None,
        typer.Option(help="Folder of maps, IMAGE_ID.npy, .npz or .png, to score instead."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Format of the maps' dataset, if there is no run."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the maps' dataset, if there is no run.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file to write; by default scores.json in the run's folder."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the protocols.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override data.… or score.…"),
    ] = None,
) -> None:
    """Score a run, or a folder of maps, beside the trivial baselines, with 95 % intervals."""
    from wsl.cli.terminal import print_table
    from wsl.config.layers import build_options
    from wsl.errors import ConfigError
    from wsl.run.opened import open_run
    from wsl.score.protocols import ScoreConfig, protocol_lines
    from wsl.score.stored import open_annotated
    from wsl.score.table import scores_table
    from wsl.storage import write_json

    if list_:
        for name, summary in protocol_lines():
            typer.echo(f"{name:<12} {summary}")
        return
    own = [override for override in overrides or () if override.startswith("score.")]
    others = [override for override in overrides or () if override not in own]
    named = {"protocol": protocol} | ({"maps": maps} if maps else {})
    options = build_options(ScoreConfig, {"score": named}, own, source="wsl score").score
    if run is not None and (data or root):
        raise ConfigError("--data and --root go without a run, which knows its dataset")
    if run is not None:
        opened = open_run(run, others)
        scores = options.score(opened.folder, opened.dataset)
        name = "scores.json" if protocol == "ilsvrc" else f"scores-{protocol}.json"
        out = out or opened.folder.path / name
    elif data is not None:
        scores = options.score(None, open_annotated(data, root, others))
    else:
        raise ConfigError("name a run, or the dataset of --maps with --data FORMAT and --root")
    print_table(scores_table(scores))
    if out is not None:
        write_json(out, scores.to_json())


def report(
    runs: Annotated[
        list[Path], typer.Argument(parser=_run, metavar="RUN", help="Folders of runs.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder; by default report/ in the first run.")
    ] = None,
    form: Annotated[
        str,
        typer.Option("--format", help="Form of the report: html, json, csv, markdown or latex."),
    ] = "html",
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of pictures in the page's gallery.")
    ] = 200,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override data.… or score.…"),
    ] = None,
) -> None:
    """Write a report of one run, or compare several over the same images."""
    from wsl.cli.terminal import ProgressBar
    from wsl.config.layers import build_options, split_overrides
    from wsl.report.from_run import report_run
    from wsl.report.gallery import PictureOptions
    from wsl.report.page import build_report
    from wsl.report.tables import write_tables
    from wsl.run.opened import open_run
    from wsl.score.protocols.ilsvrc import IlsvrcOptions

    html = form == "html"
    own, others = split_overrides(overrides or (), "score")
    options = build_options(IlsvrcOptions, {}, own, source="wsl report")
    described = [
        report_run(open_run(run, others), options, pictures=html and pictures > 0) for run in runs
    ]
    target = out or runs[0] / "report"
    if not html:
        for path in write_tables(described, target, form=form):
            typer.echo(path)
        return
    with ProgressBar("draw", unit="pictures") as progress:
        path = build_report(
            described,
            target,
            pictures=PictureOptions(count=pictures),
            progress=progress,
        )
    typer.echo(path)


def export(
    run: Annotated[Path | None, typer.Argument(parser=_run, help="A run's folder.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="A format; see --list.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder: new, or of the same export.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the formats.")] = False,
    classes: Annotated[
        str | None, typer.Option(help="ground_truth, top1 or all localized classes.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out classes of a lower probability.")
    ] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Leave out localizations of a lower quality.")
    ] = None,
    top_fraction: Annotated[
        float | None, typer.Option(help="Keep this share of each class, the best by quality.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset, or export.…"
        ),
    ] = None,
) -> None:
    """Write masks and boxes in the format of another tool. Run it again to continue."""
    from wsl.errors import ConfigError
    from wsl.export.formats import format_lines

    if list_:
        for name, label, use in format_lines():
            typer.echo(f"{name:<13} {label:<13}  {use}")
        return
    if run is None or form is None or out is None:
        raise ConfigError("RUN, --format and --out must be given; --list names the formats")
    write_export(
        run,
        form,
        out,
        {
            "classes": classes,
            "min_score": min_score,
            "min_quality": min_quality,
            "top_fraction": top_fraction,
        },
        overrides or (),
    )


def write_export(
    run: Path,
    form: str,
    out: Path,
    named: Mapping[str, str | float | None] = MappingProxyType({}),
    overrides: Sequence[str] = (),
) -> None:
    """Export a run with progress, and print the summary."""
    from wsl.cli.terminal import ProgressBar
    from wsl.config.layers import build_options, split_overrides
    from wsl.export.export import export_run
    from wsl.export.formats import AnyFormat
    from wsl.run.opened import open_run

    own, others = split_overrides(overrides, "export")
    given = {name: value for name, value in named.items() if value is not None}
    options = build_options(AnyFormat, {"format": form, **given}, own, source="wsl export")
    opened = open_run(run, others)
    with ProgressBar("export") as progress:
        summary = export_run(run, out, options, dataset=opened.dataset, progress=progress)
    typer.echo(summary.text())
    typer.echo(f"written to {out}")


def import_(
    run: RunArgument,
    corrections: Annotated[
        list[Path], typer.Argument(help="Label Studio's JSON export, or CVAT's XML or archive.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the corrected run.")],
    classes: Annotated[
        str | None, typer.Option(help="ground_truth, top1 or all, as the export was made.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset."),
    ] = None,
) -> None:
    """Read an export that was corrected in Label Studio or CVAT into a new run and annotations."""
    from wsl.export.corrections import import_corrections
    from wsl.run.opened import open_run

    opened = open_run(run, overrides or ())
    typer.echo(
        import_corrections(run, corrections, out, classes=classes, dataset=opened.dataset).text()
    )
