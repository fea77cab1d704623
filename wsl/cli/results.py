"""The commands on runs that are done: ``wsl score``, ``report``, ``export`` and ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export", "import_", "report", "score"]


def _run(place: str) -> Path:
    """Check that a folder is a run, before anything heavy is imported."""
    from wsl.run.info import read_info
    from wsl.storage import as_path

    path = as_path(place)
    read_info(path)
    return path


RunArgument = Annotated[Path, typer.Argument(parser=_run, metavar="RUN", help="A run's folder.")]


def score(
    run: RunArgument,
    protocol: Annotated[
        str,
        typer.Option(help="ilsvrc, mask_iou, coco; of maps: max_box_acc, pxap, heatmap, pointing."),
    ] = "ilsvrc",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset, or score.…"
        ),
    ] = None,
) -> None:
    """Score a run beside the trivial baselines, with 95 % intervals."""
    from wsl.cli.terminal import print_table
    from wsl.config import build_options, split_overrides
    from wsl.run.opened import open_run
    from wsl.score.protocols import ScoreOptions, score_run
    from wsl.score.table import scores_table, scores_to_json
    from wsl.storage import write_json

    own, others = split_overrides(overrides or (), "score")
    options = build_options(ScoreOptions, {}, own, source="--set score")
    opened = open_run(run, others)
    scores = score_run(protocol, opened.folder, opened.dataset, options)
    print_table(scores_table(scores))
    name = "scores.json" if protocol == "ilsvrc" else f"scores-{protocol}.json"
    write_json(opened.folder.path / name, scores_to_json(scores))


def report(
    runs: Annotated[
        list[Path], typer.Argument(parser=_run, metavar="RUN", help="Folders of runs.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder; by default report/ in the first run.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="html, json, csv, markdown or latex.")
    ] = "html",
    pictures: Annotated[int, typer.Option(min=0, help="In the page's gallery.")] = 200,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset."),
    ] = None,
) -> None:
    """Write a report of one run, or compare several over the same images."""
    from wsl.cli.terminal import ProgressBar
    from wsl.report.from_run import report_run
    from wsl.report.gallery import PictureOptions
    from wsl.report.page import build_report
    from wsl.report.tables import write_tables
    from wsl.run.opened import open_run

    html = form == "html"
    described = [
        report_run(open_run(run, overrides or ()), pictures=html and pictures > 0) for run in runs
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
    run: Annotated[Path | None, typer.Argument(help="A run's folder.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="A format; see --list.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder: new, or of the same export.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the formats.")] = False,
    classes: Annotated[
        str | None, typer.Option(help="ground_truth, top1 or all localized classes.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Least class probability.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="Least quality.")] = None,
    top_fraction: Annotated[float | None, typer.Option(help="Best share by quality.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset, or export.…"
        ),
    ] = None,
) -> None:
    """Write masks and boxes in the format of another tool. Started again, it goes on."""
    from wsl.cli.terminal import ProgressBar
    from wsl.config import build_options, split_overrides
    from wsl.errors import ConfigError
    from wsl.export.export import export_run, format_lines, format_type
    from wsl.run.opened import open_run

    if list_:
        for name, label, use in format_lines():
            typer.echo(f"{name:<13} {label:<13}  {use}")
        return
    if run is None or form is None or out is None:
        raise ConfigError("RUN, --format and --out must be given; --list names the formats")
    own, others = split_overrides(overrides or (), "export")
    named = {
        "classes": classes,
        "min_score": min_score,
        "min_quality": min_quality,
        "top_fraction": top_fraction,
    }
    given = {name: value for name, value in named.items() if value is not None}
    options = build_options(format_type(form), given, own, source="export options")
    opened = open_run(run, others)
    with ProgressBar("export") as progress:
        summary = export_run(run, out, options, dataset=opened.dataset, progress=progress)
    typer.echo(summary.text())


def import_(
    run: RunArgument,
    corrections: Annotated[
        list[Path], typer.Argument(help="Label Studio's JSON export, or CVAT's XML or archive.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the corrected run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override data.root of a moved dataset."),
    ] = None,
) -> None:
    """Read an export that was corrected in Label Studio or CVAT into a new run and annotations."""
    from wsl.export.corrections import import_corrections
    from wsl.run.opened import open_run

    opened = open_run(run, overrides or ())
    typer.echo(import_corrections(run, corrections, out, dataset=opened.dataset).text())
