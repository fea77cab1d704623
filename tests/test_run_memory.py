"""The memory of decoded images: what waits and what is worked on is bounded, with the same rows."""

import gc
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import classifier, config, draw_photos, rows

from wsl.run import stages
from wsl.run.memory import MemoryBudget
from wsl.run.runner import run_dataset


def pixels(size):
    return np.zeros((size, 1, 1), np.uint8)


def test_arrays_are_counted_for_as_long_as_they_live():
    budget = MemoryBudget(waiting=10)
    first, second, third = pixels(6), pixels(5), pixels(4)
    assert budget.hold(first)
    assert not budget.hold(second)
    assert budget.hold(third)
    del first
    gc.collect()
    assert budget.hold(second)


def test_work_waits_for_room():
    budget, inside, most = MemoryBudget(working=10), [], []

    def work():
        with budget.work(4):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(most) == 12
    assert max(most) == 2


def test_one_is_let_in_however_large():
    budget = MemoryBudget(working=10)
    with budget.work(10**12):
        pass
    with pytest.raises(KeyError), budget.work(10**12):
        raise KeyError
    with budget.work(10**12):
        pass


@pytest.mark.parametrize("waiting", [0, 5000], ids=["none", "some"])
def test_rows_are_the_same_where_no_pixels_are_kept(tmp_path, monkeypatch, waiting):
    photos = draw_photos(tmp_path / "photos")
    run_dataset(config(photos), tmp_path / "all", classifier=classifier())
    budget = partial(MemoryBudget, waiting=waiting, working=1)
    monkeypatch.setattr(stages, "MemoryBudget", budget)
    decoded, load = [], stages.load_image
    monkeypatch.setattr(
        stages, "load_image", lambda path, **options: decoded.append(path) or load(path, **options)
    )
    run_dataset(config(photos), tmp_path / "few", classifier=classifier())
    assert rows(tmp_path / "few") == rows(tmp_path / "all")
    assert len(decoded) == 22 if waiting == 0 else 11 < len(decoded) <= 22


RUN = """
import resource, sys
from functools import partial
from small_runs import classifier, config
from wsl.run import stages
from wsl.run.memory import MemoryBudget
from wsl.run.runner import run_dataset
stages.MemoryBudget = partial(MemoryBudget, waiting=2**26, working=2**28)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run_dataset(config(sys.argv[1], run__batch_size=32, run__chunk_size=64), sys.argv[2],
            classifier=classifier())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


@pytest.mark.slow
def test_a_batch_of_large_images_needs_no_more_than_is_stated(tmp_path):
    """32 images of 24 MB each: 770 MB if all were kept, 320 MB in all as it is bounded here."""
    folder = tmp_path / "photos" / "one"
    folder.mkdir(parents=True)
    Image.new("L", (4000, 2000), 99).save(folder / "0.png")
    for index in range(1, 32):
        (folder / f"{index}.png").symlink_to("0.png")
    found = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "photos"), str(tmp_path / "run")],
        capture_output=True, text=True, check=True, timeout=600,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    assert int(found.stdout) < 550
    assert {row["status"] for row in rows(tmp_path / "run")} == {"ok"}
