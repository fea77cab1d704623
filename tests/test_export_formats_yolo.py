from __future__ import annotations

import cv2
import numpy as np
import pytest
from export_cases import (
    HOLE,
    LEFT,
    PARTS,
    export,
    found,
    image,
    write_run,
)

from wsl.errors import ConfigError


def label_lines(tmp_path, mask) -> list[str]:
    run = write_run(tmp_path / "run", [image("a", found(mask))])
    export(run, "yolo", tmp_path / "out", shape="polygon")
    return (tmp_path / "out/labels/train/a.txt").read_text("ascii").splitlines()


def test_fill_poly_adds_to_the_right_and_below_only(tmp_path):
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:12, 3:20] = mask[8:16, 10:14] = True
    (line,) = label_lines(tmp_path, mask)
    numbers = np.array(line.split()[1:], dtype=np.float32)
    filled = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillPoly(filled, [(numbers.reshape(-1, 2) * np.float32([30, 20])).astype(np.int32)], 1)
    padded = np.pad(mask, ((1, 0), (1, 0)))
    grown = padded[1:, 1:] | padded[:-1, 1:] | padded[1:, :-1] | padded[:-1, :-1]
    assert np.array_equal(filled.astype(bool), grown)


def test_coordinates_of_corners_survive_truncation():
    from wsl.export.formats.yolo import _up

    for side in [*range(1, 700), 1023, 1024, 1920, 4999]:
        shares = np.array([float(_up(x, side)) for x in range(side + 1)])
        assert shares.min() == 0
        assert shares.max() == 1
        for kind in (np.float32, np.float64):
            corners = (shares.astype(kind) * kind(side)).astype(np.int32)
            assert corners.tolist() == list(range(side + 1))


@pytest.mark.parametrize("mask", [HOLE, PARTS], ids=["hole", "parts"])
def test_one_line_per_object(tmp_path, mask):
    assert len(label_lines(tmp_path, mask)) == 1


def test_a_run_without_its_dataset_has_no_images(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    with pytest.raises(ConfigError, match="images: link needs the run's dataset"):
        export(run, "yolo", tmp_path / "out", images="link")
    export(run, "yolo", tmp_path / "out", images="none")
    label = (tmp_path / "out/labels/train/a.txt").read_text()
    assert label == "0 0.3333333333 0.5 0.6666666667 1\n"
