from __future__ import annotations

import csv

import numpy as np
import pytest
from export_cases import LEFT, RIGHT, export, found, image, write_run
from PIL import Image

from wsl.errors import RunError

PREDICTIONS = [
    image("a b", found(LEFT, 0), found(RIGHT, 2, rank=2)),
    image("c", found(LEFT, 1)),
]
RAMP = np.linspace(0, 1, 24).reshape(4, 6)
MAPS = {("a b", 0): RAMP, ("a b", 2): np.zeros((4, 6))}


def exported(tmp_path, **options):
    run = write_run(tmp_path / "run", PREDICTIONS, maps=MAPS)
    summary = export(run, "maps", tmp_path / "out", classes="all", **options)
    with (tmp_path / "out/maps.csv").open(encoding="utf-8", newline="") as file:
        return summary, {(row["image_id"], int(row["label"])): row for row in csv.DictReader(file)}


def test_png_holds_the_map_in_16_bits(tmp_path):
    summary, rows = exported(tmp_path)
    assert set(rows) == set(MAPS)
    assert rows["a b", 0]["file"] == "maps/a%20b.0.png"
    picture = Image.open(tmp_path / "out" / rows["a b", 0]["file"])
    assert picture.mode == "I;16"
    values = np.array(picture) * float(rows["a b", 0]["top"]) / 65535
    assert np.abs(values - RAMP.astype(np.float16)).max() < 1 / 65535
    assert not np.array(Image.open(tmp_path / "out" / rows["a b", 2]["file"])).any()
    assert summary.left_out == {"no map stored": 1}
    assert summary.masks == 2


def test_npy_holds_the_map_itself(tmp_path):
    _, rows = exported(tmp_path, map_format="npy")
    saliency = np.load(tmp_path / "out" / rows["a b", 0]["file"])
    assert saliency.dtype == np.float32
    assert np.array_equal(saliency, RAMP.astype(np.float16).astype(np.float32))


def test_maps_are_enlarged_to_the_image(tmp_path):
    small = {("c", 1): np.array([[0.0, 1.0]])}
    run = write_run(tmp_path / "run", PREDICTIONS, maps=small)
    export(run, "maps", tmp_path / "out", classes="all", map_format="npy")
    saliency = np.load(tmp_path / "out/maps/c.1.npy")
    assert saliency.shape == (4, 6)
    # The small map's pixels are centered on the second and the fifth of the six columns.
    np.testing.assert_allclose(saliency, [[0, 0, 1 / 3, 2 / 3, 1, 1]] * 4, atol=1e-6)


def test_a_run_without_maps_is_refused(tmp_path):
    run = write_run(tmp_path / "run", PREDICTIONS)
    with pytest.raises(RunError, match="has no maps: the run must store them"):
        export(run, "maps", tmp_path / "out")


def test_damaged_maps_are_named(tmp_path):
    run = write_run(tmp_path / "run", PREDICTIONS, maps=MAPS)
    (run / "maps/part-00000.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RunError, match=r"part-00000\.npz cannot be read"):
        export(run, "maps", tmp_path / "out")
