"""Stored maps are scored without a run or a classifier, as wsolevaluation scores them."""

import json

import cv2
import numpy as np
import pytest
from command_line import wsl_here
from pycocotools import mask as coco_mask

from wsl.score.evaluator import boxes_at_level, inclusive_iou, scale_corners
from wsl.score.protocols.max_box_acc import MaxBoxAccOptions
from wsl.score.protocols.pxap import PxAPOptions
from wsl.score.stored import open_annotated

COUNT = 6


@pytest.fixture
def lists(tmp_path):
    """wsolevaluation's lists of two classes, with boxes, and maps of 224 × 224 pixels."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "metadata" / "Drawn" / "val"
    folder.mkdir(parents=True)
    (tmp_path / "maps" / "val").mkdir(parents=True)
    names = [f"val/{number}.jpg" for number in range(COUNT)]
    sizes = rng.integers(150, 400, (COUNT, 2))
    lines = {"image_ids": names, "class_labels": [], "image_sizes": [], "localization": []}
    truth, maps = {}, {}
    for number, (name, (width, height)) in enumerate(zip(names, sizes.tolist(), strict=True)):
        lines["class_labels"].append(f"{name},{number % 2}")
        lines["image_sizes"].append(f"{name},{width},{height}")
        truth[name] = []
        for _ in range(1 + number % 2):
            x0, y0 = int(rng.integers(0, 60)), int(rng.integers(0, 60))
            box = (x0, y0, x0 + int(rng.integers(40, 80)), y0 + int(rng.integers(40, 80)))
            lines["localization"].append(",".join(map(str, (name, *box))))
            truth[name].append((box, (width, height)))
        blurred = cv2.GaussianBlur(rng.random((224, 224)), (0, 0), 25)
        maps[name] = (blurred - blurred.min()) / (blurred - blurred.min()).max()
        np.save(tmp_path / "maps" / "val" / f"{number}.jpg.npy", maps[name])
    for kind, rows in lines.items():
        (folder / f"{kind}.txt").write_text("".join(f"{row}\n" for row in rows))
    return tmp_path, truth, maps


def peer_accuracy(truth, maps, *, step, iou, every_contour):
    """MaxBoxAcc in percent by the evaluator's rule: its own loop, image by image."""
    thresholds = np.arange(0, 1, step)
    right = np.zeros(len(thresholds))
    for name, map_ in maps.items():
        boxes = [
            scale_corners(np.array([box], float), size[::-1], (224, 224))[0]
            for box, size in truth[name]
        ]
        gray = (map_ * 255).astype(np.uint8)
        for at, threshold in enumerate(thresholds):
            found, largest = boxes_at_level(gray, int(threshold * gray.max()))
            taken = found if every_contour else found[[largest]]
            right[at] += inclusive_iou(taken, np.array(boxes)).max() >= iou / 100
    return float((100 * right / len(maps)).max())


def test_wsolevaluations_maps_and_lists(lists):
    root, truth, maps = lists
    result = wsl_here(
        *("score", "--maps", root / "maps", "--data", "wsol", "--root", root),
        *("--protocol", "max_box_acc", "--out", root / "scores.json"),
        *("--set", f"data.annotations={root / 'metadata' / 'Drawn'}", "--set", "score.step=0.02"),
    )
    assert result.returncode == 0, result.stderr
    assert "max box acc" in result.stdout
    found = json.loads((root / "scores.json").read_text())
    assert found["counts"] == {"listed": COUNT, "scored": COUNT, "failed": 0}
    for iou in (30, 50, 70):
        for name, every in ((f"max_box_acc_{iou}", False), (f"max_box_acc_v2_{iou}", True)):
            name = name.removesuffix("_50") if not every else name
            expected = peer_accuracy(truth, maps, step=0.02, iou=iou, every_contour=every)
            assert 100 * found["estimates"][name]["value"] == pytest.approx(expected, abs=1e-12)
            assert len(found["curves"][name]["x"]) == 50
            assert 100 * max(found["curves"][name]["y"]) == pytest.approx(expected, abs=1e-12)


def test_an_annotated_size_counts_and_not_that_of_the_image(lists):
    """Nothing of the images is read: there are none."""
    root, _, _ = lists
    dataset = open_annotated(
        "wsol", root, [f"data.annotations={root / 'metadata' / 'Drawn'}", "data.split=val"]
    )
    scores = MaxBoxAccOptions(maps=root / "maps", step=0.1).score(None, dataset)
    assert scores.counts["scored"] == COUNT


def mask_file(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


def test_pxap_of_masks_of_any_size_with_an_empty_one(tmp_path):
    """The evaluator's own rule: masks read, resized once by nearest neighbor, pooled."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "metadata" / "Drawn" / "val"
    folder.mkdir(parents=True)
    names, rows, histograms = [], [], np.zeros((2, 12))
    for number in range(5):
        name = f"val/{number}.jpg"
        size = (int(rng.integers(90, 300)), int(rng.integers(90, 300)))
        mask = cv2.GaussianBlur(rng.random(size), (0, 0), 9) > (2 if number == 3 else 0.5)
        ignore = cv2.GaussianBlur(rng.random(size), (0, 0), 9) > 0.52
        mask_file(tmp_path / f"val/{number}_m.png", mask)
        mask_file(tmp_path / f"val/{number}_i.png", ignore)
        # The picture has another size than its masks.
        cv2.imwrite(str(tmp_path / name), np.zeros((97, 131, 3), dtype=np.uint8))
        names.append(name)
        rows.append(f"{name},val/{number}_m.png,val/{number}_i.png")
        map_ = rng.random((224, 224))
        (tmp_path / "maps" / "val").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "maps" / f"{name}.npy", map_)
        one, other = (
            cv2.resize(x.astype(np.float32), (224, 224), interpolation=cv2.INTER_NEAREST) > 0.5
            for x in (mask, ignore)
        )
        edges = np.append(np.arange(0, 1, 0.1), [1.0, 2.0, 3.0])
        histograms[0] += np.histogram(map_[one], bins=edges)[0]
        histograms[1] += np.histogram(map_[~one & ~other], bins=edges)[0]
    (folder / "image_ids.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "class_labels.txt").write_text("".join(f"{name},0\n" for name in names))
    (folder / "localization.txt").write_text("".join(f"{row}\n" for row in rows))
    tp, fp = (counts[::-1].cumsum() for counts in histograms)
    precision = tp / np.maximum(tp + fp, 1)
    expected = (precision[1:] * np.diff(tp / tp[-1])).sum()
    dataset = open_annotated("wsol", tmp_path, [f"data.annotations={folder.parent}"])
    scores = PxAPOptions(maps=tmp_path / "maps", step=0.1).score(None, dataset)
    assert scores.estimate("px_ap").value == pytest.approx(expected, abs=1e-15)
    assert scores.estimate("px_ap").n == 5


def test_cocos_classes_need_no_classifier(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 3, "name": "okapi"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "bbox": [5, 5, 20, 20],
                "area": 300.5,
                "iscrowd": 0,
                "segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]],
            }
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    dataset = open_annotated("coco", tmp_path)
    (instance,) = dataset[0].annotation.instances
    assert instance.area == 300.5
    packed = {"size": [40, 60], "counts": instance.mask.encode()}
    assert coco_mask.area(packed) > 0
    map_ = np.zeros((40, 60), dtype=np.float32)
    map_[6:24, 6:24] = 1
    np.save(tmp_path / "a.npy", map_)
    scores = MaxBoxAccOptions(maps=tmp_path, step=0.1).score(None, dataset)
    assert scores.estimate("max_box_acc").value == 1
