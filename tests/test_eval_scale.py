"""The scripts behind eval/scale.md: the simulation keeps its promises, and so do the dry runs."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

EVAL = Path(__file__).resolve().parents[1] / "eval"


@pytest.fixture(scope="module")
def simulation():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EVAL))  # for what the script imports from beside it
        yield importlib.import_module("simulate_scheduler")


def run(simulation, seed=0, **changes):
    cluster = simulation.Cluster(
        chunks=300,
        gpu_nodes=1,
        cpus_of_gpu_node=15,
        cpu_nodes=1,
        cpus_of_cpu_node=8,
        actor_seconds=1.3,
        task_seconds=220.0,
        **changes,
    )
    simulated = simulation.Simulation(cluster, seed)
    return simulated.run(), simulated


def test_without_faults_it_takes_about_the_ideal_time(simulation):
    result, _ = run(simulation)
    assert 1 <= result.hours / result.ideal_hours < 1.1
    assert result.redone_gradients == result.redone_refinements == 0
    assert result.most_waiting <= 64


@pytest.mark.parametrize("seed", range(3))
def test_with_faults_every_chunk_is_done_once(simulation, seed):
    result, simulated = run(
        simulation, seed, worker_mtbf=2.0, node_mtbf=1.0, driver_mtbf=0.5, node_back=60.0
    )
    assert simulated.done == set(range(300))
    assert result.deaths["drivers"] > 0
    assert result.redone_gradients >= result.redone_refinements > 0


@pytest.mark.slow
def test_the_dry_run_writes_every_chunk_and_says_what_it_took(tmp_path):
    out = tmp_path / "dry.json"
    command = [EVAL / "dry_run.py", "--chunks", 40, "--chunk-size", 4, "--work", 0.1, "--out", out]
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)
    result = json.loads(out.read_text())["result"]
    # Ready-made rows, of which five an image: far less than the work they stand for.
    assert 0 < result["share_of_the_work"] < 0.5
    assert result["bytes"] > 40 * 4 * 5 * 100


@pytest.mark.parametrize("name", ["dry_run", "dry_run_ray"])
def test_the_recorded_cost_of_scheduling_is_below_two_percent(name):
    found = json.loads((EVAL / "results" / f"{name}.json").read_text())
    assert "--chunks 5000" in found["command"]
    assert 0 < found["result"]["share_of_the_work"] < 0.02
