"""COCO's mask AP against pycocotools run on JSON files, as its users run it."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsl.data.sample import Annotation, Instance, Sample
from wsl.errors import ScoreError
from wsl.masks import encode_rle
from wsl.score.protocols.coco import (
    _evaluate,
    _resampled,
    coco_detections,
    coco_ground_truth,
    score_coco_masks,
)

_NAMES = ["ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large"]
_NAMES += ["ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"]


def disc(size, center, radius):
    y, x = np.indices(size)
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def random_case(seed, *, images=8):
    """Discs of three classes and sizes, found roughly, missed or made up."""
    generator = np.random.default_rng(seed)
    samples, rows = [], []
    for number in range(images):
        size = (int(generator.integers(150, 260)), int(generator.integers(150, 260)))
        instances = []
        for _ in range(generator.integers(0, 5)):
            center = generator.integers(20, 130, 2)
            radius = generator.choice([6, 14, 25, 60])
            label = int(generator.integers(0, 3))
            mask = disc(size, center, radius)
            crowd = bool(generator.random() < 0.15)
            instances.append(Instance(label, (0, 0, 1, 1), encode_rle(mask), crowd))
            if generator.random() < 0.8:
                near = disc(size, center + generator.integers(-3, 4, 2), radius)
                found = label if generator.random() < 0.8 else 2
                rows.append((f"img{number}", size, found, float(generator.random()), near))
        if generator.random() < 0.6:
            rows.append((f"img{number}", size, 3, 0.5, disc(size, (50, 50), 20)))
        annotation = Annotation(tuple(instances), size)
        samples.append(Sample(f"img{number}", Path(f"img{number}.jpg"), 0, annotation))
    return frame(rows), samples


def frame(rows):
    return pd.DataFrame(
        [
            {
                "image_id": name,
                "height": size[0],
                "width": size[1],
                "status": "ok",
                "label": label,
                "score": score,
                "in_top_k": True,
                "mask": encode_rle(mask),
            }
            for name, size, label, score, mask in rows
        ],
        columns=["image_id", "height", "width", "status", "label", "score", "in_top_k", "mask"],
    )


def by_files(folder, rows, samples):
    """What pycocotools says of the same, through files."""
    truth = {"images": [], "annotations": [], "categories": [{"id": k} for k in range(4)]}
    numbers = {sample.image_id: number for number, sample in enumerate(samples, start=11)}
    for sample in samples:
        height, width = sample.annotation.size
        truth["images"].append({"id": numbers[sample.image_id], "height": height, "width": width})
        for instance in sample.annotation.instances:
            packed = {"size": [height, width], "counts": instance.mask}
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": numbers[sample.image_id],
                    "category_id": instance.label,
                    "segmentation": packed,
                    "area": int(coco_mask.decode(packed).sum()),
                    "iscrowd": int(instance.ignore),
                }
            )
    results = [
        {
            "image_id": numbers[row.image_id],
            "category_id": row.label,
            "segmentation": {"size": [row.height, row.width], "counts": row.mask},
            "score": row.score,
        }
        for row in rows.itertuples()
    ]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_equals_pycocotools_on_files(tmp_path, capsys, seed):
    rows, samples = random_case(seed)
    scores = score_coco_masks(rows, samples)
    assert capsys.readouterr().out == ""
    expected = dict(zip(_NAMES, by_files(tmp_path, rows, samples), strict=True))
    assert {f.name: f.value for f in scores.estimates} == {
        k: v for k, v in expected.items() if v >= 0
    }
    assert set(scores.omitted) == {name for name, value in expected.items() if value < 0}
    assert 0 < scores.estimate("ap").value < 1
    for name in ("ap", "ar_100"):
        estimate = scores.estimate(name)
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == 8


def test_a_replicate_in_which_each_image_counts_once_is_the_score():
    rows, samples = random_case(9)
    truth = coco_ground_truth(samples)
    evaluation = _evaluate(truth, coco_detections(rows, truth))
    once = np.ones((1, len(samples)), dtype=np.int64)
    for objects, precision, recall in ((0, 0, 8), (1, 3, 9), (2, 4, 10), (3, 5, 11)):
        found = _resampled(evaluation, once, objects=objects, most=100)
        assert np.nanmean(found["precision"]) == pytest.approx(evaluation.stats[precision])
        assert np.nanmean(found["recall"]) == pytest.approx(evaluation.stats[recall])
    for most, recall in ((1, 6), (10, 7)):
        found = _resampled(evaluation, once, objects=0, most=most)
        assert np.nanmean(found["recall"]) == pytest.approx(evaluation.stats[recall])


def test_perfect_masks_and_none():
    mask = disc((200, 200), (90, 90), 30)
    annotation = Annotation((Instance(0, (60, 60, 121, 121), encode_rle(mask)),), (200, 200))
    samples = [Sample("a", Path("a"), 0, annotation)]
    rows = frame([("a", (200, 200), 0, 0.5, mask)])
    assert score_coco_masks(rows, samples).estimate("ap").value == pytest.approx(1)
    assert score_coco_masks(rows.assign(mask=None), samples).estimate("ap").value == 0
    # The ground-truth class given to the localizer is no detection.
    assert score_coco_masks(rows.assign(in_top_k=False), samples).estimate("ap").value == 0
    assert score_coco_masks(rows.iloc[:0], samples).estimate("ar_100").value == 0


def test_refused():
    rows, samples = random_case(0)
    with pytest.raises(ScoreError, match="must have the column 'mask'"):
        score_coco_masks(rows.drop(columns="mask"), samples)
    with pytest.raises(ScoreError, match="predicted image 'z' is not in the dataset"):
        score_coco_masks(rows.assign(image_id="z"), samples)
    with pytest.raises(ScoreError, match=r"its masks are 7 × .* but its annotation says"):
        score_coco_masks(rows.assign(width=7), samples)
    with pytest.raises(ScoreError, match="scores must be finite, but one is nan"):
        score_coco_masks(rows.assign(score=float("nan")), samples)
    with pytest.raises(ScoreError, match="image a: must have an annotation that states a size"):
        score_coco_masks(rows, [Sample("a", Path("a"))])
    boxed = Annotation((Instance(0, (0, 0, 1, 1)),), (5, 5))
    with pytest.raises(ScoreError, match="image a: every instance must have a mask"):
        score_coco_masks(rows, [Sample("a", Path("a"), 0, boxed)])
    with pytest.raises(ScoreError, match="need at least one object"):
        score_coco_masks(rows, [Sample("a", Path("a"), 0, Annotation((), (5, 5)))])
