"""Maps of other tools: read, checked, resized."""

import numpy as np
import pytest

from wsl.errors import ScoreError
from wsl.score.maps import check_map, check_unit_map, maps_from_folder, resize_map


def test_maps_are_read_by_image_id(tmp_path):
    (tmp_path / "val").mkdir()
    np.save(tmp_path / "val" / "a.npy", np.array([[0.0, 1.0]], dtype=np.float32))
    np.save(tmp_path / "b.npy", np.array([[0, 1]], dtype=np.uint8))
    found = dict(maps_from_folder(tmp_path, ["val/a", "b"]))
    assert list(found) == ["val/a", "b"]
    assert all(map_.dtype == np.float64 and map_.shape == (1, 2) for map_ in found.values())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, r"cannot read the map .*a\.npy"),
        (b"", r"cannot read the map .*a\.npy"),
        (b"not a map", r"cannot read the map .*a\.npy"),
        (np.array([{"a": 1}], dtype=object), r"cannot read the map .*a\.npy"),
        (np.array([[0.0, 255.0]]), r"a\.npy: must be in \[0, 1\], but goes from 0 to 255"),
        (np.array([[0.0, np.nan]]), r"a\.npy: must be finite, but holds NaN"),
        (np.zeros((2, 2, 3)), r"a\.npy: must have shape \(height, width\), but has \(2, 2, 3\)"),
        (np.zeros((0, 3)), r"must have shape"),
    ],
    ids=["absent", "empty file", "text", "pickle", "range", "nan", "color", "no pixel"],
)
def test_what_is_no_map_is_refused(tmp_path, stored, message):
    path = tmp_path / "a.npy"
    if isinstance(stored, bytes):
        path.write_bytes(stored)
    elif stored is not None:
        np.save(path, stored, allow_pickle=True)
    with pytest.raises(ScoreError, match=message):
        list(maps_from_folder(tmp_path, ["a"]))


def test_checks_leave_the_argument_alone():
    map_ = np.array([[0.0, 1.0]])
    check_unit_map(map_, name="a")[0, 0] = 7
    assert map_[0, 0] == 0
    with pytest.raises(ScoreError, match="must hold real numbers, but holds complex128"):
        check_map(np.zeros((2, 2), dtype=complex), name="a")


def test_resizing():
    map_ = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert resize_map(map_, (2, 2)) is map_
    assert resize_map(map_, (4, 6)).shape == (4, 6)
    assert resize_map(map_, (4, 6), cubic=True).max() > resize_map(map_, (4, 6)).max()
    assert np.array_equal(
        resize_map(np.full((1, 2), 3.1), (7, 9), cubic=True), np.full((7, 9), 3.1)
    )
