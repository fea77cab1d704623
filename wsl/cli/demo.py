"""The command ``wsl demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsl.cli.results import report, score
from wsl.cli.run import exit_by, run_with_progress


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the images, the run and pictures.")] = Path(
        "wsl-demo"
    ),
    count: Annotated[int, typer.Option(min=1, help="Number of images to draw.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawings.")] = 0,
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of strips of the steps to draw.")
    ] = 24,
) -> None:
    """Draw a small dataset, localize its objects, score and report. Needs no download."""
    from wsl.cli.tour import DemoPlan

    plan = DemoPlan(out, count=count, seed=seed)
    typer.echo(f"Drawing {count} images into {plan.data}")
    plan.draw()
    summary = run_with_progress(plan.config, plan.run)
    score(plan.run)
    drawn = list(plan.write_pictures(pictures))
    typer.echo(f"{len(drawn)} strips of the steps: {plan.pictures}")
    iou = plan.score_masks()
    typer.echo(
        f"mean IoU of the masks with the exact ones: {100 * iou.value:.2f} % "
        f"({100 * iou.low:.2f} to {100 * iou.high:.2f} %, n = {iou.n})"
    )
    typer.echo("The report, to open in a browser:")
    report([plan.run], pictures=pictures)
    exit_by(summary)
