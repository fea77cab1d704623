"""The scripts behind eval/scale.md: the simulation keeps its promises."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def simulation():
    path = Path(__file__).resolve().parents[1] / "eval" / "simulate_scheduler.py"
    spec = importlib.util.spec_from_file_location("simulate_scheduler", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def run(simulation, seed=0, **changes):
    cluster = simulation.Cluster(chunks=300, cpu_nodes=1, cpus_of_cpu_node=8, **changes)
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
