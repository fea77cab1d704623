"""The way back from Label Studio and CVAT: their own files, into a run and into annotations."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from export_cases import (
    CATEGORIES,
    EMPTY,
    HOLE,
    LEFT,
    RIGHT,
    drawn,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from hypothesis import given
from label_studio_brush_rle_rs import encode_rle
from strategies import masks

from wsl.data.readers.coco import CocoDataset
from wsl.errors import AnnotationError, ConfigError, DataError, RunError
from wsl.export.annotated import polygon_mask
from wsl.export.corrections import import_corrections
from wsl.export.formats.cvat import read_cvat
from wsl.export.formats.label_studio import _read_brush, brush_rle, read_label_studio
from wsl.masks import decode_rle, mask_to_box
from wsl.run.folder import RunFolder
from wsl.score.protocols.mask_iou import MaskIoUOptions


def accepted(folder: Path) -> list[dict]:
    """Label Studio's JSON export of tasks whose predictions were submitted as they are."""
    tasks = []
    for path in sorted(folder.glob("tasks-*.json")):
        for number, task in enumerate(json.loads(path.read_text()), len(tasks) + 1):
            results = [one["result"] for one in task.get("predictions", ())]
            annotation = {
                "id": number,
                "completed_by": 1,
                "result": [
                    {**region, "origin": "prediction", "score": 0.5}
                    for result in results
                    for region in result
                ],
                "was_cancelled": False,
                "ground_truth": False,
                "lead_time": 3.2,
                "created_at": "2026-01-01T00:00:00Z",
            }
            tasks.append({"id": number, "annotations": [annotation], **copy.deepcopy(task)})
    return tasks


def write_tasks(path: Path, tasks: list[dict]) -> Path:
    path.write_text(json.dumps(tasks))
    return path


def corrected_by(
    tool: str, tmp_path: Path, run: Path, dataset=None, shapes=("box", "mask")
) -> Path:
    """Export a run and give it back as the tool does when nothing was changed."""
    out = tmp_path / tool
    export(run, tool, out, dataset=dataset, classes="all", shapes=shapes)
    if tool == "label_studio":
        return write_tasks(tmp_path / "project-1.json", accepted(out))
    path = tmp_path / "task_1.zip"
    root = ET.parse(out / "annotations.xml").getroot()
    for element in root.findall("image"):
        element.set("subset", "default")
        element.set("task_id", "7")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.xml", ET.tostring(root))
    return path


def objects_of(run: Path) -> dict:
    return {
        (one.image_id, each.label): each
        for one in RunFolder(run).predictions()
        for each in one.localizations
        if each.run_lengths.area
    }


@pytest.mark.parametrize("known", [True, False], ids=["dataset", "no dataset"])
@pytest.mark.parametrize("tool", ["label_studio", "cvat"])
def test_what_was_not_changed_comes_back(tmp_path, tool, known):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions) if known else None
    run = write_run(tmp_path / "run", predictions)
    path = corrected_by(tool, tmp_path, run, dataset)
    summary = import_corrections(run, [path], tmp_path / "new", classes="all", dataset=dataset)
    # all but the image that could not be read
    assert (summary.images, summary.corrected, summary.objects) == (13, 12, 11)
    assert (summary.unchanged, summary.changed) == (11, 0)
    assert (summary.added, summary.removed) == (0, 0)
    assert summary.mean_iou == 1
    before, after = objects_of(run), objects_of(tmp_path / "new")
    assert set(after) == set(before)
    for key, one in after.items():
        old = before[key]
        assert np.array_equal(one.mask, old.mask)
        np.testing.assert_allclose(one.box, old.box or mask_to_box(old.mask), atol=1e-4)
        assert (one.rank, one.score, one.quality) == (old.rank, old.score, old.quality)
    ids = [one.image_id for one in RunFolder(tmp_path / "new").predictions()]
    assert ids == [one.image_id for one in predictions]


def region(kind: str, name: str, size: tuple[int, int], **value) -> dict:
    """A region as Label Studio's interface makes it."""
    return {
        "id": f"x{len(value)}{kind[:3]}",
        "type": kind,
        "from_name": kind,
        "to_name": "image",
        "origin": "manual",
        "image_rotation": 0,
        "original_width": size[1],
        "original_height": size[0],
        "value": {**value, kind: [name]},
    }


def rectangle(x: float) -> dict:
    return region("rectanglelabels", "hen", (4, 6), x=x, y=0, width=10, height=10)


def brush_of(mask: np.ndarray, name: str) -> dict:
    pixels = np.repeat(mask[:, :, None], 4, axis=2).ravel() * 255
    code = encode_rle(pixels.tolist(), 8, [3, 4, 8, 16])  # Label Studio's own
    return region("brushlabels", name, mask.shape, format="rle", rle=list(code))


