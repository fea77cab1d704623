import json
from pathlib import Path

import pytest
from extras import package

from wsl import load_config, run_dataset
from wsl.demo.draw import write_dataset
from wsl.errors import RunError
from wsl.integrations.tracking import log_to_mlflow, metrics_of, params_of
from wsl.run.opened import open_run
from wsl.score.protocols.ilsvrc import IlsvrcOptions
from wsl.score.protocols.mask_iou import MaskIoUOptions
from wsl.storage import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tracked")
    write_dataset(folder / "data", count=3, seed=0)
    overrides = {"data.root": str(folder / "data"), "model.source": "demo", "data.format": "ilsvrc"}
    config = load_config("fast", overrides | {"model.architecture": None})
    run_dataset(config, folder / "run")
    opened = open_run(folder / "run")
    for name, options in (("scores", IlsvrcOptions()), ("scores-mask_iou", MaskIoUOptions())):
        write_json(
            folder / "run" / f"{name}.json",
            options.score(opened.folder, opened.dataset).to_json(),
        )
    return folder / "run"


def test_metrics_are_the_scores_with_their_intervals(run: Path) -> None:
    metrics = metrics_of(run)
    stored = json.loads((run / "scores.json").read_text())
    for name, estimate in stored["estimates"].items():
        assert metrics[f"ilsvrc.{name}"] == estimate["value"]
        assert metrics[f"ilsvrc.{name}.low"] == estimate["low"]
    assert metrics["ilsvrc.mean_iou.whole_image"] < metrics["ilsvrc.mean_iou"]
    assert 0 < metrics["mask_iou.mask_iou"] <= 1
    assert all(isinstance(value, int | float) for value in metrics.values())


def test_parameters_are_the_effective_configuration(run: Path) -> None:
    params = params_of(run)
    assert params["saliency.method"] == load_config("fast").saliency.method
    assert params["classifier.name"] == "demo"


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must have been scored"):
        metrics_of(tmp_path)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_gets_the_run(run: Path, tmp_path: Path, monkeypatch) -> None:
    mlflow = package("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the store that needs no database
    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("boxes")
    run_id = log_to_mlflow(run)
    logged = mlflow.get_run(run_id).data
    assert logged.metrics == pytest.approx(metrics_of(run))
    assert logged.params["saliency.method"] == params_of(run)["saliency.method"]
    assert mlflow.active_run() is None
    with mlflow.start_run() as active:
        assert log_to_mlflow(run) == active.info.run_id
