"""Rows of a run: round trips, whole files, damage."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from wsl.errors import OutputError, RunError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import decode_rle
from wsl.run.maps import map_key, read_maps, stored_map, write_maps
from wsl.run.rows import SCHEMA, read_predictions, read_table, write_part


def localization(mask, **changes):
    fields = {
        "label": 3,
        "category": "cat, house cat",
        "rank": 1,
        "score": 0.25,
        "box": (1, 0, 3, 2),
        "mask": mask,
        "quality": None,
        "refined": True,
        "in_top_k": True,
        "is_ground_truth": False,
    }
    return Localization(**(fields | changes))


def test_rows_come_back_as_they_were(tmp_path):
    mask = np.zeros((4, 5), bool)
    mask[0:2, 1:3] = True
    empty = np.zeros((4, 5), bool)
    found = (localization(mask), localization(empty, label=7, rank=2, box=None, refined=False))
    path = tmp_path / "predictions" / "part-00000.parquet"
    write_part(path, [Prediction("ä b", (4, 5), found), Prediction.failed("bad", "cannot be read")])
    first, second, failed = read_table([path]).to_pylist()
    assert (first["image_id"], first["height"], first["width"]) == ("ä b", 4, 5)
    assert [first[key] for key in ("x0", "y0", "x1", "y1")] == [1, 0, 3, 2]
    assert (decode_rle(first["mask"], (4, 5)) == mask).all()
    assert first["mask_area"] == 4
    assert second["x0"] is None
    assert second["mask_area"] == 0
    assert not second["refined"]
    assert failed["status"] == "failed"
    assert failed["error"] == "cannot be read"
    assert all(failed[name] is None for name in SCHEMA.names[5:])


def test_no_temporary_file_stays(tmp_path, monkeypatch):
    write_part(tmp_path / "part-00000.parquet", [])
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]

    def full_disk(table, file, **options):
        file.write(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OutputError, match="no space left"):
        write_part(tmp_path / "part-00001.parquet", [])
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def damaged(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        return bytes(content[: len(content) // 2])
    if how == "empty":
        return b""
    content[len(content) // 4] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "one byte flipped"])
def test_a_damaged_part_is_told(tmp_path, how):
    path = tmp_path / "part-00000.parquet"
    rng = np.random.default_rng(0)
    write_part(
        path,
        [
            Prediction(f"image {index}", (30, 30), (localization(rng.random((30, 30)) > 0.5),))
            for index in range(200)
        ],
    )
    path.write_bytes(damaged(path, how))
    with pytest.raises(
        RunError, match=r"part-00000\.parquet cannot be read and must be made again"
    ):
        read_table([path])


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "part-00000.parquet"
    pq.write_table(SCHEMA.empty_table().select(["image_id"]), path)
    with pytest.raises(RunError, match="has columns other than"):
        read_table([path])


def test_maps_come_back_scaled_to_one(tmp_path):
    path = tmp_path / "maps" / "part-00000.npz"
    tiny = np.array([[0, 1e-9], [2e-9, 4e-9]], np.float32)
    maps = {map_key("a/b|c", 5): stored_map(tiny), map_key("x", 0): stored_map(tiny * 0)}
    write_maps(path, maps)
    found = {(image_id, label): map_ for image_id, label, map_ in read_maps(path)}
    assert found["a/b|c", 5].tolist() == [[0, 0.25], [0.5, 1]]
    assert found["x", 0].tolist() == [[0, 0], [0, 0]]


def test_maps_in_single_precision_are_the_maps(tmp_path):
    saliency = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    whole = stored_map(saliency, "float32")
    assert np.array_equal(whole, saliency / saliency.max())
    write_maps(
        tmp_path / "part.npz", {map_key("a", 1): whole, map_key("b", 1): stored_map(saliency)}
    )
    kept = {image_id: map_ for image_id, _, map_ in read_maps(tmp_path / "part.npz")}
    assert kept["a"].dtype == np.float32
    assert np.array_equal(kept["a"], whole)
    assert kept["b"].dtype == np.float16


def test_a_damaged_archive_of_maps_is_told(tmp_path):
    path = tmp_path / "part-00000.npz"
    write_maps(path, {map_key("a", 1): np.zeros((4, 4), np.float16)})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match="must be made again"):
        list(read_maps(path))


def test_predictions_come_back_with_masks_as_run_lengths(tmp_path):
    mask = np.zeros((4, 5), bool)
    mask[0:2, 1:3] = True
    empty = np.zeros((4, 5), bool)
    best, second = localization(mask, quality=0.5), localization(empty, label=7, rank=2, box=None)
    wanted = [
        Prediction("b", (4, 5), (best, second)),
        Prediction("a", (4, 5), ()),
        Prediction.failed("bad", "cannot be read", size=(9, 8)),
    ]
    path = tmp_path / "part-00000.parquet"
    write_part(path, wanted)
    found = list(read_predictions(path))
    for one, other in zip(found, wanted, strict=True):
        assert (one.image_id, one.size, one.status, one.error) == (
            *(other.image_id, other.size, other.status, other.error),
        )
    for one, other in zip(found[0].localizations, (best, second), strict=True):
        assert (one.mask == other.mask).all()
        assert one.run_lengths == other.run_lengths
        assert one.size == other.size == (4, 5)
    write_part(tmp_path / "again.parquet", found)
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_an_image_of_more_rows_than_a_batch_is_one_prediction(tmp_path, monkeypatch):
    monkeypatch.setattr("wsl.run.rows._BATCH", 3)
    found = [localization(np.ones((2, 2), bool), label=n, rank=5 - n) for n in range(5)]
    path = tmp_path / "part-00000.parquet"
    write_part(path, [Prediction("one", (2, 2), tuple(found))])
    (one,) = read_predictions(path)
    assert [localization.rank for localization in one.localizations] == [1, 2, 3, 4, 5]


def test_a_box_that_is_not_there_is_read_from_the_mask(tmp_path):
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    path = tmp_path / "part-00000.parquet"
    write_part(path, [Prediction("a", (4, 5), (localization(mask, box=None),))])
    (one,) = read_predictions(path)
    assert one.localizations[0].box == (2, 1, 3, 3)
