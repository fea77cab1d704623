"""Ctrl-C and SIGTERM, really sent to the command."""

import re
import signal
import subprocess
import sys
import time

import pytest
from small_runs import config, draw_photos

from wsl.run.config import to_yaml
from wsl.run.folder import RunFolder, kept_images

# The command with a small network whose batches take a while.
SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
import small_runs, torch
from wsl.run import runner
from wsl.cli import main

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network, self.loaded = small_runs.network(), False

    def forward(self, inputs):
        if not self.loaded:  # what is tried on loading
            return self.network(inputs)
        print("batch", flush=True)
        until = time.monotonic() + {seconds}
        while time.monotonic() < until:
            {wait}
        return self.network(inputs)

slow = Slow()
classifier = small_runs.classifier(slow)
slow.loaded = True
runner.load_classifier = lambda options: classifier
main()
"""


@pytest.fixture
def command(tmp_path, request):
    """Start ``wsl run`` on one chunk of eleven images in batches of three."""
    photos = draw_photos(tmp_path / "photos")
    settings = tmp_path / "config.yaml"
    settings.write_text(to_yaml(config(photos, run__chunk_size=100)))

    def start(seconds=0.0, wait="time.sleep(0.01)"):
        tests = str(request.path.parent)
        code = SLOW.format(tests=tests, seconds=seconds, wait=wait)
        return subprocess.Popen(
            [sys.executable, "-c", code, "run", str(settings), "--out", str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_stops_and_keeps_what_is_finished(command, tmp_path, number):
    process = command(seconds=1.0)
    assert [process.stdout.readline() for _ in range(3)] == ["batch\n"] * 3
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    found = re.search(r"wsl: interrupted; (\d+) of 11 images are finished and kept", said)
    assert found is not None, said
    assert int(found[1]) == kept_images(RunFolder(tmp_path / "run").pieces(range(9))) == 6
    again = command()
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert RunFolder(tmp_path / "run").read_info().counts["images"] == 11


def test_the_second_signal_stops_at_once(command, tmp_path):
    # One call of a library, in which Python runs no handlers.
    process = command(seconds=1, wait="torch.linalg.svd(torch.rand(3000, 3000))")
    assert process.stdout.readline() == "batch\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - begin < 2
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "again to stop at once" in said
