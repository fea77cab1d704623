"""COCO's mask and box AP against pycocotools run on JSON files, as its users run it."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsl.data.sample import Annotation, Instance, Sample
from wsl.errors import ScoreError
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import RunLengths, encode_rle, mask_to_box
from wsl.score.average_precision import METRICS, _by_category, _curves, _resampled, _summary
from wsl.score.protocols.coco import coco_detections, coco_ground_truth, score_coco

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
            area = float(generator.choice([400, 2000, 20000])) if generator.random() < 0.3 else None
            box = mask_to_box(mask)
            instances.append(Instance(label, box, encode_rle(mask), crowd, area))
            if generator.random() < 0.8:
                near = disc(size, center + generator.integers(-3, 4, 2), radius)
                found = label if generator.random() < 0.8 else 2
                rows.append((f"img{number}", size, found, float(generator.random()), near))
        if generator.random() < 0.6:
            rows.append((f"img{number}", size, 3, 0.5, disc(size, (50, 50), 20)))
        annotation = Annotation(tuple(instances), size)
        samples.append(Sample(f"img{number}", Path(f"img{number}.jpg"), 0, annotation))
    return rows, samples


def predictions(rows, **changes):
    """Each row as a prediction of its own; an image may have several."""
    return [
        Prediction(
            changes.get("image_id", name),
            changes.get("size", size),
            (
                Localization(
                    label=label,
                    category="",
                    rank=1,
                    score=changes.get("score", score),
                    box=mask_to_box(mask),
                    mask=RunLengths(encode_rle(mask), size),
                    in_top_k=changes.get("in_top_k", True),
                ),
            ),
        )
        for name, size, label, score, mask in rows
    ]


def annotations(samples):
    return {sample.image_id: sample.annotation for sample in samples}


def score(rows, samples, **changes):
    return score_coco(predictions(rows, **changes), annotations(samples))


def xywh(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def by_files(folder, rows, samples, kind="segm"):
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
                    "bbox": xywh(instance.box),
                    "area": instance.area or int(coco_mask.decode(packed).sum()),
                    "iscrowd": int(instance.ignore),
                }
            )
    results = [
        {"image_id": numbers[name], "category_id": label, "score": confidence}
        | (
            {"bbox": xywh(mask_to_box(mask))}
            if kind == "bbox"
            else {"segmentation": {"size": list(size), "counts": encode_rle(mask)}}
        )
        for name, size, label, confidence, mask in rows
    ]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_equals_pycocotools_on_files(tmp_path, capsys, seed):
    rows, samples = random_case(seed)
    scores = score(rows, samples)
    assert capsys.readouterr().out == ""
    expected = dict(zip(_NAMES, by_files(tmp_path, rows, samples), strict=True))
    boxes = by_files(tmp_path, rows, samples, "bbox")
    expected |= {f"box_{name}": value for name, value in zip(_NAMES, boxes, strict=True)}
    assert {f.name: f.value for f in scores.estimates} == {
        k: v for k, v in expected.items() if v >= 0
    }
    assert set(scores.omitted) == {name for name, value in expected.items() if value < 0}
    assert 0 < scores.estimate("ap").value < 1
    for name in ("ap", "ar_100", "box_ap"):
        estimate = scores.estimate(name)
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == 8


def test_replicates_in_which_each_image_counts_once_have_the_scores_values():
    rows, samples = random_case(9)
    truth = coco_ground_truth(annotations(samples))
    by_category = list(_by_category(truth, coco_detections(predictions(rows), truth), "segm"))
    once = np.ones((3, len(samples)), dtype=np.int64)
    replicates = [_resampled(evaluation, once) for evaluation in by_category]
    values = _summary([_curves(evaluation) for evaluation in by_category])
    for (which, ious, *key), value in zip(METRICS.values(), values, strict=True):
        found = np.stack([one[tuple(key)][which][:, ious] for one in replicates])
        assert np.nanmean(found, axis=(0, 2)) == pytest.approx([value] * 3)


def test_a_replicate_is_the_score_of_the_drawn_images():
    rows, samples = random_case(3)
    counts = [0, 2, 1, 0, 3, 1, 1, 0]
    drawn = [
        (f"{name}-{copy}", *rest)
        for name, *rest in rows
        for copy in range(counts[int(name.removeprefix("img"))])
    ]
    copies = [
        replace(sample, image_id=f"{sample.image_id}-{copy}")
        for sample, count in zip(samples, counts, strict=True)
        for copy in range(count)
    ]
    truth = coco_ground_truth(annotations(samples))
    found = coco_detections(predictions(rows), truth)
    replicates = [
        _resampled(one, np.array([counts]))[0, 100] for one in _by_category(truth, found, "segm")
    ]
    values = np.stack([one["precision"] for one in replicates])
    assert np.nanmean(values) == pytest.approx(score(drawn, copies).estimate("ap").value)


def test_perfect_masks_and_none():
    mask = disc((200, 200), (90, 90), 30)
    annotation = Annotation((Instance(0, mask_to_box(mask), encode_rle(mask)),), (200, 200))
    samples = [Sample("a", Path("a"), 0, annotation)]
    rows = [("a", (200, 200), 0, 0.5, mask)]
    assert score(rows, samples).estimate("ap").value == pytest.approx(1)
    assert score(rows, samples).estimate("box_ap").value == pytest.approx(1)
    # The ground-truth class given to the localizer is no detection.
    assert score(rows, samples, in_top_k=False).estimate("ap").value == 0
    assert score([], samples).estimate("ar_100").value == 0


def test_objects_of_unknown_classes_are_left_out_and_counted():
    rows, samples = random_case(5)
    known = score(rows, samples)
    first, annotation = samples[0], samples[0].annotation
    unknown = (Instance(-1, (0, 0, 9, 9), encode_rle(disc(annotation.size, (4, 4), 4))),)
    more = replace(annotation, instances=annotation.instances + unknown)
    scores = score(rows, [replace(first, annotation=more), *samples[1:]])
    assert scores.estimates == known.estimates
    assert scores.counts["objects_of_unknown_classes"] == 1


def test_without_masks_boxes_alone_are_scored():
    mask = disc((200, 200), (90, 90), 30)
    annotation = Annotation((Instance(0, mask_to_box(mask)),), (200, 200))
    scores = score([("a", (200, 200), 0, 0.5, mask)], [Sample("a", Path("a"), 0, annotation)])
    assert scores.estimate("box_ap").value == pytest.approx(1)
    with pytest.raises(ScoreError, match="ap was not computed: some objects have no mask"):
        scores.estimate("ap")


def test_refused():
    rows, samples = random_case(0)
    with pytest.raises(ScoreError, match="predicted image 'z' is not in the dataset"):
        score(rows, samples, image_id="z")
    with pytest.raises(ScoreError, match=r"has 7 × 5 pixels .* in the run, but its annotation is"):
        score(rows, samples, size=(5, 7))
    with pytest.raises(ScoreError, match="scores must be finite, but one is nan"):
        score(rows, samples, score=float("nan"))
    with pytest.raises(ScoreError, match="image a: must have an annotation that states a size"):
        score(rows, [Sample("a", Path("a"), 0, Annotation(()))])
    with pytest.raises(ScoreError, match="need at least one object"):
        score(rows, [Sample("a", Path("a"), 0, Annotation((), (5, 5)))])
