"""A program that uses the installed package, for mypy: what callers get has the types it says."""

from pathlib import Path
from typing import assert_type

from wsl import (
    Localization,
    Localizer,
    Prediction,
    RunConfig,
    RunSummary,
    load_classifier,
    load_config,
    open_run,
    run_dataset,
)


def main() -> None:
    """Use what the package offers; never run."""
    localizer = Localizer(load_classifier("demo"), recipe="fast")
    found = localizer("dog.jpg", top_k=2)
    assert_type(found, list[Localization])
    assert_type(found[0].box, tuple[float, float, float, float] | None)
    assert_type(localizer(["dog.jpg"]), list[list[Localization]])

    config = load_config("fast", {"data.root": "photos"})
    assert_type(config, RunConfig)
    assert_type(run_dataset(config, "run"), RunSummary)
    for prediction in open_run(Path("run")).folder.predictions():
        assert_type(prediction, Prediction)
