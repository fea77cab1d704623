"""The command as a process: its threads, its end, and its peak of memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from wsl.cli.process import leave

WSL = [sys.executable, "-m", "wsl.cli.process"]
NETWORKS = ("mobilenet_v2", "squeezenet1_0")


def draw(folder, count, size):
    """Draw images of large blots."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        noise = Image.fromarray(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8))
        noise.resize(size).save(folder / f"{index}.jpg")
    return folder


def peak(*arguments):
    """Megabytes of a command at its peak, by the kernel's count; it must succeed.

    A small process starts it: the count of a process begins with that of the one it came from.
    """
    code = (
        "import resource, subprocess, sys\n"
        "quiet = subprocess.DEVNULL\n"
        "subprocess.run(sys.argv[1:], stdout=quiet, stderr=quiet, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *WSL, *map(str, arguments)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return int(said.stdout) / 1000


def test_threads_wait_without_spinning_unless_told_otherwise():
    code = (
        "import os, sys; from wsl.cli import main; sys.argv = ['wsl', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    for given, wanted in ((clean, "PASSIVE"), ({**clean, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        said = subprocess.run(
            [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True
        )
        assert said.stdout.split()[-1] == wanted


@pytest.mark.parametrize("status", [None, 0, 3], ids=["none", "0", "3"])
def test_the_process_ends_with_the_status_and_all_it_has_printed(status):
    code = (
        "import atexit; from wsl.cli.process import leave\n"
        "atexit.register(print, 'last')\n"
        f"print('first', end=' '); leave({status})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == (status or 0)
    assert ended.stdout == "first last\n"


def test_a_message_in_place_of_a_status_is_printed(monkeypatch, capsys):
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)
    leave("no such thing")
    assert ends == [1]
    assert capsys.readouterr().err == "no such thing\n"


def test_a_mistake_is_one_line_and_status_1():
    ended = subprocess.run([*WSL, "score", "nowhere"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("wsl: error: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("size", "count", "more", "bound"),
    [
        ((500, 375), 12, ["--classes", "tabby"], 1200),
        ((500, 375), 12, [], 1300),
        ((4000, 3000), 8, [], 2000),
    ],
    ids=["class-given", "class-chosen", "12-megapixels"],
)
def test_a_run_on_the_cpu_stays_below_its_bound(
    network, size, count, more, bound, shared_weights, tmp_path
):
    """The recommended recipe, one class of each image; as docs/concepts.md says."""
    checkpoint = shared_weights / f"{network}-imagenet1k.safetensors"
    images = draw(tmp_path / "images", count, size)
    assert bound > peak(
        "run", images, "--model", network, "--checkpoint", checkpoint, "--device", "cpu",
        "--out", tmp_path / "run", *more,
    )  # fmt: skip
