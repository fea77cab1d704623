"""Maps of other tools: read, checked, resized."""

import io
import zipfile

import cv2
import numpy as np
import pytest

from wsl.errors import ScoreError
from wsl.score.maps import check_map, check_unit_map, find_maps, read_map, resize_map


def test_maps_are_found_by_image_id(tmp_path):
    (tmp_path / "val").mkdir()
    for name in ("val/a.npy", "b.npz", "c.jpg.npy", "d.png", "e.npy"):
        (tmp_path / name).touch()
    found = find_maps(tmp_path, ["b", "val/a", "c.jpg", "d.JPEG", "f", "e.v2"])
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "b": "b.npz",
        "val/a": "val/a.npy",
        "c.jpg": "c.jpg.npy",
        "d.JPEG": "d.png",
        "e.v2": "e.npy",
    }
    assert list(found) == ["b", "val/a", "c.jpg", "d.JPEG", "e.v2"]
    with pytest.raises(ScoreError, match="absent must be a folder of maps, but is none"):
        find_maps(tmp_path / "absent", ["a"])


def test_formats_of_maps(tmp_path):
    map_ = np.array([[0.0, 0.5, 1.0]])
    np.save(tmp_path / "a.npy", map_.astype(np.float16))
    np.savez_compressed(tmp_path / "b.npz", whatever=map_)
    np.savez(tmp_path / "c.npz", **{"0": 1 - map_, "12": map_})
    cv2.imwrite(str(tmp_path / "d.png"), np.array([[0, 51, 255]], dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "e.png"), np.array([[0, 13107, 65535]], dtype=np.uint16))
    for name in ("a.npy", "b.npz", "c.npz"):
        found = read_map(tmp_path / name, 12)
        assert found.dtype == np.float64
        assert np.array_equal(found, map_)
    assert read_map(tmp_path / "d.png", 0).tolist() == [[0, 0.2, 1]]
    assert read_map(tmp_path / "e.png", 0).tolist() == [[0, 0.2, 1]]


@pytest.mark.parametrize(
    ("name", "stored", "message"),
    [
        ("a.npy", None, r"cannot read the map .*a\.npy"),
        ("a.npy", b"", r"cannot read the map .*a\.npy"),
        ("a.npy", b"not a map", r"cannot read the map .*a\.npy"),
        ("a.npz", b"not a map", r"cannot read the map .*a\.npz"),
        ("a.png", b"not a map", r"cannot read the map .*a\.png"),
        ("a.npy", np.array([{"a": 1}], dtype=object), r"cannot read the map .*a\.npy"),
        ("a.npy", np.array([[0.0, np.nan]]), r"a\.npy: must be finite, but holds NaN"),
        ("a.npy", np.zeros((2, 2, 3)), r"must have shape \(height, width\), but has \(2, 2, 3\)"),
        ("a.npy", np.zeros((0, 3)), r"must have shape"),
    ],
    ids=["absent", "empty", "text", "zip", "png", "pickle", "nan", "color", "no pixel"],
)
def test_what_is_no_map_is_refused(tmp_path, name, stored, message):
    path = tmp_path / name
    if isinstance(stored, bytes):
        path.write_bytes(stored)
    elif stored is not None:
        np.save(path, stored, allow_pickle=True)
    with pytest.raises(ScoreError, match=message):
        read_map(path, 0)


def test_other_classes_and_colors_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{"0": np.eye(2), "1": np.eye(2)})
    with pytest.raises(ScoreError, match=r"cannot read the map .*a\.npz.*2\.npy"):
        read_map(tmp_path / "a.npz", 2)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(ScoreError, match="it must be gray, but has the mode RGB"):
        read_map(tmp_path / "b.png", 0)


def test_a_stated_size_that_no_map_has_is_refused_before_it_is_read(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little"))
    with (tmp_path / "a.npy").open("ab") as file:
        file.write(header + b"\n")
    with pytest.raises(ScoreError, match=r"cannot read the map .*a\.npy"):
        read_map(tmp_path / "a.npy", 0)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_that_states_more_than_its_file_holds_is_refused(tmp_path, suffix):
    """NumPy would take 8 TB before it reads."""
    header = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(header, described)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        path.write_bytes(header.getvalue())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("0.npy", header.getvalue())
    with pytest.raises(ScoreError, match="cannot read the map"):
        read_map(path, 0)


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
