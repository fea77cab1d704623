"""What holds for all protocols: who is scored, from what sizes, beside which baselines."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scored_runs import MadeRun, made_images, write_run

from wsl.boxes import box_iou
from wsl.config.options import choices
from wsl.data.sample import Annotation, Instance, Sample
from wsl.errors import AnnotationError, ScoreError
from wsl.localize.prediction import Prediction
from wsl.masks import RunLengths, mask_iou, mask_to_box
from wsl.score.evaluator import prepare_map
from wsl.score.protocols import ProtocolOptions
from wsl.score.protocols.ilsvrc import IlsvrcOptions
from wsl.score.protocols.mask_iou import MaskIoUOptions
from wsl.score.protocols.max_box_acc import MaxBoxAcc, MaxBoxAccOptions
from wsl.score.protocols.pointing import PointingOptions
from wsl.score.protocols.pxap import PxAP, PxAPOptions

PROTOCOLS = choices(ProtocolOptions)
COUNT = 9
# The protocols that score maps, and all that score the ground-truth class alone.
MAPS = ["max_box_acc", "pxap", "heatmap", "pointing"]
KNOWN = [*MAPS, "mask_iou", "boundary", "diagnosis"]


def options_of(protocol, **options):
    fast = {"step": 0.05} if protocol in ("max_box_acc", "pxap") else {}
    return PROTOCOLS[protocol](**(fast | options))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> MadeRun:
    return write_run(tmp_path_factory.mktemp("made") / "run", made_images(COUNT))


def score(protocol, run, **options):
    return options_of(protocol, **options).score(run.folder, run.dataset)


def changed(path, images, **kwargs):
    return write_run(path / "run", images, **kwargs)


# ---- the contract


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_says_what_it_is(protocol):
    assert PROTOCOLS[protocol].summary
    options = PROTOCOLS[protocol]()
    assert options.protocol == protocol
    fields = type(options).model_fields
    assert [name for name, field in fields.items() if not field.description] == ["protocol"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_scores_all_images_with_intervals_beside_baselines(made, protocol):
    scores = score(protocol, made)
    assert scores.dataset == "listed val"
    assert scores.counts["listed"] == scores.counts["scored"] == COUNT
    assert scores.counts["failed"] == 0
    assert scores.excluded == ()
    assert not any(note.startswith("n is") for note in scores.notes)
    assert scores.estimates
    for one in scores.estimates:
        assert one.n == COUNT
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert one.low < one.high
    if protocol == "coco":  # the baselines have no confidence by which to rank
        assert scores.baselines == ()
        return
    assert scores.baselines
    names = [one.name for one in scores.estimates]
    for baseline in scores.baselines:
        assert baseline.note
        assert baseline.estimates
        assert {one.name for one in baseline.estimates} <= set(names)
        assert all(one.n == COUNT for one in baseline.estimates)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_are_json_and_the_same_again(made, protocol):
    scores = score(protocol, made)
    stored = scores.to_json()
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert set(stored["estimates"]) == {one.name for one in scores.estimates}
    assert score(protocol, made).to_json() == stored


# ---- who is scored


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_image_that_failed_is_wrong_and_not_forgotten(made, tmp_path, protocol):
    images = made_images(COUNT)
    images[4].failed = True
    run = changed(tmp_path, images)
    whole, scores = score(protocol, made), score(protocol, run)
    assert scores.counts["scored"] == COUNT
    assert scores.counts["failed"] == 1
    assert "1 images failed and count as wrong" in scores.notes
    name = scores.estimates[-1].name if protocol == "diagnosis" else scores.estimates[0].name
    assert scores.estimate(name).n == COUNT
    better = [
        (a.value > b.value) == a.higher_is_better
        for a, b in zip(whole.estimates, scores.estimates, strict=False)
        if a.name == b.name and a.value != b.value and a.name != "failed"
    ]
    assert better
    if protocol != "diagnosis":
        assert all(better)


def test_a_failed_image_counts_with_the_exact_values(made, tmp_path):
    images = made_images(COUNT)
    images[4].failed = True
    run = changed(tmp_path, images)
    ious = [mask_iou(one.found, one.true) * (not one.failed) for one in images]
    assert score("mask_iou", run).estimates[0].value == pytest.approx(np.mean(ious))
    peer = MaxBoxAcc(MaxBoxAccOptions(step=0.05))
    for one in images:
        map_ = np.zeros((224, 224)) if one.failed else prepare_map(one.map_.astype(float))
        peer.add(map_, [mask_to_box(one.true)], one.size, name=one.image_id)
    expected = {one.name: one.value for one in peer.scores().estimates}
    assert {one.name: one.value for one in score("max_box_acc", run).estimates} == expected


@pytest.mark.parametrize("protocol", KNOWN)
def test_a_run_of_the_predicted_classes_is_refused_with_what_to_do(tmp_path, protocol):
    images = made_images(COUNT)
    images[2].predicted = (5, 4)
    run = changed(tmp_path, images)
    with pytest.raises(ScoreError, match=r"run with classes\.select=ground_truth, or both"):
        score(protocol, run)


def test_gt_known_of_a_run_of_the_predicted_classes_is_omitted(tmp_path):
    images = made_images(COUNT)
    images[2].predicted = (5, 4)
    scores = score("ilsvrc", changed(tmp_path, images))
    assert scores.estimate("localization_error_top1").n == COUNT
    with pytest.raises(ScoreError, match="the ground-truth class of 8 of 9 images"):
        scores.estimate("gt_known_0.5")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_incomplete_run_is_refused_or_counted(made, tmp_path, protocol):
    run = changed(tmp_path, made_images(COUNT)[:6])
    run.images = made.images
    with pytest.raises(ScoreError, match=r"3 of the dataset's 9 images have no prediction.*img06"):
        score(protocol, run)
    scores = score(protocol, run, allow_partial=True)
    assert scores.notes[0].startswith("n is 6 of the 9 listed images")
    assert "the run has not processed it: 3" in scores.notes[0]
    assert [image_id for image_id, _ in scores.excluded] == ["img06", "img07", "img08"]
    assert all(one.n == 6 for one in scores.estimates)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predictions_of_other_images_are_refused(made, tmp_path, protocol):
    images = made_images(COUNT)
    images[3].image_id = "other"
    run = changed(tmp_path, images)
    run.images = made.images
    with pytest.raises(ScoreError, match="1 of the 9 predicted images are not in the dataset"):
        score(protocol, run)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_images_that_cannot_be_scored_are_excluded_and_named(made, protocol):
    run = replace(made, samples={"img01": AnnotationError("img01.xml: it is damaged")})
    scores = score(protocol, run)
    assert dict(scores.excluded) == {"img01": "img01.xml: it is damaged"}
    assert scores.notes[0].startswith("n is 8 of the 9 listed images")
    assert scores.counts["listed"] == 9
    assert all(one.n == 8 for one in scores.estimates)


# ---- sizes


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_images_of_another_size_than_annotated_are_refused_with_both(made, protocol):
    sample = made.images[3].sample
    height, width = made.images[3].size
    stated = replace(sample.annotation, size=(2 * height, 2 * width))
    run = replace(made, samples={"img03": replace(sample, annotation=stated)})
    with pytest.raises(
        ScoreError, match=f"'img03' has {width} × {height} .* is of {2 * width} × {2 * height}"
    ):
        score(protocol, run)


@pytest.mark.parametrize("protocol", ["max_box_acc", "heatmap"])
def test_maps_of_halved_images_score_as_those_of_the_whole_ones_when_allowed(
    made, tmp_path, protocol
):
    doubled = {}
    for one in made.images:
        instance = one.sample.annotation.instances[0]
        box = tuple(2 * end for end in instance.box)
        annotation = Annotation(
            (replace(instance, box=box, mask=None),), (2 * one.size[0], 2 * one.size[1])
        )
        doubled[one.image_id] = replace(one.sample, annotation=annotation)
    run = replace(made, samples=doubled)
    with pytest.raises(ScoreError, match="run the images as annotated"):
        score(protocol, run)
    found = score(protocol, run, allow_other_sizes=True)
    whole = {one.name: one.value for one in score(protocol, made).estimates}
    assert {one.name: one.value for one in found.estimates} == pytest.approx(whole, abs=0.05)
    assert found.counts["scored"] == COUNT


def stored_maps(folder, images, suffix=".npy"):
    folder.mkdir()
    for one in images:
        np.save(folder / f"{one.image_id}{suffix}", prepare_map(one.map_.astype(float)))
    return folder


@pytest.mark.parametrize("protocol", ["max_box_acc", "pxap"])
@pytest.mark.parametrize("suffix", [".npy", ".jpg.npy"], ids=["plain", "image's suffix"])
def test_stored_maps_score_as_those_of_the_run(made, tmp_path, protocol, suffix):
    folder = stored_maps(tmp_path / "maps", made.images)
    dataset = made.dataset
    own = score(protocol, made)
    others = options_of(protocol, maps=folder).score(None, dataset)
    assert others.estimates == own.estimates
    assert others.baselines == own.baselines


@pytest.mark.parametrize("protocol", ["ilsvrc", "diagnosis", "mask_iou", "boundary", "coco"])
def test_protocols_of_runs_need_one(made, protocol):
    with pytest.raises(ScoreError, match=f"the protocol {protocol} scores a run"):
        options_of(protocol).score(None, made.dataset)


@pytest.mark.parametrize("protocol", MAPS)
def test_maps_come_from_somewhere(made, tmp_path, protocol):
    with pytest.raises(ScoreError, match="neither a run nor a folder of maps"):
        options_of(protocol).score(None, made.dataset)
    bare = changed(tmp_path, made.images, maps=False)
    with pytest.raises(ScoreError, match=r"has no maps: run with run\.maps=true, or name a folder"):
        score(protocol, bare)


@pytest.mark.parametrize("protocol", ["max_box_acc", "pxap"])
def test_maps_outside_0_and_1_are_refused(made, tmp_path, protocol):
    folder = stored_maps(tmp_path / "maps", made.images)
    np.save(folder / "img02.npy", np.full((224, 224), 3.0))
    with pytest.raises(ScoreError, match=r"map of img02: must be in \[0, 1\], but goes from 3"):
        options_of(protocol, maps=folder).score(None, made.dataset)


@pytest.mark.parametrize("protocol", MAPS)
def test_a_folder_that_lacks_maps_is_refused_or_counted(made, tmp_path, protocol):
    folder = stored_maps(tmp_path / "maps", made.images[1:])
    with pytest.raises(ScoreError, match="no map of 1 of the 9 images, such as img00"):
        options_of(protocol, maps=folder).score(None, made.dataset)
    scores = options_of(protocol, maps=folder, allow_partial=True).score(None, made.dataset)
    assert scores.excluded == (("img00", "it has no map"),)
    assert "it has no map: 1" in scores.notes[0]


# ---- ignored instances and masks


def two_objects(made, *, ignore):
    """The first image with a second object of its class; it may be marked to be ignored."""
    first = made.images[0]
    second = np.zeros(first.size, dtype=bool)
    second[:20, :20] = True
    instance = Instance(first.label, (0, 0, 20, 20), RunLengths.of(second).counts, ignore)
    sample = first.sample
    annotation = replace(sample.annotation, instances=(*sample.annotation.instances, instance))
    return replace(made, samples={first.image_id: replace(sample, annotation=annotation)}), second


def test_each_protocol_ignores_by_its_own_rule(made):
    ignored, second = two_objects(made, ignore=True)
    for protocol in ("ilsvrc", "max_box_acc", "heatmap", "diagnosis"):
        assert score(protocol, ignored).estimates == score(protocol, made).estimates
    first = made.images[0]
    out = second & ~first.true
    ious = [mask_iou(one.found, one.true) for one in made.images]
    ious[0] = mask_iou(first.found & ~out, first.true & ~out)
    assert score("mask_iou", ignored).estimates[0].value == pytest.approx(np.mean(ious))
    peer = PxAP(PxAPOptions(step=0.05))
    for one in made.images:
        map_ = prepare_map(one.map_.astype(float))
        peer.add(map_, [one.true], ignore=second if one is first else None, name=one.image_id)
    assert score("pxap", ignored).estimates[0].value == peer.scores().estimates[0].value


def test_ignored_instances_are_targets_of_the_pointing_game(made, tmp_path):
    images = made_images(COUNT)
    images[0].map_ = np.zeros_like(images[0].map_)
    images[0].map_[0, 0] = 1
    run = changed(tmp_path, images)
    plain = score("pointing", run, tolerance=1)
    ignored, _ = two_objects(run, ignore=True)
    more = score("pointing", ignored, tolerance=1)
    assert more.estimates[0].value == pytest.approx(plain.estimates[0].value + 1 / COUNT)


def test_masks_of_another_size_are_resized_once(made):
    """PxAP takes the mask as it is stored, mask_iou in the image's size."""
    first = made.images[0]
    stored = np.kron(first.true, np.ones((3, 3))) > 0
    stored[::2] &= np.random.default_rng(0).random(stored[::2].shape) < 0.7
    sample = first.sample
    instance = replace(sample.annotation.instances[0], stored_mask=RunLengths.of(stored))
    annotation = replace(sample.annotation, instances=(instance,))
    run = replace(made, samples={first.image_id: replace(sample, annotation=annotation)})
    peer = PxAP(PxAPOptions(step=0.05))
    for one in made.images:
        mask = stored if one is first else one.true
        peer.add(prepare_map(one.map_.astype(float)), [mask], name=one.image_id)
    assert score("pxap", run).estimates[0].value == peer.scores().estimates[0].value
    assert score("mask_iou", run).estimates == score("mask_iou", made).estimates


