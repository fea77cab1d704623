"""The ILSVRC rules against a slow program written from the rules alone, and known answers."""

import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wsl.data.categories import Categories
from wsl.data.sample import Annotation, Dataset, Instance, Sample
from wsl.errors import AnnotationError, ScoreError
from wsl.score.baselines import TrivialBoxes
from wsl.score.estimates import wilson
from wsl.score.protocols.ilsvrc import IlsvrcOptions, read_blacklist, score_ilsvrc

_NAN = float("nan")


# ---- the oracle: plain loops on inclusive corners ----


def oracle_iou(a, b):
    """IoU of two boxes whose corners belong to them, with widths of x1 - x0 + 1."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return width * height / (area_a + area_b - width * height)


def oracle_best(box, instances):
    if box is None:
        return 0.0
    best = 0.0
    for instance in instances:
        best = max(best, oracle_iou(box, instance))
    return best


def oracle(images, side):
    """Estimates of images: dicts of guesses [(label, box)], gt_box, label, instances, size."""
    wrong = {
        f"{which}_error_top{k}": 0 for k in (1, 5) for which in ("classification", "localization")
    }
    known = {0.3: 0, 0.5: 0, 0.7: 0}
    ious = []
    fixed = {"whole": ([], {1: 0, 5: 0}), "center": ([], {1: 0, 5: 0})}
    for image in images:
        height, width = image["size"]
        whole = (0, 0, width - 1, height - 1)
        margin_x, margin_y = width * (1 - side) / 2, height * (1 - side) / 2
        center = (margin_x, margin_y, width - margin_x - 1, height - margin_y - 1)
        for k in (1, 5):
            class_right = box_right = False
            for label, box in image["guesses"][:k]:
                if label != image["label"]:
                    continue
                class_right = True
                if not oracle_best(box, image["instances"]) < 0.5:
                    box_right = True
            wrong[f"classification_error_top{k}"] += not class_right
            wrong[f"localization_error_top{k}"] += not box_right
            for name, box in (("whole", whole), ("center", center)):
                hit = class_right and oracle_best(box, image["instances"]) >= 0.5
                fixed[name][1][k] += not hit
        iou = oracle_best(image["gt_box"], image["instances"])
        ious.append(iou)
        for at in known:
            known[at] += iou >= at
        fixed["whole"][0].append(oracle_best(whole, image["instances"]))
        fixed["center"][0].append(oracle_best(center, image["instances"]))
    n = len(images)
    run = {name: count / n for name, count in wrong.items()}
    run |= {f"gt_known_{at}": count / n for at, count in known.items()}
    run["mean_iou"] = math.fsum(ious) / n
    beside = {}
    for name, (values, misses) in fixed.items():
        beside[name] = {f"localization_error_top{k}": misses[k] / n for k in (1, 5)}
        beside[name] |= {f"gt_known_{a}": sum(v >= a for v in values) / n for a in (0.3, 0.5, 0.7)}
        beside[name]["mean_iou"] = math.fsum(values) / n
    return run, beside, ious


# ---- random cases ----


def random_box(draw, size, *, fractional):
    """Box with inclusive corners; in eighths of a pixel if fractional; may leave the image."""
    height, width = size
    unit = 8 if fractional else 1
    x0, y0 = draw.randint(-2 * unit, (width - 1) * unit), draw.randint(-2, (height - 1) * unit)
    x1, y1 = x0 + draw.randint(0, width * unit), y0 + draw.randint(0, height * unit)
    return (x0 / unit, y0 / unit, x1 / unit, y1 / unit)


def near_box(draw, box):
    """The same box, or one moved a little, so that hits and exact ties are common."""
    if draw.random() < 0.3:
        return box
    x0, y0, x1, y1 = box
    if draw.random() < 0.3:
        return (x0, y0, x1 + (x1 - x0 + 1), y1)  # Twice as wide: an IoU of exactly 0.5.
    x1, y1 = max(x0, x1 + draw.randint(-2, 2)), max(y0, y1 + draw.randint(-2, 2))
    return (x0, y0, x1, y1)


def random_image(draw, classes):
    size = (draw.randint(1, 12), draw.randint(1, 12))
    fractional = draw.random() < 0.3
    label = draw.randrange(classes)
    instances = [random_box(draw, size, fractional=False) for _ in range(draw.randint(1, 4))]
    failed = draw.random() < 0.1
    order = draw.sample(range(classes), classes)
    boxes = {}
    for klass in range(classes):
        if draw.random() < 0.2:
            boxes[klass] = None
        elif draw.random() < 0.6:
            boxes[klass] = near_box(draw, draw.choice(instances))
        else:
            boxes[klass] = random_box(draw, size, fractional=fractional)
    return {
        "label": label,
        "size": size,
        "instances": instances,
        "failed": failed,
        "order": order,
        "guesses": [] if failed else [(klass, boxes[klass]) for klass in order[:5]],
        "gt_box": None if failed else boxes[label],
    }


def half_open(box):
    return (_NAN,) * 4 if box is None else (box[0], box[1], box[2] + 1, box[3] + 1)


def row(image_id, size, label, rank, box, *, top=True, gt=False, status="ok"):
    height, width = size if size else (_NAN, _NAN)
    x0, y0, x1, y1 = half_open(box)
    return {
        "image_id": image_id,
        "width": width,
        "height": height,
        "status": status,
        "error": None if status == "ok" else "truncated",
        "label": label,
        "category": None,
        "rank": rank,
        "score": _NAN if rank is None else 1.0 / rank,
        "in_top_k": top,
        "is_ground_truth": gt,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
    }


def rows_of(image_id, image):
    if image["failed"]:
        return [row(image_id, None, None, None, None, top=None, gt=None, status="failed")]
    rows = [
        row(image_id, image["size"], label, rank, box, gt=label == image["label"])
        for rank, (label, box) in enumerate(image["guesses"], start=1)
    ]
    if image["label"] not in image["order"][:5]:
        rank = image["order"].index(image["label"]) + 1
        gt_box = image["gt_box"]
        rows.append(row(image_id, image["size"], image["label"], rank, gt_box, top=False, gt=True))
    return rows


def sample_of(image_id, image, *, other=()):
    instances = [Instance(image["label"], half_open(box)) for box in image["instances"]]
    instances += [Instance(label, half_open(box)) for label, box in other]
    return Sample(
        image_id,
        Path(f"{image_id}.JPEG"),
        image["label"],
        Annotation(tuple(instances), size=image["size"]),
    )


def frame_of(rows):
    return pd.DataFrame(rows).astype({"label": "Int64", "rank": "Int64", "in_top_k": "boolean"})


def test_equals_the_oracle_on_thousands_of_random_cases():
    draw = random.Random(20)
    seen_ties = 0
    for _ in range(300):
        classes = draw.randint(5, 7)
        images = {f"img{i}": random_image(draw, classes) for i in range(draw.randint(1, 14))}
        rows = [line for name, image in images.items() for line in rows_of(name, image)]
        draw.shuffle(rows)  # The order of rows must not matter: ranks tell.
        samples = [
            sample_of(
                name,
                image,
                # Boxes of other classes are never instances of the image's own.
                other=[
                    ((image["label"] + 1) % classes, random_box(draw, (9, 9), fractional=False))
                ],
            )
            for name, image in images.items()
        ]
        scores = score_ilsvrc(frame_of(rows), samples)
        run, beside, ious = oracle(list(images.values()), 0.75)
        assert {estimate.name: estimate.value for estimate in scores.estimates} == run
        for baseline, name in zip(scores.baselines, ("whole", "center"), strict=True):
            assert {one.name: one.value for one in baseline.estimates} == beside[name]
        assert scores.per_image["gt_iou"].tolist() == ious
        assert all(estimate.n == len(images) for estimate in scores.estimates)
        assert scores.counts["failed"] == sum(image["failed"] for image in images.values())
        seen_ties += ious.count(0.5)
    assert seen_ties > 50


def test_order_of_the_list_and_of_the_rows_changes_nothing():
    draw = random.Random(1)
    images = {f"img{i}": random_image(draw, 6) for i in range(40)}
    rows = [line for name, image in images.items() for line in rows_of(name, image)]
    samples = [sample_of(name, image) for name, image in images.items()]
    forward = score_ilsvrc(frame_of(rows), samples)
    backward = score_ilsvrc(frame_of(rows[::-1]), samples[::-1])
    values = [estimate.value for estimate in forward.estimates]
    assert values == [estimate.value for estimate in backward.estimates]
    assert forward.per_image["image_id"].tolist() == list(images)


# ---- known answers ----


def one_image(rows, *, instances=((0, (10, 10, 19, 19)),), label=0, size=(40, 40), boxes=None):
    annotated = tuple(Instance(number, half_open(box)) for number, box in instances)
    sample = Sample("a", Path("a.JPEG"), label, Annotation(annotated, size))
    return score_ilsvrc(pd.DataFrame(rows), [sample], boxes=boxes)


def five(boxes, *, labels=(0, 1, 2, 3, 4), gt=0, size=(40, 40)):
    return [
        row("a", size, label, rank, box, gt=label == gt)
        for rank, (label, box) in enumerate(zip(labels, boxes, strict=True), start=1)
    ]


_RIGHT, _WRONG = (10, 10, 19, 19), (30, 30, 39, 39)


@pytest.mark.parametrize(
    ("labels", "boxes", "expected"),
    [
        ((0, 1, 2, 3, 4), [_RIGHT] * 5, (0, 0, 0, 0)),
        ((0, 1, 2, 3, 4), [_WRONG] + [_RIGHT] * 4, (0, 0, 1, 1)),
        ((1, 2, 3, 4, 0), [_RIGHT] * 5, (1, 0, 1, 0)),
        ((1, 2, 3, 4, 0), [_RIGHT] * 4 + [_WRONG], (1, 0, 1, 1)),
        ((0, 1, 2, 3, 4), [None] * 5, (0, 0, 1, 1)),
        # 10 × 10 in 10 × 20: an IoU of exactly 0.5 is right; one column more is wrong.
        ((0, 1, 2, 3, 4), [(10, 10, 29, 19)] + [None] * 4, (0, 0, 0, 0)),
        ((0, 1, 2, 3, 4), [(10, 10, 30, 19)] + [None] * 4, (0, 0, 1, 1)),
    ],
    ids=["right", "wrong box", "fifth", "fifth wrong box", "no box", "tie", "past the tie"],
)
def test_the_four_errors(labels, boxes, expected):
    scores = one_image(five(boxes, labels=labels))
    names = ("classification_error_top1", "classification_error_top5")
    names += ("localization_error_top1", "localization_error_top5")
    assert tuple(scores.estimate(name).value for name in names) == expected


def test_any_instance_counts():
    instances = ((0, (0, 0, 3, 3)), (0, _RIGHT), (1, _WRONG))
    scores = one_image(five([_RIGHT] * 5), instances=instances)
    assert scores.estimate("gt_known_0.7").value == 1
    assert scores.per_image.loc[0, ["best_x0", "best_y1"]].tolist() == [10, 20]
    assert scores.per_image.loc[0, "instances"] == 2


def test_instances_that_are_not_to_be_scored_are_left_out():
    hidden = Instance(0, half_open(_RIGHT), ignore=True)
    shown = Instance(0, half_open(_WRONG))
    rows = pd.DataFrame(five([_RIGHT] * 5))
    sample = Sample("a", Path("a"), 0, Annotation((hidden, shown)))
    assert score_ilsvrc(rows, [sample]).estimate("mean_iou").value == 0


def test_gt_known_does_not_need_the_right_guess():
    rows = five([_WRONG] * 5, labels=(1, 2, 3, 4, 5))
    rows.append(row("a", (40, 40), 0, 77, _RIGHT, top=False, gt=True))
    scores = one_image(rows)
    assert scores.estimate("classification_error_top5").value == 1
    assert scores.estimate("localization_error_top5").value == 1
    assert scores.estimate("mean_iou").value == 1
    assert scores.per_image.loc[0, "gt_rank"] == 77
    assert scores.per_image.loc[0, "predicted"] == 1
    assert scores.per_image.loc[0, "predicted_iou"] == 0


def test_rows_outside_the_top_k_are_no_guesses():
    rows = five([_WRONG] * 5, labels=(1, 2, 3, 4, 5), gt=None)
    rows.append(row("a", (40, 40), 0, 5, _RIGHT, top=False))
    assert one_image(rows).estimate("classification_error_top5").value == 1


def test_baselines_known():
    # The object fills 20 × 20 of 40 × 40: IoU 0.25 with the image, 400/900 with the centered 0.75.
    scores = one_image(five([_RIGHT] * 5), instances=((0, (10, 10, 29, 29)),))
    whole, center = scores.baselines
    assert {f.name: f.value for f in whole.estimates} == {
        "localization_error_top1": 1,
        "localization_error_top5": 1,
        "gt_known_0.3": 0,
        "gt_known_0.5": 0,
        "gt_known_0.7": 0,
        "mean_iou": 0.25,
    }
    assert next(f.value for f in center.estimates if f.name == "mean_iou") == 400 / 900
    half = one_image(
        five([None] * 5),
        instances=((0, (10, 10, 29, 29)),),
        boxes=TrivialBoxes(0.5, "the best on the tuning split"),
    ).baselines[1]
    assert half.name == "centered box 0.5"
    assert "the best on the tuning split" in half.note
    assert next(f.value for f in half.estimates if f.name == "localization_error_top1") == 0


def test_failed_images_are_wrong_but_a_fixed_box_is_not():
    rows = [row("a", None, None, None, None, top=None, gt=None, status="failed")]
    scores = one_image(rows, instances=((0, (0, 0, 39, 39)),))
    assert {f.name: f.value for f in scores.estimates} == {
        "classification_error_top1": 1,
        "classification_error_top5": 1,
        "localization_error_top1": 1,
        "localization_error_top5": 1,
        "gt_known_0.3": 0,
        "gt_known_0.5": 0,
        "gt_known_0.7": 0,
        "mean_iou": 0,
    }
    assert scores.counts["failed"] == 1
    whole = {f.name: f.value for f in scores.baselines[0].estimates}
    assert whole["gt_known_0.7"] == 1
    assert whole["localization_error_top5"] == 1


def test_intervals():
    rows = five([_RIGHT] * 5)
    rows += [line | {"image_id": "b"} for line in five([None] * 5)]
    annotation = Annotation((Instance(0, half_open(_RIGHT)),))
    samples = [Sample(name, Path(name), 0, annotation) for name in "ab"]
    estimate = score_ilsvrc(pd.DataFrame(rows), samples).estimate("localization_error_top1")
    assert (estimate.value, estimate.n) == (0.5, 2)
    assert (estimate.low, estimate.high) == wilson(1, 2)
    assert not estimate.higher_is_better


# ---- what cannot be scored ----


class Listed(Dataset):
    """A dataset of given samples; an exception in their place is raised when it is read."""

    name, root = "drawn", Path()
    categories = Categories.numbered(6)

    def __init__(self, samples):
        self.image_ids = tuple(samples)
        self._samples = samples
        self.read = []

    def sample(self, index, *, annotated=True):
        image_id = self.image_ids[index]
        self.read.append(image_id)
        found = self._samples[image_id]
        if isinstance(found, Exception):
            raise found
        return found


def annotated(name, label=0):
    return Sample(name, Path(name), label, Annotation((Instance(0, half_open(_RIGHT)),)))


def test_unannotated_images_are_left_out_counted_and_named():
    samples = {
        "a": annotated("a"),
        "broken": AnnotationError("broken.xml: box outside of the image"),
        "none": Sample("none", Path("none"), 0, None),
        "unlabeled": annotated("unlabeled", label=None),
        "other": annotated("other", label=3),
    }
    rows = [
        line | {"image_id": name, "is_ground_truth": False}
        for name in samples
        for line in five([_RIGHT] * 5)
    ]
    scores = score_ilsvrc(pd.DataFrame(rows), Listed(samples))
    assert scores.estimate("localization_error_top1").n == 1
    assert scores.counts["listed"] == 5
    assert scores.counts["scored"] == 1
    assert scores.notes[0].startswith("n is 1 of the 5 listed images")
    assert dict(scores.excluded) == {
        "broken": "broken.xml: box outside of the image",
        "none": "it has no annotation",
        "unlabeled": "it has no label",
        "other": "its annotation has no box of its class",
    }
    assert scores.dataset == "drawn"
    del samples["a"]
    rows = [line for line in rows if line["image_id"] != "a"]
    with pytest.raises(ScoreError, match=r"no image can be scored: 'broken': broken.xml"):
        score_ilsvrc(pd.DataFrame(rows), Listed(samples))


def test_partial_runs():
    samples = Listed({name: annotated(name) for name in "abc"})
    rows = pd.DataFrame(five([_RIGHT] * 5))
    with pytest.raises(ScoreError, match=r"2 of the dataset's 3 images have no prediction.*'b'"):
        score_ilsvrc(rows, samples)
    scores = score_ilsvrc(rows, samples, IlsvrcOptions(allow_partial=True))
    assert samples.read == ["a"]
    assert scores.counts["listed"] == 3
    assert scores.estimate("mean_iou").n == 1
    assert "the run has not processed it: 2" in scores.notes[0]


def test_predictions_of_other_images_are_refused():
    rows = pd.DataFrame(five([_RIGHT] * 5)).assign(image_id="z")
    with pytest.raises(ScoreError, match=r"1 of the 1 predicted images are not in the .*'z'"):
        score_ilsvrc(rows, [annotated("a")])


def test_a_run_with_fewer_classes():
    rows = [row("a", (40, 40), 0, 1, _RIGHT, gt=True), row("a", (40, 40), 1, 2, None)]
    scores = one_image(rows)
    assert scores.estimate("localization_error_top1").value == 0
    assert set(scores.omitted) == {"classification_error_top5", "localization_error_top5"}
    with pytest.raises(ScoreError, match="holds the first 2 classes of every image, not 5"):
        scores.estimate("localization_error_top5")
    assert all("top5" not in f.name for b in scores.baselines for f in b.estimates)
    assert scores.per_image["box_right_top5"].isna().all()
    assert scores.per_image["box_right_top1"].tolist() == [True]


def test_a_run_without_the_ground_truth_class():
    scores = one_image(five([_RIGHT] * 5, gt=None))
    assert set(scores.omitted) == {"gt_known_0.3", "gt_known_0.5", "gt_known_0.7", "mean_iou"}
    assert scores.estimate("localization_error_top5").value == 0
    assert scores.per_image["gt_iou"].isna().all()


def test_a_run_of_the_ground_truth_class_alone():
    scores = one_image([row("a", (40, 40), 0, 3, _RIGHT, top=False, gt=True)])
    assert [f.name for f in scores.estimates] == [
        "gt_known_0.3",
        "gt_known_0.5",
        "gt_known_0.7",
        "mean_iou",
    ]
    assert set(scores.omitted.values()) == {
        "the run does not hold the top-1 prediction of every image"
    }
    assert scores.counts["without_box"] == 0
    none = one_image([row("a", (40, 40), 0, 3, None, top=False, gt=True)])
    assert none.counts["without_box"] == 1
    with pytest.raises(ScoreError, match=r"no estimate 'mean_iuo'. Did you mean mean_iou"):
        none.estimate("mean_iuo")


def test_gt_known_is_not_scored_on_the_images_whose_class_was_predicted_alone():
    rows = five([_RIGHT] * 5)
    rows += [
        line | {"image_id": "b", "is_ground_truth": False}
        for line in five([_RIGHT] * 5, labels=(1, 2, 3, 4, 5))
    ]
    scores = score_ilsvrc(pd.DataFrame(rows), [annotated("a"), annotated("b")])
    with pytest.raises(ScoreError, match=r"class of 1 of 2 images: run with classes"):
        scores.estimate("mean_iou")
    assert scores.estimate("localization_error_top5").value == 0.5
    assert scores.per_image["gt_iou"].isna().all()


def _changed(**values):
    rows = five([_RIGHT] * 5)
    rows[1] |= values
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_changed(status="done"), "'a': status must be 'ok' or 'failed', but is 'done'"),
        (_changed(status=None), "'a': status must be 'ok' or 'failed', but is ''"),
        (_changed(status="failed"), "'a': has a failed row and other rows"),
        (_changed(label=0), "'a': class 0 has two rows"),
        (_changed(rank=1), "'a': rank 1 has two rows"),
        (_changed(rank=0), "'a': the rank of a top-k class must be 1 or more, but is 0"),
        (_changed(x0=_NAN), "'a': a box must have four finite coordinates"),
        (_changed(x0=math.inf), "'a': a box must have four finite coordinates"),
        (_changed(x0=25.0), "'a': a box must have x0 <= x1 and y0 <= y1"),
        (_changed(is_ground_truth=True), "'a' takes class 1 for the ground truth, but .* says 0"),
        (_changed(image_id=None), "must name an image in every row"),
        (_changed(label="dog"), "'label' must hold numbers"),
        ([{"image_id": "a"}], "must have the column 'width'"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:40],
)
def test_contradictory_rows_are_refused(rows, message):
    with pytest.raises(ScoreError, match=message):
        one_image(rows)


def test_no_predictions():
    with pytest.raises(ScoreError, match="there are no predictions"):
        one_image(pd.DataFrame(five([None] * 5)).iloc[:0])


def test_images_listed_twice_are_refused():
    with pytest.raises(ScoreError, match="'a' stands twice"):
        score_ilsvrc(pd.DataFrame(five([_RIGHT] * 5)), [annotated("a")] * 2)


def test_center_side_is_checked():
    with pytest.raises(ScoreError, match=r"side must be in \(0, 1\], but is 1.5"):
        TrivialBoxes(1.5)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        IlsvrcOptions(center_side=1.5)


def test_images_of_another_size_than_annotated_are_refused():
    names = [f"img{i}" for i in range(10)]
    rows = pd.DataFrame(
        [line | {"image_id": name} for name in names for line in five([_RIGHT] * 5)]
    )

    def stated(sizes):
        instances = (Instance(0, half_open(_RIGHT)),)
        return [
            Sample(n, Path(n), 0, Annotation(instances, size))
            for n, size in zip(names, sizes, strict=True)
        ]

    samples = stated([(40, 40)] * 9 + [(300, 400)])
    with pytest.raises(ScoreError, match=r"1 images .*'img9' has 40 × 40 .* is of 400 × 300"):
        score_ilsvrc(rows, samples)
    scores = score_ilsvrc(rows, samples, IlsvrcOptions(allow_other_sizes=True))
    assert "1 annotations state another size" in scores.notes[0]
    assert scores.estimate("mean_iou").value == 1


def test_blacklist(tmp_path):
    path = tmp_path / "blacklist.txt"
    path.write_text("2\n3\n")
    assert read_blacklist(path) == (2, 3)
    rows = [line | {"image_id": name} for name in "abc" for line in five([_RIGHT] * 5)]
    samples = Listed({name: annotated(name) for name in "abc"})
    scores = score_ilsvrc(pd.DataFrame(rows), samples, IlsvrcOptions(blacklist=path))
    assert scores.estimate("mean_iou").n == 1
    assert scores.counts["listed"] == 3
    assert "it is blacklisted: 2" in scores.notes[0]
    path.write_text("4")
    with pytest.raises(ScoreError, match="names position 4, but the list has 3 images"):
        score_ilsvrc(pd.DataFrame(rows), samples, IlsvrcOptions(blacklist=path))


def test_bad_blacklists(tmp_path):
    with pytest.raises(ScoreError, match=r"cannot read the blacklist .*absent"):
        read_blacklist(tmp_path / "absent")
    path = tmp_path / "words"
    path.write_text("0\n")
    with pytest.raises(ScoreError, match="one position from 1 on per line, but has '0'"):
        read_blacklist(path)


def test_many_images_take_seconds_at_most():
    names = [f"{i:05d}" for i in range(3000)]
    rows = [line | {"image_id": name} for name in names for line in five([_RIGHT] * 5)]
    scores = score_ilsvrc(pd.DataFrame(rows), [annotated(name) for name in names])
    assert np.array_equal(scores.per_image["gt_iou"], np.ones(3000))