NEW = drawn("..##..", ".####.", ".####.", "..##..")


@pytest.fixture
def correction(tmp_path):
    """A run, and tasks in which a person has changed all there is to change."""
    predictions = [
        image("kept", found(LEFT, 0)),
        image("redrawn", found(LEFT, 0)),
        image("polygon", found(LEFT, 0)),
        image("emptied", found(LEFT, 1)),
        image("another", found(LEFT, 0)),
        image("added", found(EMPTY, 0), found(RIGHT, 2, rank=2, truth=False)),
        image("boxed", found(LEFT, 0)),
        image("skipped", found(LEFT, 2)),
        image("not seen", found(LEFT, 2)),
    ]
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    export(run, "label_studio", tmp_path / "ls", classes="all")
    tasks = {task["data"]["image_id"]: task for task in accepted(tmp_path / "ls")}
    result = {key: task["annotations"][0]["result"] for key, task in tasks.items()}
    result["redrawn"][:] = [brush_of(NEW, "tench")]
    points = [[0, 0], [50, 0], [50, 100], [0, 100]]
    result["polygon"][:] = [region("polygonlabels", "tench", (4, 6), points=points, closed=True)]
    result["emptied"].clear()
    for one in result["another"]:
        one["value"][one["type"]] = ["hen"]
    result["added"].append(brush_of(NEW, "tench"))
    box = next(one for one in result["boxed"] if one["type"] == "rectanglelabels")
    box["value"]["width"] = 50
    result["boxed"][:] = [box, region("keypointlabels", "tench", (4, 6), x=1, y=2)]
    tasks["skipped"]["annotations"][0]["was_cancelled"] = True
    tasks["not seen"]["annotations"].clear()
    path = write_tasks(tmp_path / "export.json", list(tasks.values()))
    return run, path, dataset


def test_all_kinds_of_corrections(tmp_path, correction):
    run, path, dataset = correction
    summary = import_corrections(run, [path], tmp_path / "new", classes="all", dataset=dataset)
    after = objects_of(tmp_path / "new")
    assert set(after) == {
        *(("kept", 0), ("redrawn", 0), ("polygon", 0), ("another", 1), ("added", 0)),
        *(("added", 2), ("boxed", 0), ("skipped", 2), ("not seen", 2)),
    }
    assert np.array_equal(after["redrawn", 0].mask, NEW)
    assert after["redrawn", 0].box == mask_to_box(NEW)
    half = drawn("###...", "###...", "###...", "###...")
    assert np.array_equal(after["polygon", 0].mask, half)
    assert np.array_equal(after["boxed", 0].mask, half)  # the old mask, inside of the new box
    assert after["boxed", 0].box == (0, 0, 3, 4)
    assert (after["another", 1].rank, after["another", 1].score) == (2, 0.0)
    assert after["another", 1].is_ground_truth
    assert after["added", 2].is_ground_truth
    assert (summary.corrected, summary.objects, summary.skipped) == (7, 7, 1)
    assert (summary.unchanged, summary.changed, summary.added, summary.removed) == (2, 3, 2, 2)
    assert summary.text().splitlines() == [
        "7 of 9 images were corrected; they have 7 objects",
        "classes of an image: 2 unchanged, 3 changed, 2 added, 2 removed",
        f"mean IoU of the masks before and after: {100 * summary.mean_iou:.1f} %",
        "shapes that are no box, polygon or mask, left out: 1",
    ]


def test_the_annotations_are_a_dataset_of_the_corrected_images(tmp_path, correction):
    run, path, dataset = correction
    import_corrections(run, [path], tmp_path / "new", classes="all", dataset=dataset)
    file = tmp_path / "new/annotations/instances_corrected.json"
    truth = CocoDataset(dataset.root, CATEGORIES, annotations=file)
    assert truth.image_ids == (
        *("kept", "redrawn", "polygon", "emptied", "another", "added", "boxed"),
    )
    for sample in truth:
        assert sample.path.is_file()
    masks = [
        decode_rle(one.mask, (4, 6)).tolist()
        for one in truth.sample(5).annotation.instances
        if one.mask
    ]
    assert masks == [RIGHT.tolist(), NEW.tolist()]
    assert truth.sample(3).annotation.instances == ()


