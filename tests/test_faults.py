"""Faults really caused: damaged files, full disks, vanished folders, two writers, kill -9.

Each command ends in one clear line, and loses nothing that was finished.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import wsl_here
from mounts import mounted
from small_runs import classifier
from small_runs import config as small_config
from tuning_cases import config, draw_dataset

from wsl.errors import RunError
from wsl.run.lock import run_lock
from wsl.run.runner import run_dataset
from wsl.run.shard import Shard

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that can be scored: three part files with maps."""
    root = tmp_path_factory.mktemp("faults")
    settings = config(draw_dataset(root / "data"), **{"run.maps": "true"})
    run_dataset(settings, root / "run", classifier=classifier())
    return root / "run"


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


COMMANDS = {
    "score": lambda run, out: ["score", run],
    "score maps": lambda run, out: ["score", run, "--protocol", "max_box_acc"],
    "report": lambda run, out: ["report", run, "--pictures", "0", "--out", out],
    "export": lambda run, out: ["export", run, "--format", "coco", "--out", out],
    "status": lambda run, out: ["run", "--status", run],
}


def told(command, run, out):
    """Call a command that must fail; its one line."""
    done = wsl_here(*COMMANDS[command](run, out))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("wsl: error: ")
    return line


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 50):  # a byte alone may be one that says nothing
        content[at] ^= 0xFF
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def fill_with_noise(path):
    path.write_bytes(os.urandom(path.stat().st_size))


@pytest.mark.parametrize("damage", [truncate, flip, empty, fill_with_noise])
@pytest.mark.parametrize("command", ["score", "report", "export"])
def test_a_damaged_part_is_one_clear_line(run, tmp_path, command, damage):
    damage(run / "predictions" / "part-00001.parquet")
    line = told(command, run, tmp_path / "out")
    assert "part-00001.parquet cannot be read and must be made again" in line


@pytest.mark.parametrize("damage", [truncate, empty, fill_with_noise])
def test_damaged_maps_are_one_clear_line(run, tmp_path, damage):
    damage(run / "maps" / "part-00001.npz")
    assert "part-00001.npz cannot be read" in told("score maps", run, tmp_path / "out")


@pytest.mark.parametrize("damage", [truncate, empty, fill_with_noise, lambda path: path.unlink()])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_run_json_is_one_clear_line(run, tmp_path, command, damage):
    damage(run / "run.json")
    assert "run.json" in told(command, run, tmp_path / "out")


def fill_up(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("command", ["score", "report", "export"])
def test_a_full_disk_is_one_clear_line_and_the_command_goes_on_afterwards(made, tmp_path, command):
    with mounted(tmp_path / "small", "size=1m") as disk:
        run = shutil.copytree(made, disk / "run")
        filler = disk / "filler"
        fill_up(filler)
        assert "No space left on device" in told(command, run, disk / "out")
        filler.unlink()
        assert wsl_here(*COMMANDS[command](run, disk / "out")).returncode == 0
        assert not list(disk.rglob("*.tmp"))


def test_a_lock_on_a_full_disk_is_one_clear_line(tmp_path):
    with mounted(tmp_path / "small", "size=64k") as disk:
        fill_up(disk / "filler")
        with (
            pytest.raises(RunError, match=r"cannot write the folder .*No space left on device"),
            run_lock(disk, Shard()),
        ):
            pass


@pytest.mark.parametrize("command", ["score", "report", "export"])
def test_a_read_only_disk_is_one_clear_line(made, tmp_path, command):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        run = shutil.copytree(made, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "Read-only file system" in told(command, run, disk / "out")


@pytest.mark.parametrize("what", ["run", "predictions"])
def test_a_folder_that_is_removed_in_the_middle_ends_the_run(tmp_path, what):
    out = tmp_path / "run"

    class Remove:
        def start(self, total, done):
            shutil.rmtree(out if what == "run" else out / "predictions")

        def advance(self, count, failed):
            pass

    settings = small_config(draw_dataset(tmp_path / "data"), data__format="ilsvrc")
    if what == "predictions":  # it is made anew, and nothing is lost
        run_dataset(settings, out, classifier=classifier(), progress=Remove())
        assert len(list((out / "predictions").iterdir())) == 3
        return
    with pytest.raises(RunError, match=f"{out} was removed during the run"):
        run_dataset(settings, out, classifier=classifier(), progress=Remove())
    assert not out.exists()


def driver(name, *arguments):
    """Run a driver of this folder, and return the lines it says."""
    done = subprocess.run(
        [sys.executable, TESTS / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


IN_USE = r"RunError: .* is in use( with shards of [23])? by (process \d+|another process)"


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    """What two processes said that began at once, by case."""
    said = {}
    for line in driver("writers_driver.py", tmp_path_factory.mktemp("writers")):
        case, _, what = line.partition("\t")
        said.setdefault(case, []).append(what)
    return said


@pytest.mark.parametrize(
    ("case", "refused"),
    [
        ("same", IN_USE),
        ("other", f"{IN_USE}|RunMismatchError: .*seed was"),
        ("shards", None),
        ("same shard", IN_USE),
        ("other shards", IN_USE),
        ("export", IN_USE),
        ("other export", f"{IN_USE}|RunMismatchError: .* holds another export"),
    ],
)
def test_of_two_writers_at_once_one_is_refused(writers, case, refused):
    first, second = writers[case]
    assert second == "done"
    if refused is None:
        assert first == "done"
    elif first != "done":  # the other had ended before
        assert re.match(refused, first), first


@pytest.mark.parametrize("what", ["run", "export", "report", "tune"])
def test_what_is_killed_at_random_moments_ends_in_the_same_files(tmp_path, what):
    driver("kill_driver.py", what, tmp_path, os.environ.get("WSL_KILLS", "12"), "0")
