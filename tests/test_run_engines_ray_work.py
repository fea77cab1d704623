"""What Ray's workers do, without a cluster: the local engine's files, and the same faults."""

import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from mounts import mounted
from PIL import Image
from small_runs import WNIDS, classifier, config, draw_photos, rows

from wsl.data.images import load_image
from wsl.data.open import open_dataset
from wsl.errors import RunError
from wsl.run import stages
from wsl.run.engines import ray_work
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.runner import build_localizer, describe_run, run_dataset

CHUNKS = range(3)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    """Objects in the store are the objects themselves."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda found: found)


@pytest.fixture
def photos(tmp_path):
    root = draw_photos(tmp_path / "photos")
    (root / WNIDS[0] / "03.png").write_bytes(b"not an image")
    return root


class Work:
    """A run's chunks, through an actor and a task by hand."""

    def __init__(self, settings, out):
        localizer = build_localizer(settings, classifier())
        self.dataset = open_dataset(settings.data, localizer.classifier.categories)
        self.folder = RunFolder(out)
        self.folder.begin(describe_run(settings, localizer, self.dataset))
        self.plan = ray_work.plan_of(
            stages.Stages(
                localizer,
                classes=settings.classes,
                options=settings.run,
                max_pixels=settings.data.max_pixels,
            ),
            self.folder,
        )

    def look(self, chunk):
        explainer = ray_work.Explainer(self.plan, self.dataset, 0)
        return explainer({"chunk": np.array([chunk])})

    def refine(self, looked):
        return ray_work.segment_chunk(looked, self.plan)

    def rows(self):
        return rows(self.folder.path)


def do(settings, out, chunks=CHUNKS):
    work = Work(settings, out)
    return work, [work.refine(work.look(chunk)) for chunk in chunks]


def failed(work):
    return {row["image_id"]: row for row in work.rows() if row["status"] == "failed"}


def test_chunks_are_the_local_engines(photos, tmp_path):
    settings = config(photos, run__maps=True)
    run_dataset(settings, tmp_path / "local", classifier=classifier())
    work, counts = do(settings, tmp_path / "run", reversed(CHUNKS))
    assert work.rows() == rows(tmp_path / "local")
    for chunk in CHUNKS:
        ours, theirs = (
            [(image_id, label, map_.tobytes()) for image_id, label, map_ in read_maps(path)]
            for path in (
                work.folder.maps_path(chunk),
                RunFolder(tmp_path / "local").maps_path(chunk),
            )
        )
        assert ours == theirs
    assert [int(count["images"][0]) for count in counts] == [3, 4, 4]
    assert sum(int(count["failed"][0]) for count in counts) == 1
    assert all(count["refine"][0] > 0 for count in counts)


def test_images_that_vanish_or_change_between_look_and_refinement_are_failed_rows(photos, tmp_path):
    work = Work(config(photos), tmp_path / "run")
    looked = work.look(0)
    first, _, second, *_ = work.dataset.image_ids
    gone, changed = (work.dataset.sample(index).path for index in (0, 2))
    size = load_image(gone).shape[:2]
    gone.unlink()
    Image.new("RGB", (9, 7)).save(changed)
    assert int(work.refine(looked)["failed"][0]) == 3  # and the one that is no image
    rows_ = failed(work)
    assert "there is no such file" in rows_[first]["error"]
    assert (rows_[first]["height"], rows_[first]["width"]) == size
    assert f"{changed} changed during the run" in rows_[second]["error"]


@contextmanager
def hanging(monkeypatch, module, name, when):
    """A function that does not come back for what `when` chooses, until the end of the block."""
    release, function = threading.Event(), getattr(module, name)

    def hang(*arguments, **options):
        if when(*arguments):
            release.wait(60)
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, hang)
    try:
        yield
    finally:
        release.set()


def test_an_image_that_hangs_in_the_decoder_fails_and_the_chunk_goes_on(
    photos, tmp_path, monkeypatch
):
    with hanging(monkeypatch, stages, "load_image", lambda path: path.name == "04.png"):
        work, _ = do(config(photos, run__time_limit=2), tmp_path / "run")
    image_id = f"{WNIDS[1]}/04"
    assert failed(work)[image_id]["error"] == "to read it took longer than 2 s (run.time_limit)"
    assert len({row["image_id"] for row in work.rows()}) == 11


def test_an_image_that_hangs_in_refinement_fails_and_the_chunk_goes_on(
    photos, tmp_path, monkeypatch
):

    def when(stages, sample, *rest):
        return sample.path.name == "04.png"

    with hanging(monkeypatch, stages.Stages, "segment", when):
        work, _ = do(config(photos, run__time_limit=2), tmp_path / "run")
    row = failed(work)[f"{WNIDS[1]}/04"]
    assert row["error"] == "to refine it took longer than 2 s (run.time_limit)"
    assert (row["height"], row["width"]) == load_image(photos / WNIDS[1] / "04.png").shape[:2]
    assert len(failed(work)) == 2


def test_a_task_that_cannot_write_says_so(photos, tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        work = Work(config(photos), disk / "run")
        looked = work.look(0)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RunError, match=r"cannot write the .*folder .*Read-only file system"):
            work.refine(looked)