def test_scored_before_and_after_and_exported_again(tmp_path):
    predictions = [image(f"i{n}", found(LEFT, n % 2)) for n in range(4)]
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    export(run, "label_studio", tmp_path / "ls")
    tasks = accepted(tmp_path / "ls")
    for task in tasks[:2]:
        (name,) = task["predictions"][0]["result"][1]["value"]["brushlabels"]
        task["annotations"][0]["result"] = [brush_of(NEW, name)]
    path = write_tasks(tmp_path / "export.json", tasks)
    new = tmp_path / "new"
    import_corrections(run, [path], new, dataset=dataset)
    file = new / "annotations/instances_corrected.json"
    truth = CocoDataset(dataset.root, CATEGORIES, annotations=file)
    before, after = (
        MaskIoUOptions().score(RunFolder(folder), truth).estimate("mask_iou").value
        for folder in (run, new)
    )
    overlap = (NEW & LEFT).sum() / (NEW | LEFT).sum()
    assert before == pytest.approx((2 + 2 * overlap) / 4)
    assert after == 1
    export(new, "coco", tmp_path / "coco", dataset=dataset)
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert [item["area"] for item in content["annotations"]] == [NEW.sum()] * 2 + [LEFT.sum()] * 2


@given(masks(9))
def test_brushes_of_either_writer_are_read(mask):
    assert np.array_equal(_read_brush(brush_rle(mask), mask.shape), mask)
    theirs = brush_of(mask, "tench")["value"]["rle"]
    assert np.array_equal(_read_brush(theirs, mask.shape), mask)


def test_a_turned_rectangle_is_the_box_around_it(tmp_path):
    # 2 × 4 pixels of an image of 10 × 10, turned by 90° around its corner (5, 2)
    turned = region(
        "rectanglelabels", "hen", (10, 10), x=50, y=20, width=20, height=40, rotation=90
    )
    task = {
        "data": {"image": "/data/local-files/?d=a%20b.jpg"},
        "annotations": [{"result": [turned]}],
    }
    (read,) = read_label_studio(write_tasks(tmp_path / "x.json", [task]))
    assert read.name == "a b.jpg"
    assert read.objects[0].box == (1, 2, 5, 4)


CVAT = """<annotations><version>1.1</version><meta></meta>
<image id="0" name="images/a.jpg" width="6" height="4">{shapes}</image></annotations>"""


def test_shapes_of_cvat_by_hand(tmp_path):
    shapes = """
    <box label="hen" source="manual" occluded="0" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"/>
    <polygon label="tench" occluded="0" points="0.00,0.00;3.00,0.00;3.00,4.00;0.00,4.00"/>
    <mask label="hen" rle="0, 4" left="4" top="0" width="2" height="2" z_order="0"></mask>
    <ellipse label="hen" cx="1" cy="1" rx="1" ry="1"/>"""
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT.format(shapes=shapes))
    run = write_run(tmp_path / "run", [image("a", found(LEFT, 0))])
    summary = import_corrections(run, [path], tmp_path / "new")
    assert (summary.objects, summary.skipped) == (3, 1)
    after = objects_of(tmp_path / "new")
    half = drawn("###...", "###...", "###...", "###...")
    assert np.array_equal(after["a", 0].mask, half)
    # two objects of a class: masks together, the box of the larger one
    assert after["a", 1].mask.sum() == 4
    assert after["a", 1].box == (1, 1, 3, 3)
    content = json.loads((tmp_path / "new/annotations/instances_corrected.json").read_text())
    boxes = [(item["category_id"], item["bbox"]) for item in content["annotations"]]
    assert boxes == [(2, [1, 1, 2, 2]), (1, [0, 0, 3, 4]), (2, [4, 0, 2, 2])]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("[", DataError, "cannot read the tasks"),
        ([{"image": "x", "label": []}], DataError, "not as JSON-MIN"),
        ([("nobody", [])], DataError, "image 'nobody' is not in the run"),
        ([("a", []), ("a", [])], DataError, "image 'a' is corrected twice"),
        ([("a", [brush_of(LEFT, "unicorn")])], DataError, "has no class 'unicorn'"),
        ([("a", [brush_of(HOLE, "hen")])], DataError, "must be of the size"),
        ([("a", [{**brush_of(LEFT, "hen"), "image_rotation": 90}])], AnnotationError, "turned"),
        (
            [("a", [region("brushlabels", "hen", (4, 6), rle=[0, 0, 0, 96, 57, 27])])],
            AnnotationError,
            "ends too early",
        ),
        (
            [("a", [region("polygonlabels", "hen", (4, 6), points=[[0, 0]])])],
            AnnotationError,
            "three or more points",
        ),
        ([("a", [region("rectanglelabels", "hen", (4, 6), x=0)])], AnnotationError, "'y'"),
        ([("a", ["no region"])], DataError, "not as JSON-MIN"),
        ("[" * 100_000, DataError, "nested too deeply"),
        ([("a", [region("brushlabels", "hen", (10**9, 10**9), rle=[])])], AnnotationError, "most"),
        ([("a", [region("brushlabels", "hen", (4.5, 6), rle=[])])], AnnotationError, "integers"),
        ([("a", [rectangle(float("nan"))])], AnnotationError, "must be finite"),
        ([("a", [rectangle(1e9)])], AnnotationError, "must not lie before its start"),
        (
            [
                (
                    "a",
                    [region("polygonlabels", "hen", (4, 6), points=[[0, 0], [100, 100]] * 150_000)],
                )
            ],
            AnnotationError,
            "outlines must be at most",
        ),
    ],
    ids=[
        *("no json", "json-min", "unknown image", "twice", "unknown class", "other size", "turned"),
        *("short brush", "short polygon", "no corner", "no region", "deep", "huge", "fractions"),
        *("nan", "outside", "long polygon"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, content, error, message):
    path = tmp_path / "x.json"
    if isinstance(content, list) and isinstance(content[0], tuple):
        content = [
            {"data": {"image_id": name}, "annotations": [{"result": result}]}
            for name, result in content
        ]
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    with pytest.raises(error, match=message):
        import_corrections(run, [path], tmp_path / "new")
    assert not (tmp_path / "new/run.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>", "cannot read the annotations"),
        ("<annotation/>", "must be an export as CVAT for images"),
        ("<annotations><track/></annotations>", "must be an export as CVAT for images"),
        (CVAT.format(shapes='<mask rle="3" left="0" top="0" width="2" height="2"/>'), "fill"),
        (CVAT.format(shapes='<polygon label="hen" points="0,0;1,x"/>'), "could not convert"),
        (CVAT.format(shapes="").replace('"6"', '"1000000000"'), "must be positive integers"),
        (CVAT.format(shapes="").replace('"6"', '"99999999"'), "must have at most"),
        (f"<!DOCTYPE annotations>{CVAT}", "cannot read the annotations"),
    ],
    ids=["no xml", "voc", "video", "short mask", "no number", "long", "huge", "type"],
)
def test_what_cvat_never_writes_is_refused(tmp_path, content, message):
    path = tmp_path / "annotations.xml"
    path.write_text(content)
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    with pytest.raises((DataError, AnnotationError), match=message):
        import_corrections(run, [path], tmp_path / "new")


