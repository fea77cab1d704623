"""The command ``wsl tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsl.cli.common import ConfigArgument, SetOption


def tune(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option(help="Folder: new, or of the same images and maps.")],
    split: Annotated[
        str | None, typer.Option(help="Split to choose on; by default the configuration's.")
    ] = None,
    subset: Annotated[
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
        str,
        typer.Option(
            help="What to raise: gt_known_mean (IoU 0.3, 0.5, 0.7), gt_known_0.5, mean_iou or "
            "mask_iou."
        ),
    ] = "gt_known_mean",
    overrides: SetOption = None,
) -> None:
    """Choose seeds, smoothing, working size and other settings on an annotated split."""
    from wsl.cli.terminal import ProgressBar, print_table
    from wsl.config.layers import build_options
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
    named = {"data.split": split, "data.subset": subset}
    here = [f"{key}={value}" for key, value in named.items() if value is not None]
    tuning = load_config(config, [*own, *here])
    with ProgressBar("saliency") as progress:
        store = store_maps(tuning, tried, out, options, progress=progress)
    with ProgressBar("refine", unit="refinements") as progress:
        result = tune_settings(store, tried, options, progress=progress)
    path = write_tuning(result, load_config(config, own), out)
    print_table(tuning_table(result))
    typer.echo(f"{path}: for wsl run; {out / 'tuning.json'}: all that was tried")