def test_an_image_without_an_object_counts_where_masks_are_scored(made):
    first = made.images[0]
    sample = replace(first.sample, annotation=Annotation((), first.size))
    run = replace(made, samples={first.image_id: sample})
    assert score("pxap", run).estimates[0].n == COUNT
    assert score("mask_iou", run).estimates[0].n == COUNT
    found = score("max_box_acc", run)
    assert found.excluded == (("img00", "its annotation has no box of its class"),)


@pytest.mark.parametrize("protocol", ["mask_iou", "boundary", "pxap"])
def test_boxes_alone_do_not_do_for_masks(made, protocol):
    first = made.images[0].sample
    boxes = tuple(replace(one, mask=None) for one in first.annotation.instances)
    sample = replace(first, annotation=replace(first.annotation, instances=boxes))
    run = replace(made, samples={first.image_id: sample})
    with pytest.raises(ScoreError, match="'img00' has boxes alone, and this protocol needs masks"):
        score(protocol, run)


# ---- values of whole runs


def test_values_are_those_of_the_made_objects(made):
    ious = [mask_iou(one.found, one.true) for one in made.images]
    assert score("mask_iou", made).estimates[0].value == pytest.approx(np.mean(ious))
    boxes = [box_iou([mask_to_box(i.found)], [mask_to_box(i.true)])[0, 0] for i in made.images]
    found = score("ilsvrc", made)
    assert found.estimate("mean_iou").value == pytest.approx(np.mean(boxes))
    assert found.estimate("classification_error_top1").value == pytest.approx(1 / 3)
    hits = []
    for one in made.images:
        y, x = np.unravel_index(one.map_.argmax(), one.size)
        rows, columns = np.nonzero(one.true)
        hits.append(np.hypot(rows - y, columns - x).min() < 15)
    assert score("pointing", made).estimates[0].value == pytest.approx(np.mean(hits))


