"""The command ``wsl compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsl.cli.common import SetOption
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
from wsl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsl.run.opened import OpenedRun


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Image files, a folder of images, or a dataset."),
    ],
    methods: Annotated[
        str, typer.Option(help="Saliency methods and recipes to compare, separated by commas.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the runs, the tables and the pictures.")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    groups: GroupsOption = None,
    checkpoint: CheckpointOption = None,
    categories: CategoriesOption = None,
    device: DeviceOption = None,
    subset: SubsetOption = None,
    form: Annotated[
        str, typer.Option("--format", help="Format of the table: markdown, latex, csv or json.")
    ] = "markdown",
    pictures: Annotated[int, typer.Option(min=0, help="Number of images to draw.")] = 24,
    overrides: SetOption = None,
) -> None:
    """Run several methods on the same images; one table, one report, pictures side by side.

    A method replaces the recipe's own and keeps its seeds and refinement; the name of a recipe
    stands for all of it. Without annotations there are pictures only.
    """
    from wsl.cli.configuration import configuration
    from wsl.cli.run import exit_by, run_with_progress
    from wsl.localize.recipes import recipe_names
    from wsl.run.opened import open_run

    names = [name.strip() for name in methods.split(",") if name.strip()]
    if len(set(names)) < max(2, len(names)):
        raise ConfigError(f"--methods must name two or more different ones, but got {methods!r}")
    configurations = {
        name: configuration(
            sources,
            recipe=name if name in recipe_names() else recipe,
            model=model,
            data=data,
            groups=groups,
            checkpoint=checkpoint,
            categories=categories,
            device=device,
            subset=subset,
            overrides=[
                *([] if name in recipe_names() else [f"saliency.method={name}"]),
                *(overrides or ()),
            ],
        )
        for name in names
    }
    summaries = [run_with_progress(each, out / name) for name, each in configurations.items()]
    opened = [open_run(out / name) for name in names]
    if _is_annotated(opened[0]):
        for path in _report(opened, out, form, pictures):
            typer.echo(path)
    for path in _pictures(opened, out / "pictures", pictures):
        typer.echo(path)
    for summary in summaries:
        exit_by(summary)


def _is_annotated(run: OpenedRun) -> bool:
    from wsl.errors import AnnotationError

    try:
        sample = run.dataset.sample(0)
    except AnnotationError:
        return True  # the report says which annotations cannot be read
    return sample.annotation is not None


def _report(runs: Sequence[OpenedRun], out: Path, form: str, pictures: int) -> Iterator[Path]:
    from wsl.cli.terminal import ProgressBar
    from wsl.report.from_run import report_run
    from wsl.report.gallery import PictureOptions
    from wsl.report.page import build_report
    from wsl.report.tables import write_tables

    described = [report_run(run) for run in runs]
    yield from write_tables(described, out, form=form)
    with ProgressBar("draw", unit="pictures") as progress:
        yield build_report(
            described, out, pictures=PictureOptions(count=pictures), progress=progress
        )


def _pictures(runs: Sequence[OpenedRun], out: Path, count: int) -> Iterator[Path]:
    """Draw each image with every run's mask and box of the label, or else of the first class."""
    from itertools import islice

    from wsl.data.images import load_image
    from wsl.draw.montage import FAINT, Panel, side_by_side
    from wsl.draw.overlays import draw_boxes, overlay_mask
    from wsl.draw.pictures import file_part, resize_picture, save_png

    height = 224
    by_run = [islice(run.folder.predictions(), count) for run in runs]
    for predictions in zip(*by_run, strict=True):
        if predictions[0].status != "ok":
            continue
        index = runs[0].dataset.image_ids.index(predictions[0].image_id)
        pixels = load_image(runs[0].dataset.sample(index, annotated=False).path)
        panels = []
        for run, prediction in zip(runs, predictions, strict=True):
            if not prediction.localizations:
                continue
            best = next(
                (found for found in prediction.localizations if found.is_ground_truth),
                prediction.localizations[0],
            )
            picture = overlay_mask(pixels, best.mask)
            if best.box is not None:
                picture = draw_boxes(picture, predicted=best.box)
            size = (height, max(1, round(pixels.shape[1] * height / pixels.shape[0])))
            caption = f"{run.folder.path.name}: {best.category.split(',')[0]} {best.score:.2f}"
            panels.append(Panel(resize_picture(picture, size), ((caption, FAINT),)))
        path = out / f"{file_part(predictions[0].image_id)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, side_by_side(panels, title=predictions[0].image_id, height=height))
        yield path
