"""The Ray engine on two nodes: the local engine's files, whatever is killed."""

import json
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from mounts import mounted
from ray_cluster import SECOND, started
from small_runs import classifier, config, draw_photos, network, rows

from wsl.errors import RunError
from wsl.run.engines.ray import RayEngine
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.options import RayOptions
from wsl.run.runner import run_dataset

DRIVER = Path(__file__).with_name("ray_driver.py")
CHUNKS = 12


@pytest.fixture(scope="module")
def cluster():
    with started() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The images, and the local engine's run over them."""
    base = tmp_path_factory.mktemp("local")
    photos = draw_photos(base / "photos", 24)
    (photos / "n00000002" / "04.png").write_bytes(b"not an image")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the cluster's workers
    try:
        run_dataset(
            config(photos, run__chunk_size=2, run__maps=True),
            base / "run",
            classifier=classifier(),
        )
    finally:
        torch.set_num_threads(threads)
    return photos, base / "run"


def told(driver):
    """Yield what a driver says of its work (the rest is Ray's); one that hangs is killed."""
    timer = threading.Timer(300, driver.kill)
    timer.start()
    try:
        with driver.stdout:
            for line in driver.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
    finally:
        timer.cancel()


def kill_driver(cluster, photos, out):
    """Kill a driver when it has done a few chunks; the files that are there then."""
    driver = cluster.python(DRIVER, cluster.address, photos, out, "driver")
    for said in told(driver):
        if said.get("images", 0) == 6:
            driver.kill()
    driver.wait(60)
    return {path.name: path.stat().st_mtime_ns for path in RunFolder(out / "driver").parts()}


@pytest.fixture(scope="module")
def story(cluster, local, tmp_path_factory):
    """All runs on the cluster, one after the other, for a driver takes long to start."""
    photos, _ = local
    out = tmp_path_factory.mktemp("ray")
    there = kill_driver(cluster, photos, out)
    with mounted(out / "small", "size=400k"):
        results = all_scenarios(cluster, photos, out)
        shutil.copytree(out / "small" / "disk", out / "disk")
    return out, there, results


def all_scenarios(cluster, photos, out):
    scenarios = ("driver", "gradients", "refinement", "disk", "node")
    driver = cluster.python(DRIVER, cluster.address, photos, out, *scenarios)
    results = {}
    for said in told(driver):
        if "scenario" in said:
            results[said["scenario"]] = said
        # In the middle of the last run, the node goes.
        if "disk" in results and said.get("images", 0) >= 4 and SECOND in cluster.nodes:
            cluster.kill(SECOND)
    assert driver.wait(60) == 0
    return results


def maps(folder):
    return {
        (image_id, label): map_.tobytes()
        for chunk in range(CHUNKS)
        for image_id, label, map_ in read_maps(RunFolder(folder).maps_path(chunk))
    }


def assert_same(found, local):
    # Not all at once: pytest would compare for minutes what differs.
    for one, other in zip(rows(found), rows(local), strict=True):
        assert one == other
    ours, theirs = maps(found), maps(local)
    assert [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)] == []
    assert not list(Path(found).rglob("*.tmp"))
    counts = RunFolder(found).read_info().counts
    assert (counts["images"], counts["failed"]) == (24, 1)


@pytest.mark.slow
def test_a_worker_killed_during_gradients_changes_nothing(story, local):
    out, _, results = story
    assert (out / "killed").exists()
    assert results["gradients"]["chunks"] == CHUNKS
    assert all(results["gradients"]["timings"][of] > 0 for of in ("decode", "saliency", "refine"))
    assert_same(out / "gradients", local[1])


@pytest.mark.slow
def test_a_worker_killed_during_refinement_changes_nothing(story, local):
    out, _, results = story
    assert results["refinement"]["killed"] == 1
    assert_same(out / "refinement", local[1])


@pytest.mark.slow
def test_a_killed_driver_leaves_only_the_rest_to_the_next(story, local):
    out, there, results = story
    assert 3 <= len(there) < CHUNKS
    # Tasks of the dead driver may have finished a chunk after its death was seen.
    assert 0 < results["driver"]["chunks"] <= CHUNKS - len(there)
    for name, written in there.items():
        assert (out / "driver" / "predictions" / name).stat().st_mtime_ns == written
    assert_same(out / "driver", local[1])


def test_what_wsl_raised_in_a_worker_is_the_runs_error(local, tmp_path, monkeypatch):
    exceptions = pytest.importorskip("ray.exceptions")
    text = (
        "OSError: [Errno 28]\nwsl.errors.RunError: cannot write a: full\nTo change it, ask Ray.\n"
    )
    monkeypatch.setattr("wsl.run.engines.ray._connected", lambda address: nullcontext())
    monkeypatch.setattr(
        RayEngine, "_pipeline", lambda engine, chunks: FinishesNothing(exceptions.RayError(text))
    )
    with pytest.raises(RunError, match=r"^cannot write a: full\n"):
        run_dataset(
            config(local[0]), tmp_path / "run", classifier=classifier(network()), ray=RayOptions()
        )


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_loses_nothing(story, local):
    out, _, results = story
    assert "No space left on device" in results["disk"]["error"]
    assert "\n" not in results["disk"]["error"]
    assert results["disk"]["chunks"] < CHUNKS  # those before it was full are not done again
    assert_same(out / "disk", local[1])


@pytest.mark.slow
def test_a_whole_node_killed_changes_nothing(story, cluster, local):
    out, _, results = story
    assert SECOND not in cluster.nodes
    assert results["node"]["chunks"] == CHUNKS
    assert_same(out / "node", local[1])


def test_a_cluster_that_is_not_there_is_one_clear_line(local, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(RunError, match=r"cannot reach a Ray cluster at 127\.0\.0\.9:1: no such"):
        run_dataset(
            config(local[0]),
            tmp_path / "run",
            classifier=classifier(network()),
            ray=RayOptions(address="127.0.0.9:1"),
        )


class FinishesNothing:
    """A cluster that loses all it is given."""

    def __init__(self, error):
        self.error = error

    def iter_rows(self):
        raise self.error


def test_a_cluster_that_finishes_nothing_ends_the_run_with_its_last_word(
    local, tmp_path, monkeypatch
):
    exceptions = pytest.importorskip("ray.exceptions")
    lost = exceptions.RayError("The actor died.\n  File 1\n  File 2\nModelError: no device\n")
    monkeypatch.setattr("wsl.run.engines.ray._connected", lambda address: nullcontext())
    monkeypatch.setattr(RayEngine, "_pipeline", lambda engine, chunks: FinishesNothing(lost))
    with pytest.raises(RunError) as told:
        run_dataset(
            config(local[0]),
            tmp_path / "run",
            classifier=classifier(network()),
            ray=RayOptions(),
        )
    assert str(told.value) == "the Ray cluster finished nothing: ModelError: no device"


def refuse(**options):
    raise ConnectionError("no such cluster")
