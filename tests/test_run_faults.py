"""What happens to long runs: each fault for real where it can be had, and nothing lost by it."""

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mounts import mounted
from PIL import Image
from small_runs import WNIDS, classifier, config, draw_photos, network, rows
from torch import nn

from wsl.cli.terminal import ProgressBar
from wsl.data import images
from wsl.errors import RunError
from wsl.localize import localizer as localizer_module
from wsl.run import stages
from wsl.run.folder import RunFolder
from wsl.run.lock import run_lock
from wsl.run.maps import read_maps
from wsl.run.memory import MemoryBudget
from wsl.run.runner import run_dataset
from wsl.run.shard import Shard
from wsl.run.status import read_status


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path / "photos")


@pytest.fixture
def whole(photos, tmp_path):
    """Rows of the run that nothing disturbed."""
    run_dataset(config(photos), tmp_path / "whole", classifier=classifier())
    return rows(tmp_path / "whole")


def run(photos, out, **changes):
    options = {
        key: changes.pop(key) for key in ("shard", "retry_failed", "verify") if key in changes
    }
    network_ = changes.pop("classifier", None) or classifier()
    return run_dataset(config(photos, **changes), out, classifier=network_, **options)


# A second run into the same folder.


def test_a_second_run_is_refused_and_told_who_works_there(photos, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with (
        run_lock(folder, Shard()),
        pytest.raises(RunError, match=rf"{folder} is in use by process {os.getpid()} on "),
    ):
        run(photos, folder)


HOLD = """
import sys, time
from pathlib import Path
from wsl.run.lock import run_lock
from wsl.run.shard import Shard
with run_lock(Path(sys.argv[1]), Shard()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_the_lock_of_a_killed_process_blocks_nobody(photos, tmp_path, whole):
    folder = tmp_path / "run"
    folder.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {holder.pid} on"):
        run(photos, folder)
    holder.kill()
    holder.communicate()
    run(photos, folder)
    assert rows(folder) == whole


def test_shards_work_side_by_side_but_none_twice_and_none_of_another_number(tmp_path):
    with run_lock(tmp_path, Shard(0, 3)), run_lock(tmp_path, Shard(2, 3)):
        with (
            pytest.raises(RunError, match=r"shard 2/3 of .* is in use"),
            run_lock(tmp_path, Shard(2, 3)),
        ):
            pass
        with (
            pytest.raises(RunError, match="in use with shards of 3"),
            run_lock(tmp_path, Shard(1, 4)),
        ):
            pass
        with pytest.raises(RunError, match="in use with shards of 3"), run_lock(tmp_path, Shard()):
            pass
    with run_lock(tmp_path, Shard(1, 4)):
        pass


# What a killed process leaves.


def test_half_written_files_are_cleared_away_and_others_left(photos, tmp_path):
    run(photos, tmp_path / "run")
    predictions = tmp_path / "run" / "predictions"
    (predictions / ".part-00001.parquet.host.1.0.tmp").write_bytes(b"half")
    (tmp_path / "run" / ".run.json.host.1.0.tmp").write_bytes(b"half")
    (predictions / "notes.tmp").write_bytes(b"mine")
    run(photos, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").rglob("*.tmp")] == ["notes.tmp"]


def test_a_shard_leaves_the_half_written_files_of_others(photos, tmp_path):
    run(photos, tmp_path / "run", shard=Shard(0, 2))
    predictions = tmp_path / "run" / "predictions"
    (predictions / ".part-00001.parquet.host.1.0.tmp").write_bytes(b"being written")
    (predictions / ".part-00002.parquet.host.1.0.tmp").write_bytes(b"stale")
    run(photos, tmp_path / "run", shard=Shard(0, 2))
    assert [path.name for path in predictions.glob(".*.tmp")] == [
        ".part-00001.parquet.host.1.0.tmp"
    ]


# Damaged files.


def flip_a_byte(path, at=0.3):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lambda path: path.write_bytes(b"")])
def test_a_damaged_part_is_never_scored_and_done_again(photos, tmp_path, whole, caplog, damage):
    run(photos, tmp_path / "run")
    part = RunFolder(tmp_path / "run").part_path(1)
    damage(part)
    with pytest.raises(RunError, match=r"part-00001\.parquet cannot be read"):
        rows(tmp_path / "run")
    summary = run(photos, tmp_path / "run")
    assert summary.chunks_done == 1
    assert "its images are done again" in caplog.text
    assert rows(tmp_path / "run") == whole


def test_every_flipped_byte_of_a_part_is_told_or_harmless(photos, tmp_path, whole):
    run(photos, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    content = folder.part_path(0).read_bytes()
    told = 0
    for at in range(0, len(content), 97):
        changed = bytearray(content)
        changed[at] ^= 0x55
        folder.part_path(0).write_bytes(changed)
        if list(folder.clear({0: 4}, maps=False)):
            told += 1
        else:  # statistics and names that no reader uses
            assert rows(tmp_path / "run") == whole
    assert told > 0.5 * len(range(0, len(content), 97))


def test_a_part_of_another_chunk_is_told(photos, tmp_path, whole):
    run(photos, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    folder.part_path(2).write_bytes(folder.part_path(0).read_bytes())  # 4 images instead of 3
    run(photos, tmp_path / "run")
    assert rows(tmp_path / "run") == whole


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()], ids=["cut", "missing"])
def test_damaged_or_missing_maps_are_done_again(photos, tmp_path, damage):
    run(photos, tmp_path / "run", run__maps=True)
    path = RunFolder(tmp_path / "run").maps_path(1)
    before = {(image_id, label): map_.tobytes() for image_id, label, map_ in read_maps(path)}
    damage(path)
    assert run(photos, tmp_path / "run", run__maps=True).chunks_done == 1
    after = {(image_id, label): map_.tobytes() for image_id, label, map_ in read_maps(path)}
    assert after == before


def test_a_flipped_bit_in_maps_is_told_on_reading_and_found_by_verify(photos, tmp_path):
    run(photos, tmp_path / "run", run__maps=True)
    path = RunFolder(tmp_path / "run").maps_path(1)
    flip_a_byte(path)
    with pytest.raises(RunError, match="must be made again"):
        list(read_maps(path))
    assert run(photos, tmp_path / "run", run__maps=True).chunks_done == 0
    assert run(photos, tmp_path / "run", run__maps=True, verify=True).chunks_done == 1
    assert list(read_maps(path))


def test_maps_that_would_grow_on_reading_are_refused(tmp_path):
    path = tmp_path / "part-00000.npz"
    np.savez_compressed(path, **{"a|1": np.zeros((2000, 2000), np.float16)})
    with pytest.raises(RunError, match="is compressed or larger than any map"):
        list(read_maps(path))


# Disks.


def test_a_full_disk_ends_the_run_and_loses_nothing(photos, tmp_path, whole):
    with mounted(tmp_path / "small", "size=96k") as small:
        filler = small / "filler"
        run(photos, small / "run", shard=Shard(0, 3))
        kept = RunFolder(small / "run").part_path(0).read_bytes()
        with filler.open("wb") as file:
            try:
                while True:
                    os.write(file.fileno(), b"x" * 4096)
            except OSError:
                pass
        with pytest.raises(RunError, match=r"cannot write the run folder .*No space left"):
            run(photos, small / "run")
        folder = RunFolder(small / "run")
        assert folder.part_path(0).read_bytes() == kept
        assert not folder.part_path(1).exists()
        assert json.loads(folder.info_path.read_text())["dataset"]["count"] == 11
        filler.unlink()
        run(photos, small / "run")
        assert rows(small / "run") == whole
        assert not list((small / "run").rglob("*.tmp"))


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_read_only_folder_is_one_clear_line(photos, tmp_path, begun):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        if begun:
            run(photos, disk / "run", shard=Shard(0, 2))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RunError, match=r"cannot write the .*folder .*Read-only file system"):
            run(photos, disk / "run")


# Images.


def test_images_that_vanish_in_the_middle_are_failed_rows(photos, tmp_path, whole, monkeypatch):
    load = stages.load_image

    def load_and_remove(path, **options):
        pixels = load(path, **options)
        for later in photos.rglob("1*.png"):
            later.unlink(missing_ok=True)
        return pixels

    monkeypatch.setattr(stages, "load_image", load_and_remove)
    summary = run(photos, tmp_path / "run", run__workers=1)
    gone = {row["image_id"]: row["error"] for row in rows(tmp_path / "run") if row["error"]}
    assert f"{WNIDS[1]}/10" in gone
    assert all("there is no such file" in error for error in gone.values())
    assert summary.counts["images"] == 11
    assert summary.counts["failed"] == len(gone)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: Image.new("RGB", (33, 44)).save(path), "04.png changed during the run"),
        (lambda path: truncate(path), "04.png: cannot be read as PNG: the file is truncated"),
        (lambda path: path.unlink(), "04.png: there is no such file"),
    ],
    ids=["other size", "cut", "removed"],
)
def test_an_image_that_changes_while_it_is_read_is_a_failed_row(
    photos, tmp_path, whole, monkeypatch, change, reason
):
    """It is decoded for the network, and once more for the cut where memory is short."""
    load = stages.load_image

    def changed_then(path, **options):
        pixels = load(path, **options)
        if path.name == "04.png":
            change(path)
        return pixels

    monkeypatch.setattr(stages, "load_image", changed_then)
    monkeypatch.setattr(stages, "MemoryBudget", partial(MemoryBudget, waiting=0))
    run(photos, tmp_path / "run")
    (failed,) = [row for row in rows(tmp_path / "run") if row["status"] == "failed"]
    assert failed["image_id"] == f"{WNIDS[1]}/04"
    assert failed["error"].endswith(reason)
    rest = [row for row in whole if row["image_id"] != failed["image_id"]]
    assert [row for row in rows(tmp_path / "run") if row["status"] == "ok"] == rest


def test_failed_images_are_tried_again_when_asked(photos, tmp_path, whole):
    (photos / WNIDS[1] / "10.png").rename(tmp_path / "away.png")
    lost = config(photos)
    # The list of images stays what it was: the file goes while the run begins.
    (photos / WNIDS[1] / "10.png").touch()
    assert run_dataset(lost, tmp_path / "run", classifier=classifier()).failed == 1
    (tmp_path / "away.png").replace(photos / WNIDS[1] / "10.png")
    assert run(photos, tmp_path / "run").chunks_done == 0
    summary = run(photos, tmp_path / "run", retry_failed=True)
    assert (summary.chunks_done, summary.failed) == (1, 0)
    assert rows(tmp_path / "run") == whole


def test_an_image_that_hangs_in_the_decoder_fails_and_the_run_goes_on(
    photos, tmp_path, whole, monkeypatch
):
    release = threading.Event()

    def load(path, **options):
        if path.name == "04.png":
            release.wait(60)
        return images.load_image(path, **options)

    monkeypatch.setattr(stages, "load_image", load)
    summary = run(photos, tmp_path / "run", run__time_limit=2)
    release.set()
    (failed,) = [row for row in rows(tmp_path / "run") if row["status"] == "failed"]
    assert failed["image_id"] == f"{WNIDS[1]}/04"
    assert failed["error"] == "to read it took longer than 2 s (run.time_limit)"
    assert summary.counts == {
        "images": 11, "ok": 10, "failed": 1, "localizations": summary.counts["localizations"],
    }  # fmt: skip
    # Of other batches than in the whole run, so that the last bits of scores may differ.
    rest = [row for row in whole if row["image_id"] != f"{WNIDS[1]}/04"]
    found = [row for row in rows(tmp_path / "run") if row["status"] == "ok"]
    assert [(row["image_id"], row["label"]) for row in found] == [
        (row["image_id"], row["label"]) for row in rest
    ]


def test_an_image_that_hangs_in_segmentation_fails_with_its_size(photos, tmp_path, monkeypatch):
    release = threading.Event()
    segment = localizer_module.segment

    def hang(image, *arguments, **options):
        if image.shape[:2] == shape:
            release.wait(60)
        return segment(image, *arguments, **options)

    shape = images.load_image(photos / WNIDS[1] / "04.png").shape[:2]
    monkeypatch.setattr(localizer_module, "segment", hang)
    run(photos, tmp_path / "run", run__time_limit=2, run__workers=1)
    release.set()
    failed = [row for row in rows(tmp_path / "run") if row["status"] == "failed"]
    assert [(row["height"], row["width"]) for row in failed] == [shape]
    assert failed[0]["error"] == "to refine it took longer than 2 s (run.time_limit)"


def test_the_time_limit_may_change_between_starts(photos, tmp_path):
    run(photos, tmp_path / "run", shard=Shard(0, 2))
    assert run(photos, tmp_path / "run", run__time_limit="null").counts["images"] == 11


# The clock.


@pytest.mark.parametrize("jump", [1e9, -1e9], ids=["ahead", "back"])
def test_a_jump_of_the_clock_changes_nothing(photos, tmp_path, whole, monkeypatch, capsys, jump):
    real, calls = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + jump * (next(calls) % 2))
    with ProgressBar("localize") as progress:
        run_dataset(
            config(photos, run__time_limit=60),
            tmp_path / "run",
            classifier=classifier(),
            progress=progress,
        )
    assert rows(tmp_path / "run") == whole
    assert re.fullmatch(r"localize: 11 of 11 images, in \d+ s\n", capsys.readouterr().err)
    assert 0 <= RunFolder(tmp_path / "run").read_info().timings["wall"] < 1e6


# The device.


class SmallDevice(nn.Module):
    """A network on a device with room for `most` inputs."""

    def __init__(self, most):
        super().__init__()
        self.network, self.most, self.seen = network(), most, []

    def forward(self, inputs):
        self.seen.append(len(inputs))
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1024.00 GiB")
        return self.network(inputs)


def test_out_of_memory_halves_the_batch_and_goes_on(photos, tmp_path, caplog):
    run(photos, tmp_path / "all", run__batch_size=4)
    small = SmallDevice(1)
    run(photos, tmp_path / "run", run__batch_size=4, classifier=classifier(small))
    assert "out of memory with a batch of 4 images: going on with 2" in caplog.text
    assert "out of memory with a batch of 2 images: going on with 1" in caplog.text
    assert small.seen == [4, 2, *([1] * 11)]
    for one, other in zip(rows(tmp_path / "run"), rows(tmp_path / "all"), strict=True):
        assert one["image_id"] == other["image_id"]
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-5)


def test_a_device_too_small_for_one_image_ends_the_run_with_a_reason(photos, tmp_path):
    small = SmallDevice(1)
    loaded, small.most = classifier(small), 0
    with pytest.raises(RunError, match="cpu has too little memory for a single image"):
        run(photos, tmp_path / "run", classifier=loaded)


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu_halves_the_batch(photos, tmp_path, caplog):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")

    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, inputs):
            free, _ = torch.cuda.mem_get_info()
            share = torch.empty(int(free * 0.4) * len(inputs), dtype=torch.uint8, device="cuda")
            return self.network(inputs) + 0 * share[:1].float()

    greedy = load_on_gpu(Greedy())
    run(photos, tmp_path / "run", run__batch_size=4, classifier=greedy)
    assert "going on with 2" in caplog.text
    assert read_status(tmp_path / "run").done.images == 11


def load_on_gpu(module):
    from dataclasses import replace

    return replace(classifier(module.to("cuda")), device=torch.device("cuda"))


def test_other_errors_of_the_network_are_not_taken_for_a_full_device(photos, tmp_path):
    class Broken(nn.Module):
        def forward(self, inputs):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(photos, tmp_path / "run", classifier=classifier(Broken()))


# Shards and the state of a run.


def test_shards_give_the_same_run_and_merge_what_they_counted(photos, tmp_path, whole):
    first = run(photos, tmp_path / "run", shard=Shard(0, 2))
    assert first.counts["images"] == 7  # chunks 0 and 2, of 4 and 3 images
    assert first.info.counts == {}
    spent = first.info.timings["wall"]
    second = run(photos, tmp_path / "run", shard=Shard(1, 2))
    assert second.counts["images"] == 4
    assert second.info.counts["images"] == 11
    assert second.info.timings["wall"] > spent
    assert rows(tmp_path / "run") == whole


SHARD = """
import sys
sys.path.insert(0, {tests!r})
import small_runs as s
from wsl.run.runner import run_dataset
from wsl.run.shard import Shard
run_dataset(s.config({photos!r}), {out!r}, classifier=s.classifier(), shard=Shard({index}, 2))
"""


@pytest.mark.slow
def test_shards_in_processes_at_once(photos, tmp_path, whole):
    tests = str(Path(__file__).parent)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                SHARD.format(
                    tests=tests, photos=str(photos), out=str(tmp_path / "run"), index=index
                ),
            ]
        )
        for index in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert rows(tmp_path / "run") == whole
    info = RunFolder(tmp_path / "run").read_info()
    assert info.counts["images"] == 11


def test_the_state_says_what_is_done_missing_and_failed(photos, tmp_path):
    (photos / WNIDS[0] / "00.png").write_bytes(b"not an image")
    run(photos, tmp_path / "run", shard=Shard(0, 2))
    folder = RunFolder(tmp_path / "run")
    status = read_status(tmp_path / "run")
    assert (len(status.sizes), status.images, status.missing) == (3, 11, (1,))
    assert status.failed == {0: 1}
    assert status.done.images == 7
    truncate(folder.part_path(2))
    status = read_status(tmp_path / "run")
    assert status.damaged == (2,)
    assert status.lines()[0].endswith(": 4 of 11 images done, 1 of 3 chunks")
    assert status.lines()[1:] == [
        "not done: chunk 1",
        "damaged: chunk 2",
        "failed: 1 images, by chunk: 0 (1)",
    ]


def test_an_error_in_the_middle_does_not_wait_for_work_that_never_ends(photos, tmp_path):
    """A batch that fails leaves images of an earlier chunk on their way to GrabCut."""

    class FailsLate(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.calls = network(), 0

        def forward(self, inputs):
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("the device is lost")
            return self.network(inputs)

    begin, handler = time.monotonic(), signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="the device is lost"):
        run(photos, tmp_path / "run", classifier=classifier(FailsLate()))
    assert time.monotonic() - begin < 30
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_drive_without_locks_is_warned_of_and_used(tmp_path, monkeypatch, caplog):
    def flock(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("portalocker.portalocker.LOCKER", flock)
    with run_lock(tmp_path, Shard()):
        assert "the file system has no locks" in caplog.text
