"""Kinds of errors: drawn cases, a slow program with one test per line of the definition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsl.boxes import box_to_mask
from wsl.data.sample import Annotation, Instance, Sample
from wsl.errors import ScoreError
from wsl.score.protocols.diagnosis import KINDS, DiagnosisOptions, diagnose
from wsl.score.protocols.ilsvrc import score_ilsvrc

SIZE = (100, 100)
NAN = float("nan")


def sample(image_id, *boxes, label=3, ignored=()):
    instances = [Instance(label, box) for box in boxes]
    instances += [Instance(label, box, ignore=True) for box in ignored]
    instances.append(Instance(9, (0, 0, 1, 1)))
    return Sample(image_id, Path(image_id), label, Annotation(tuple(instances), SIZE))


def row(image_id, box, *, label=3, truth=True, rank=1, top=True):
    x0, y0, x1, y1 = box or (NAN,) * 4
    return {
        "image_id": image_id,
        "width": SIZE[1],
        "height": SIZE[0],
        "status": "ok",
        "label": label,
        "rank": rank,
        "score": 0.5,
        "in_top_k": top,
        "is_ground_truth": truth,
        **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
    }


def failed(image_id):
    return dict.fromkeys(row(image_id, None)) | {"image_id": image_id, "status": "failed"}


def kind_of(box, *instances, **kwargs):
    found = diagnose(pd.DataFrame([row("a", box)]), [sample("a", *instances, **kwargs)])
    return found.kinds["a"]


DOG = (20, 20, 60, 60)
CASES = {
    "same": (DOG, [DOG], "right"),
    "half": ((20, 20, 60, 40), [DOG], "right"),
    "any instance": (DOG, [(0, 0, 9, 9), DOG], "right"),
    "less than half": ((20, 20, 60, 39), [DOG], "part"),
    "0.8 inside": ((10, 20, 60, 30), [DOG], "part"),
    "less than 0.8 inside": ((9, 20, 60, 30), [DOG], "shifted"),
    "a dot in the object": ((30, 30, 31, 31), [DOG], "part"),
    "whole image": ((0, 0, 100, 100), [DOG], "too_large"),
    "0.8 covered": ((20, 28, 100, 100), [DOG], "too_large"),
    "less than 0.8 covered": ((0, 21, 100, 100), [(0, 0, 20, 100)], "shifted"),
    "equal, too large first": ((0, 0, 10, 10), [(0, 0, 10, 4), (0, 0, 25, 10)], "too_large"),
    "equal, part first": ((0, 0, 10, 10), [(0, 0, 25, 10), (0, 0, 10, 4)], "part"),
    "two": ((0, 0, 100, 50), [(0, 0, 30, 50), (70, 0, 100, 50)], "several"),
    "halves of two": ((0, 0, 100, 25), [(0, 0, 30, 50), (70, 0, 100, 50)], "several"),
    "half of one of two": ((0, 0, 100, 24), [(0, 0, 30, 50), (70, 0, 100, 48)], "shifted"),
    "one and none of two": ((0, 0, 60, 30), [(0, 0, 29, 30), (70, 0, 100, 30)], "too_large"),
    "two, but one is right": ((0, 0, 40, 50), [(0, 0, 30, 50), (0, 0, 9, 9)], "right"),
    "elsewhere": ((70, 70, 90, 90), [DOG], "background"),
    "touching": ((60, 20, 90, 60), [DOG], "background"),
    "hardly": ((55, 50, 95, 90), [DOG], "background"),
    "IoU 0.1": ((9, 0, 20, 1), [(0, 0, 11, 1)], "shifted"),
    "shifted": ((40, 20, 80, 60), [DOG], "shifted"),
    "no box": (None, [DOG], "no_box"),
    "no area": ((30, 30, 30, 40), [DOG], "background"),
    "an object without area": ((0, 0, 50, 50), [(10, 10, 10, 20)], "background"),
}


@pytest.mark.parametrize("name", CASES)
def test_drawn_cases(name):
    box, instances, kind = CASES[name]
    assert kind_of(box, *instances) == kind


def test_instances_to_be_ignored_and_other_classes_do_not_count():
    assert kind_of((70, 70, 90, 90), DOG, ignored=[(70, 70, 90, 90)]) == "background"
    assert kind_of((0, 0, 1, 1), DOG) == "background"


TOP1 = [
    ("right", [row("a", DOG)]),
    ("wrong_class_box_right", [row("a", DOG, label=5, truth=False)]),
    ("wrong_class_box_wrong", [row("a", (70, 70, 90, 90), label=5, truth=False)]),
    ("wrong_class_box_wrong", [row("a", None, label=5, truth=False)]),
    # The second guess would be right.
    ("wrong_class_box_wrong", [row("a", None, label=5, truth=False), row("a", DOG, rank=2)]),
    ("no_box", [row("a", None)]),
    ("failed", [failed("a")]),
]


@pytest.mark.parametrize(("kind", "rows"), TOP1)
def test_the_class_of_the_first_guess_comes_before_its_box(kind, rows):
    found = diagnose(pd.DataFrame(rows), [sample("a", DOG)], DiagnosisOptions(metric="top1"))
    assert found.kinds == {"a": kind}


def test_with_the_class_known_the_guess_does_not_matter():
    rows = [row("a", None, label=5, truth=False), row("a", DOG, rank=7, top=False)]
    assert diagnose(pd.DataFrame(rows), [sample("a", DOG)]).kinds == {"a": "right"}


def test_a_run_that_lacks_the_class_of_an_image_is_not_diagnosed_by_it():
    rows = pd.DataFrame([row("a", DOG), row("b", DOG, label=5, truth=False)])
    samples = [sample("a", DOG), sample("b", DOG)]
    with pytest.raises(ScoreError, match="1 images have no row of the ground-truth class: take"):
        diagnose(rows, samples)
    found = diagnose(rows, samples, DiagnosisOptions(metric="top1"))
    assert found.kinds == {"a": "right", "b": "wrong_class_box_right"}


# ---- a slow program on pixels ----


def slow_kind(box, instances):
    if box is None:
        return "no_box"
    mask = box_to_mask(box, SIZE)
    truths = [box_to_mask(instance, SIZE) for instance in instances]
    shared = [int((mask & truth).sum()) for truth in truths]
    ious = [
        overlap / int((mask | truth).sum()) for overlap, truth in zip(shared, truths, strict=True)
    ]
    best = ious.index(max(ious))
    if ious[best] >= 0.5:
        return "right"
    covered = [overlap / int(t.sum()) for overlap, t in zip(shared, truths, strict=True)]
    if sum(share >= 0.5 for share in covered) >= 2:
        return "several"
    if shared[best] / int(mask.sum()) >= 0.8:
        return "part"
    if covered[best] >= 0.8:
        return "too_large"
    return "background" if ious[best] < 0.1 else "shifted"


def box_of(side):
    spans = st.tuples(st.integers(0, side), st.integers(0, side)).map(sorted)
    filled = spans.filter(lambda span: span[0] < span[1])
    return st.tuples(filled, filled).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


# Few different coordinates, so that the limits are met exactly now and then.
BOXES = st.one_of(box_of(10).map(lambda box: tuple(10 * value for value in box)), box_of(100))
IMAGES = st.lists(
    st.tuples(
        st.one_of(st.none(), BOXES),
        st.lists(BOXES, min_size=1, max_size=4),
        st.sampled_from(["right", "wrong", "failed"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60)
@given(IMAGES)
def test_every_image_is_of_exactly_one_kind_the_slow_program_s(images):
    rows, samples, known, top1 = [], [], {}, {}
    for number, (box, instances, state) in enumerate(images):
        image_id = str(number)
        samples.append(sample(image_id, *instances))
        if state == "failed":
            rows.append(failed(image_id))
            known[image_id] = top1[image_id] = "failed"
            continue
        known[image_id] = top1[image_id] = slow_kind(box, instances)
        if state == "wrong":
            end = "right" if top1[image_id] == "right" else "wrong"
            top1[image_id] = f"wrong_class_box_{end}"
            rows.append(row(image_id, box, label=5, truth=False))
        rows.append(row(image_id, box, rank=1 + (state == "wrong")))
    frame = pd.DataFrame(rows, columns=list(row("x", None)))
    scores = score_ilsvrc(frame, samples)
    for metric, expected in (("gt_known", known), ("top1", top1)):
        found = diagnose(frame, samples, DiagnosisOptions(metric=metric))
        assert found.kinds == expected
        names = [estimate.name for estimate in found.estimates]
        assert names == [kind for kind in KINDS if metric == "top1" or "class" not in kind]
        assert set(names) | set(found.omitted) == set(KINDS)
        assert sum(estimate.value for estimate in found.estimates) == pytest.approx(1)
        for baseline in found.baselines:
            assert sum(estimate.value for estimate in baseline.estimates) == pytest.approx(1)
    # The kinds add up to the estimates of the ILSVRC rules.
    share = {estimate.name: estimate.value for estimate in found.estimates}
    error = scores.estimate("localization_error_top1").value
    assert 1 - share["right"] == pytest.approx(error)
    wrong = share["wrong_class_box_right"] + share["wrong_class_box_wrong"] + share["failed"]
    assert wrong == pytest.approx(scores.estimate("classification_error_top1").value)
    if any(state != "failed" for _, _, state in images):
        gt_known = diagnose(frame, samples).estimate("right").value
        assert gt_known == scores.estimate("gt_known_0.5").value


# ---- tables ----


@pytest.fixture
def several_images():
    samples = [
        sample("small", (0, 0, 30, 33)),
        sample("tenth", (0, 0, 10, 100)),
        sample("medium", (0, 0, 10, 100), (50, 0, 90, 100), label=4),
        sample("large", (0, 0, 41, 100)),
        replace(sample("unknown", DOG), annotation=Annotation((Instance(3, DOG),))),
    ]
    rows = [
        row("small", (0, 0, 30, 33)),
        row("tenth", (0, 0, 10, 100)),
        row("medium", None, label=4),
        row("large", (0, 0, 20, 100)),
        failed("unknown"),
    ]
    return pd.DataFrame(rows), samples


def test_sizes_are_those_of_the_largest_instance(several_images):
    found = diagnose(*several_images)
    shares = found.per_image.set_index("image_id")["object_fraction"]
    assert shares["small":"large"].tolist() == [0.099, 0.1, 0.4, 0.41]
    assert np.isnan(shares["unknown"])
    sizes = found.by_size()
    assert sizes.index.tolist() == ["small", "medium", "large", "unknown"]
    assert sizes["n"].tolist() == [1, 2, 1, 1]
    assert sizes.columns.tolist() == ["n", *KINDS]
    assert sizes.loc["small", "right"] == 1
    assert sizes.loc["medium", "right"] == sizes.loc["medium", "no_box"] == 0.5
    assert sizes.loc["large", "part"] == sizes.loc["unknown", "failed"] == 1


def test_the_overlaps_are_told(several_images):
    table = diagnose(*several_images).per_image.set_index("image_id")
    assert table.loc["large", ["within", "covered"]].tolist() == [1, 20 / 41]
    assert (
        table.loc["medium", ["iou", "within", "covered", "instances_covered"]].tolist() == [0] * 4
    )


def test_counts_baselines_and_notes(several_images):
    frame, samples = several_images
    listed = [*samples, Sample("later", Path("later"), 3)]
    with pytest.raises(ScoreError, match="1 of the dataset's 6 images have no prediction"):
        diagnose(frame, listed)
    found = diagnose(frame, listed, DiagnosisOptions(allow_partial=True))
    assert found.counts == {"listed": 6, "scored": 5, "failed": 1}
    whole = found.baselines[0]
    assert [f.value for f in whole.estimates if f.name in ("too_large", "several")] == [0.6, 0.2]
    assert found.notes == (
        "n is 5 of the 6 listed images, without those that cannot be scored "
        "(the run has not processed it: 1)",
        "1 images failed and count as wrong",
        "scored: the ground-truth class's box",
    )


def test_an_unreadable_annotation_is_left_out_and_named():
    frame = pd.DataFrame([row("a", DOG), row("b", DOG)])
    found = diagnose(frame, [sample("a", DOG), Sample("b", Path("b"), 3)])
    assert found.excluded == (("b", "it has no annotation"),)
    assert found.counts["scored"] == 1


# ---- refusals ----


def test_other_images_are_refused():
    with pytest.raises(ScoreError, match="1 of the 1 predicted images are not in the dataset"):
        diagnose(pd.DataFrame([row("a", DOG)]), [sample("b", DOG)])


def test_no_annotated_image_is_refused():
    with pytest.raises(ScoreError, match="no image can be scored: 'a': it has no label"):
        diagnose(pd.DataFrame([row("a", DOG)]), [Sample("a", Path("a"))])


def test_runs_without_the_judged_boxes_are_refused():
    guess = pd.DataFrame([row("a", DOG, label=5, truth=False)])
    with pytest.raises(ScoreError, match="1 images have no row of the ground-truth class: take"):
        diagnose(guess, [sample("a", DOG)])
    known = pd.DataFrame([row("a", DOG, rank=40, top=False)])
    with pytest.raises(ScoreError, match="some images have no top-1 prediction: take"):
        diagnose(known, [sample("a", DOG)], DiagnosisOptions(metric="top1"))