def test_the_pointing_game_has_a_pair_for_each_class(made, tmp_path):
    images = made_images(COUNT)
    run = changed(tmp_path, images)
    first = images[0]
    second = Instance(5, (0, 0, 5, 5))
    annotation = replace(
        first.sample.annotation, instances=(*first.sample.annotation.instances, second)
    )
    sample = Sample(first.image_id, first.sample.path, None, annotation)
    run.samples = {first.image_id: sample}
    scores = score("pointing", run)
    assert (scores.counts["scored"], scores.counts["pairs"]) == (COUNT, COUNT + 1)
    assert scores.estimates[0].n == COUNT + 1
    voc = run.dataset
    voc.name = "voc val"
    difficult = replace(second, ignore=True)
    run.samples[first.image_id] = replace(
        sample, annotation=replace(annotation, instances=(annotation.instances[0], difficult))
    )
    voc = run.dataset
    voc.name = "voc val"
    assert PointingOptions().score(run.folder, voc).counts["pairs"] == COUNT


# ---- the centered box


def test_the_side_of_the_centered_box_is_the_tuned_one(tmp_path):
    tuned = {"dataset": "drawn, subset 1/2", "center_side": 0.6}
    boxes = IlsvrcOptions().boxes({"tuned_on": tuned})
    assert boxes.side == 0.6
    assert "drawn, subset 1/2" in boxes.origin
    given = IlsvrcOptions(center_side=0.9).boxes({"tuned_on": tuned})
    assert (given.side, given.origin) == (0.9, "given by score.center_side")
    assert IlsvrcOptions().boxes({}).side == 0.75