def test_an_archive_that_would_grow_on_reading_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("wsl.export.formats.cvat._MAX_BYTES", 1000)
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", " " * 1001)
    with pytest.raises(DataError, match=r"annotations\.xml must have at most 1,000 bytes"):
        list(read_cvat(path))


def test_other_files_and_used_folders_are_refused(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    with pytest.raises(DataError, match=r"x\.csv must be one of \.json, \.xml, \.zip"):
        import_corrections(run, [tmp_path / "x.csv"], tmp_path / "new")
    with pytest.raises(ConfigError, match="top1 or all, but got 'top5'"):
        import_corrections(run, [], tmp_path / "new", classes="top5")
    with pytest.raises(RunError, match="holds a run already"):
        import_corrections(run, [], run)


def test_a_polygon_along_pixel_borders_is_its_mask():
    ring = [[0, 0], [2, 0], [2, 2], [0, 2]]
    expected = drawn("##.....", "##.....", ".......")
    assert np.array_equal(polygon_mask(ring, (3, 7), "here"), expected)


@pytest.mark.parametrize("tool", ["label_studio", "cvat"])
def test_polygons_come_back_as_masks(tmp_path, tool):
    predictions = hard_predictions()
    run = write_run(tmp_path / "run", predictions)
    path = corrected_by(tool, tmp_path, run, shapes=("polygon",))
    import_corrections(run, [path], tmp_path / "new", classes="all")
    before, after = objects_of(run), objects_of(tmp_path / "new")
    assert set(after) == set(before)
    assert all(np.array_equal(one.mask, before[key].mask) for key, one in after.items())


def test_classes_that_were_not_exported_keep_what_the_run_found(tmp_path):
    predictions = [
        image("a", found(LEFT, 0), found(RIGHT, 1, rank=2, truth=False)),
        image("b", found(LEFT, 0), found(RIGHT, 1, rank=2, truth=False)),
    ]
    run = write_run(tmp_path / "run", predictions)
    export(run, "label_studio", tmp_path / "ls")
    tasks = accepted(tmp_path / "ls")
    tasks[0]["annotations"][0]["result"].clear()
    tasks[1]["annotations"][0]["result"] = [brush_of(NEW, "hen")]
    summary = import_corrections(run, [write_tasks(tmp_path / "x.json", tasks)], tmp_path / "new")
    assert (summary.added, summary.removed) == (1, 2)
    rows = {
        (one.image_id, each.label): each
        for one in RunFolder(tmp_path / "new").predictions()
        for each in one.localizations
    }
    for image_id in ("a", "b"):  # the row stays, with nothing found
        assert rows[image_id, 0].box is None
        assert rows[image_id, 0].run_lengths.area == 0
        assert rows[image_id, 0].is_ground_truth
    assert np.array_equal(rows["a", 1].mask, RIGHT)
    assert not rows["a", 1].is_ground_truth
    assert np.array_equal(rows["b", 1].mask, NEW)
    assert rows["b", 1].is_ground_truth
