"""A run's settings and scores for experiment trackers: MLflow, and any that takes flat numbers.

>>> flattened({"localize": {"working_size": 224, "refine": {"method": "grabcut"}}})
{'localize.working_size': 224, 'localize.refine.method': 'grabcut'}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsl.errors import ConfigError, RunError
from wsl.run.folder import RunFolder


def metrics_of(run: Path | str) -> dict[str, float]:
    """Every estimate that ``wsl score`` has stored in a run.

    Returns
    -------
    dict
        ``PROTOCOL.NAME``, ``PROTOCOL.NAME.low``, ``PROTOCOL.NAME.high`` (ends of the 95 % interval)
        and ``PROTOCOL.NAME.n``; and the baselines' values, ``PROTOCOL.NAME.BASELINE``.

    Raises
    ------
    RunError
        If the run has not been scored.
    """
    paths = sorted(Path(run).glob("scores*.json"))
    if not paths:
        raise RunError(f"{run} must have been scored, but has no scores.json: wsl score {run}")
    metrics: dict[str, float] = {}
    for path in paths:
        scores = json.loads(path.read_text(encoding="utf-8"))
        for name, estimate in scores["estimates"].items():
            key = f"{scores['protocol']}.{name}"
            metrics[key] = estimate["value"]
            metrics |= {f"{key}.{part}": estimate[part] for part in ("low", "high", "n")}
        for baseline in scores["baselines"]:
            what = baseline["name"].replace(" ", "_")
            for name, estimate in baseline["estimates"].items():
                metrics[f"{scores['protocol']}.{name}.{what}"] = estimate["value"]
    return metrics


def params_of(run: Path | str) -> dict[str, Any]:
    """Effective configuration of a run by dotted keys, with its classifier and device."""
    info = RunFolder(run).read_info()
    model = {f"classifier.{key}": value for key, value in info.model.items()}
    return flattened(info.config) | model


def flattened(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def log_to_mlflow(run: Path | str) -> str:
    """Log a scored run to MLflow: parameters, metrics, ``run.json`` and the scores' files.

    It goes into the active MLflow run, or else into a new one of the active experiment that is
    named like the folder.

    Returns
    -------
    str
        Id of the MLflow run.

    Raises
    ------
    RunError
        If the run has not been scored.
    ConfigError
        If MLflow is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError("MLflow must be installed: pip install mlflow-skinny") from error
    metrics, params = metrics_of(run), params_of(run)
    active = mlflow.active_run()
    into = active or mlflow.start_run(run_name=Path(run).name)
    try:
        mlflow.log_params(params)
        mlflow.log_metrics(metrics)
        for path in [*sorted(Path(run).glob("scores*.json")), Path(run) / "run.json"]:
            mlflow.log_artifact(str(path))
    finally:
        if active is None:
            mlflow.end_run()
    return str(into.info.run_id)