def test_a_failed_image_of_unknown_size_is_wrong_for_boxes_and_refused_for_masks(made, tmp_path):
    images = made_images(COUNT)
    run = changed(tmp_path, images, predictions={"img04": Prediction.failed("img04", "truncated")})
    sample = images[4].sample
    unsized = replace(sample, annotation=replace(sample.annotation, size=None))
    run.samples = {"img04": unsized}
    for protocol in ("max_box_acc", "heatmap", "ilsvrc"):
        assert score(protocol, run).counts["scored"] == COUNT
    with pytest.raises(ScoreError, match="'img04' could not be read, and its annotation states no"):
        MaskIoUOptions().score(run.folder, run.dataset)


def test_stored_images_of_one_array_per_class(made, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for index, one in enumerate(made.images):
        map_ = prepare_map(one.map_.astype(float))
        if index % 3 == 0:
            np.savez_compressed(folder / f"{one.image_id}.npz", map_)
        elif index % 3 == 1:
            np.savez(folder / f"{one.image_id}.npz", **{str(one.label): map_, "5": 1 - map_})
        else:
            gray = np.rint(map_ * 65535).astype(np.uint16)
            cv2.imwrite(str(folder / f"{one.image_id}.png"), gray)
    others = options_of("max_box_acc", maps=folder).score(None, made.dataset)
    assert others.estimates == score("max_box_acc", made).estimates
