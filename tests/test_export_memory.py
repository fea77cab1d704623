from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_cases import found, image, write_run
from PIL import Image

from wsl.export.formats import FORMATS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
    ),
]

COUNTS = {"few": 500, "many": int(os.environ.get("WSL_EXPORT_COUNT", "3000"))}
# VmHWM is the peak of this program alone; the kernel's ru_maxrss keeps that of the parent.
_MEASURED = """
import re, sys, time
from pathlib import Path
from export_cases import ListedImages
from wsl.export.export import export_run
from wsl.export.formats import FORMATS
run, name, out, ids, photo, count = sys.argv[1:]
options = {"ilsvrc_map": Path(ids)} if name == "ilsvrc" else {}
photo = Path(photo)
dataset = ListedImages(photo.parent, {f"image {n:06d}": photo for n in range(int(count))})
begin = time.perf_counter()
export_run(run, out, FORMATS[name](**options), dataset=dataset)
seconds = time.perf_counter() - begin
kibibytes = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)
print(int(kibibytes) / 1024, seconds)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of few and of many images with small masks, and the ILSVRC ids of their classes."""
    root = tmp_path_factory.mktemp("runs")
    (root / "ids.txt").write_text("n1 1\nn2 2\nn3 3\n")
    Image.new("RGB", (64, 48)).save(root / "photo.jpg")
    rng = np.random.default_rng(0)
    masks = []
    for top, left in rng.integers(0, 20, (50, 2)):
        mask = np.zeros((48, 64), dtype=bool)
        mask[top : top + 20, left : left + 30] = rng.random((20, 30)) < 0.9
        masks.append(mask)
    for name, count in COUNTS.items():
        predictions = [image(f"image {n:06d}", found(masks[n % 50], n % 3)) for n in range(count)]
        maps = {(f"image {n:06d}", n % 3): np.ones((6, 8)) for n in range(count)}
        write_run(root / name, predictions, chunk_size=256, maps=maps)
    return root


def measured(runs: Path, run: str, name: str, out: Path) -> tuple[float, float]:
    """Peak memory in MiB and seconds of one export in a process of its own."""
    command = [sys.executable, "-c", _MEASURED, str(runs / run), name, str(out / run)]
    command += [str(runs / "ids.txt"), str(runs / "photo.jpg"), str(COUNTS[run])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    memory, seconds = map(float, done.stdout.split())
    return memory, seconds


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_memory_does_not_grow_with_the_run(tmp_path, runs, name):
    """WSL_EXPORT_COUNT=50000 measures the full figure."""
    few, _ = measured(runs, "few", name, tmp_path)
    many, seconds = measured(runs, "many", name, tmp_path)
    print(f"{name}: {few:.0f} MiB for few images, {many:.0f} MiB and {seconds:.1f} s for many")
    assert many < few + 40
