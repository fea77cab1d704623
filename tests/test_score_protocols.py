"""Every protocol on one small run: fed with the right maps, masks, boxes and sizes."""

import numpy as np
import pytest

from wsl.boxes import box_iou
from wsl.data.open import open_dataset
from wsl.demo.draw import CATEGORIES, draw_image, write_dataset
from wsl.errors import ScoreError
from wsl.masks import decode_rle, mask_iou
from wsl.run.config import build_config
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.runner import run_dataset
from wsl.score.protocols import PROTOCOLS, ScoreOptions, score_run
from wsl.score.protocols.max_box_acc import prepare_map

COUNT = 8
SEED = 5


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, count=COUNT, seed=SEED)
    config = build_config(
        {
            "data": {"format": "ilsvrc", "root": str(root)},
            "model": {"source": "demo", "architecture": None},
            "classes": {"select": "both", "top_k": 3},
            "run": {"maps": True, "chunk_size": 3},
        }
    )
    out = tmp_path_factory.mktemp("run") / "run"
    run_dataset(config, out)
    return RunFolder(out), open_dataset(config.data, CATEGORIES)


def truth(index):
    drawn = draw_image(index, seed=SEED)
    return drawn.label, drawn.boxes, np.any(drawn.masks, axis=0)


def gt_maps(folder):
    """Map of each image's class, by the image's position."""
    found = {}
    for path in sorted((folder.path / "maps").glob("*.npz")):
        for image_id, label, map_ in read_maps(path):
            index = int(image_id.rsplit("_", 1)[1]) - 1
            if label == truth(index)[0]:
                found[index] = map_.astype(np.float64)
    assert sorted(found) == list(range(COUNT))
    return found


def value(scores, name):
    (estimate,) = [estimate for estimate in scores.estimates if estimate.name == name]
    assert estimate.n == COUNT
    return estimate.value


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_scores_all_images(scored, protocol):
    scores = score_run(protocol, *scored, ScoreOptions(step=0.05))
    assert scores.dataset == "ilsvrc val"
    assert scores.estimates
    assert all(
        0 <= estimate.low <= estimate.value <= estimate.high <= 1 for estimate in scores.estimates
    )


@pytest.mark.slow
def test_ilsvrc_and_masks_are_those_of_the_drawn_objects(scored):
    folder, _ = scored
    rows = [row for row in folder.read().to_pylist() if row["is_ground_truth"]]
    boxes, masks = [], []
    for row in rows:
        _, gt_boxes, gt_mask = truth(int(row["image_id"].rsplit("_", 1)[1]) - 1)
        box = [row[key] for key in ("x0", "y0", "x1", "y1")]
        boxes.append(0.0 if box[0] is None else box_iou([box], gt_boxes).max())
        masks.append(mask_iou(decode_rle(row["mask"], gt_mask.shape), gt_mask))
    assert value(score_run("ilsvrc", *scored), "mean_iou") == pytest.approx(np.mean(boxes))
    assert value(score_run("mask_iou", *scored), "mask_iou") == pytest.approx(np.mean(masks))


@pytest.mark.slow
def test_the_pointing_game_takes_the_masks(scored):
    folder, _ = scored
    hits = 0
    for index, map_ in gt_maps(folder).items():
        _, _, mask = truth(index)
        assert map_.shape[0] <= 224
        y, x = np.unravel_index(map_.argmax(), map_.shape)
        # The map has the working size; its highest point in the image, near enough for a hit.
        y, x = (np.array([y, x]) + 0.5) * np.array(mask.shape) / map_.shape
        rows, columns = np.nonzero(mask)
        hits += np.hypot(rows + 0.5 - y, columns + 0.5 - x).min() <= 15
    found = value(score_run("pointing", *scored), "pointing_accuracy")
    assert found == pytest.approx(hits / COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["max_box_acc", "pxap"])
def test_maps_from_a_folder_score_as_those_of_the_run(scored, tmp_path, protocol):
    folder, dataset = scored
    for index, map_ in gt_maps(folder).items():
        np.save(tmp_path / f"{dataset.image_ids[index]}.npy", prepare_map(map_))
    own = score_run(protocol, folder, dataset, ScoreOptions(step=0.05))
    others = score_run(protocol, folder, dataset, ScoreOptions(step=0.05, maps=tmp_path))
    assert [estimate.value for estimate in own.estimates] == [
        estimate.value for estimate in others.estimates
    ]


@pytest.mark.slow
def test_a_given_threshold_is_no_oracle(scored):
    oracle = score_run("max_box_acc", *scored, ScoreOptions(step=0.05))
    given = score_run(
        "max_box_acc", *scored, ScoreOptions(threshold=0.4, chosen_on="the first half")
    )
    assert any("oracle" in note for note in oracle.notes)
    assert any("the first half" in note for note in given.notes)
    assert value(given, "max_box_acc") <= value(oracle, "max_box_acc")


def test_an_unknown_protocol_is_refused(scored):
    with pytest.raises(ScoreError, match=r"no protocol 'max_box_ac'\. Did you mean max_box_acc\?"):
        score_run("max_box_ac", *scored)


@pytest.mark.slow
def test_a_run_without_maps_says_what_to_do(scored, tmp_path):
    folder, dataset = scored
    other = RunFolder(tmp_path)
    (tmp_path / "predictions").mkdir()
    other.part_path(0).write_bytes(folder.part_path(0).read_bytes())
    with pytest.raises(ScoreError, match=r"has no maps: run with run\.maps=true"):
        score_run("max_box_acc", other, dataset)
