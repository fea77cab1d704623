from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_cases import (
    EMPTY,
    LEFT,
    ListedImages,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from pydantic import TypeAdapter, ValidationError

from wsl.errors import ConfigError, RunError, RunMismatchError
from wsl.export.formats import FORMATS, AnyFormat
from wsl.localize.prediction import Prediction
from wsl.run.rows import write_part
from wsl.storage import as_path


class Recorder:
    def __init__(self) -> None:
        self.total = self.before = self.done = self.failed = 0

    def start(self, total: int, done: int) -> None:
        self.total, self.before = total, done

    def advance(self, count: int, failed: int) -> None:
        self.done += count
        self.failed += failed


class Killed(Recorder):
    """Stops the export after some images, as a signal would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def advance(self, count: int, failed: int) -> None:
        super().advance(count, failed)
        if self.done >= self.after:
            raise KeyboardInterrupt


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> link target or digest of the content, of every file."""
    return {
        path.relative_to(folder).as_posix(): (
            str(path.readlink())
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def hard(tmp_path):
    predictions = hard_predictions()
    maps = {
        (one.image_id, found_.label): np.full(found_.mask.shape, 0.5)
        for one in predictions
        for found_ in one.localizations
    }
    dataset = write_images(tmp_path / "photos", predictions)
    (tmp_path / "ids.txt").write_text("n1 1\nn2 2\nn3 3\n")
    return write_run(tmp_path / "run", predictions, maps=maps), dataset


def options_of(name: str, tmp_path: Path) -> dict[str, Path]:
    return {"ilsvrc_map": tmp_path / "ids.txt"} if name == "ilsvrc" else {}


@pytest.mark.parametrize("name", FORMATS)
def test_the_run_stays_as_it_is_and_nothing_is_left_over(tmp_path, hard, name):
    run, dataset = hard
    before = tree(run)
    progress = Recorder()
    summary = export(
        run, name, run / "export" / name, **options_of(name, tmp_path), dataset=dataset,
        progress=progress,
    )  # fmt: skip
    out = run / "export" / name
    assert {key: value for key, value in tree(run).items() if not key.startswith("export/")} == (
        before
    )
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    assert (progress.total, progress.before, progress.done, progress.failed) == (13, 0, 13, 2)
    assert (summary.images, summary.images_failed) == (13, 2)
    assert summary.format == name
    assert all((out / path).is_file() for path in summary.files)


@pytest.mark.parametrize("name", FORMATS)
def test_all_files_stay_inside(tmp_path, hard, name):
    run, dataset = hard
    before = tree(tmp_path)
    export(run, name, tmp_path / "out", **options_of(name, tmp_path), dataset=dataset)
    after = tree(tmp_path)
    assert {key: value for key, value in after.items() if not key.startswith("out/")} == before


@pytest.mark.parametrize("after", [1, 5, 12])
@pytest.mark.parametrize("name", FORMATS)
def test_a_killed_export_goes_on_to_the_same_files(tmp_path, hard, name, after):
    run, dataset = hard
    options = options_of(name, tmp_path)
    whole = export(run, name, tmp_path / "whole", **options, dataset=dataset)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        export(run, name, out, **options, dataset=dataset, progress=Killed(after))
    assert not (out / "export.json").exists()
    progress = Recorder()
    summary = export(run, name, out, **options, dataset=dataset, progress=progress)
    assert summary == whole
    assert tree(out) == tree(tmp_path / "whole")
    assert progress.before == (after - 1) // 3 * 3
    assert progress.before + progress.done == 13


_DIES = """
import os, sys
from wsl.export.export import export_run
from wsl.export.formats.masks import MasksFormat
class Dies:
    done = 0
    def start(self, total, done): pass
    def advance(self, count, failed):
        self.done += count
        if self.done == 8:
            os._exit(9)
export_run(sys.argv[1], sys.argv[2], MasksFormat(), progress=Dies())
"""


def test_a_process_that_dies_leaves_nothing_half_done(tmp_path, hard):
    run, _ = hard
    whole = export(run, "masks", tmp_path / "whole")
    died = subprocess.run([sys.executable, "-c", _DIES, str(run), str(tmp_path / "out")])
    assert died.returncode == 9
    assert export(run, "masks", tmp_path / "out") == whole
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_killed_while_the_shared_files_are_put_together(tmp_path, hard, monkeypatch):
    from wsl.export.formats.coco import CocoFormat

    run, _ = hard
    whole = export(run, "coco", tmp_path / "whole")
    write_shared = CocoFormat.write_shared

    def cut_off(self, staging, counts, context):
        write_shared(self, staging, counts, context)
        raise KeyboardInterrupt

    monkeypatch.setattr(CocoFormat, "write_shared", cut_off)
    with pytest.raises(KeyboardInterrupt):
        export(run, "coco", tmp_path / "out")
    monkeypatch.undo()
    assert export(run, "coco", tmp_path / "out") == whole
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_whole_export_is_left_alone(tmp_path, hard):
    run, _ = hard
    first = export(run, "csv", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    progress = Recorder()
    assert export(run, "csv", tmp_path / "out", progress=progress) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert progress.total == 0


def test_the_summary_is_stored(tmp_path, hard):
    run, _ = hard
    summary = export(run, "csv", tmp_path / "out", classes="all")
    stored = json.loads((tmp_path / "out/export.json").read_text())
    assert stored["summary"]["masks"] == summary.masks == 11
    assert stored["summary"]["left_out"] == {"nothing found": 2}
    assert stored["state"]["options"]["classes"] == "all"
    assert summary.text().splitlines() == [
        "csv: 11 localizations (all) of 10 of 13 images",
        "images without a mask: 3 (failed: 2)",
        "left out, nothing found: 2",
        "files: boxes.csv, without_mask.csv",
    ]


def test_a_run_and_images_in_a_store(tmp_path, monkeypatch):
    # Sizes are read by `wsl.data.images`; here it is about what comes after.
    monkeypatch.setattr("wsl.export.image_files._turned", lambda source, size: None)
    predictions = [image(name, found(LEFT)) for name in ("a", "b")]
    maps = {(name, 0): np.ones((4, 6)) for name in ("a", "b")}
    local = write_images(tmp_path / "photos", predictions)
    store = as_path("memory://export-test")
    run = write_run(store / "run", predictions, maps=maps)
    for sample in local:
        (store / "photos" / sample.path.name).write_bytes(sample.path.read_bytes())
    files = {sample.image_id: store / "photos" / sample.path.name for sample in local}
    dataset = ListedImages(store / "photos", files)
    export(run, "yolo", tmp_path / "out", dataset=dataset)
    placed = tmp_path / "out/images/train/a.png"
    assert not placed.is_symlink()
    assert placed.read_bytes() == local.sample(0).path.read_bytes()
    assert export(run, "maps", tmp_path / "maps").masks == 2
    export(run, "coco", tmp_path / "coco", dataset=dataset)
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert content["images"][0]["file_name"] == "photo 0.png"
    with pytest.raises(ConfigError, match="folder must be local, but is memory://export-test/out"):
        export(run, "csv", str(store / "out"))


def test_names_that_are_not_ids_are_listed(tmp_path, hard):
    run, _ = hard
    export(run, "masks", tmp_path / "out")
    lines = (tmp_path / "out/names.csv").read_text("utf-8").splitlines()
    assert lines[:4] == [
        "image_id,name",
        "a folder/with spaces & more,a%20folder%2Fwith%20spaces%20%26%20more",
        "../up,%2E.%2Fup",
        "žába 青蛙,%C5%BE%C3%A1ba%20%E9%9D%92%E8%9B%99",
    ]
    assert not [line for line in lines if line.startswith("plain")]


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_folder_of_another_export_is_refused(tmp_path, hard, unfinished):
    run, _ = hard
    out = tmp_path / "out"
    if unfinished:
        with pytest.raises(KeyboardInterrupt):
            export(run, "csv", out, progress=Killed(1))
    else:
        export(run, "csv", out)
    with pytest.raises(RunMismatchError, match=r"another export \(it differs in options\)"):
        export(run, "csv", out, min_score=0.5)
    with pytest.raises(RunMismatchError, match=r"another export \(it differs in format\)"):
        export(run, "parquet", out)
    write_part(run / "predictions/part-00000.parquet", [])
    with pytest.raises(RunMismatchError, match=r"another export \(it differs in run\)"):
        export(run, "csv", out)


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path, hard):
    run, _ = hard
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("words")
    with pytest.raises(RunError, match="must be a new or empty folder"):
        export(run, "csv", tmp_path / "out")
    assert tree(tmp_path / "out").keys() == {"thesis.tex"}


@pytest.mark.parametrize("inside", ["", "predictions/x", "maps"])
def test_the_runs_own_folders_are_refused(hard, inside):
    run, _ = hard
    with pytest.raises(ConfigError, match="holds the run itself"):
        export(run, "csv", run / inside)


def test_an_unfinished_run_is_refused_unless_allowed(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))], expected=3)
    with pytest.raises(RunError, match="has 1 of 3 images: finish the run, or set"):
        export(run, "csv", tmp_path / "out")
    summary = export(run, "csv", tmp_path / "out", allow_partial=True)
    assert summary.notes == ("the run is not complete: 1 of 3",)


def test_no_run_and_no_predictions(tmp_path):
    with pytest.raises(RunError, match="is not a run: it has no"):
        export(tmp_path, "csv", tmp_path / "out")
    run = write_run(tmp_path / "run", [])
    with pytest.raises(RunError, match="holds no predictions yet"):
        export(run, "csv", tmp_path / "out")


def test_one_id_twice_is_refused(tmp_path):
    predictions = [image("a", found(LEFT)), image("b", found(LEFT)), image("a", found(LEFT))]
    run = write_run(tmp_path / "run", predictions, chunk_size=2)
    with pytest.raises(RunError, match="two images of one id"):
        export(run, "csv", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("coco", {"boundary_ignore": 0.1}, "boundary_ignore\n.*not permitted"),
        ("csv", {"images": "copy"}, "images\n.*not permitted"),
        ("masks", {"split": "val"}, "split\n.*not permitted"),
        ("image_folder", {"empty_images": True}, "empty_images\n.*not permitted"),
        ("image_folder", {"images": "none"}, "should be 'link' or 'copy'"),
        ("voc", {"shape": "box"}, "shape\n.*not permitted"),
        ("coco", {"shape": ("mask", "box")}, "should be 'mask', 'polygon' or 'box'"),
        ("yolo", {"shape": "mask"}, "should be 'box' or 'polygon'"),
        ("cvat", {"shapes": ()}, "must be at least one"),
        ("cvat", {"shapes": ("box", "box")}, "without repetition"),
        ("label_studio", {"image_url": "/data"}, "should match pattern"),
        ("ilsvrc", {}, "ilsvrc_map\n.*required"),
        ("ilsvrc", {"ilsvrc_map": "x", "classes": "ground_truth"}, "should be 'top1' or 'all'"),
        ("csv", {"top_fraction_per_class": False}, "must come with top_fraction"),
        ("coco", {"split": "../up"}, "should match pattern"),
        ("csv", {"min_score": 1.5}, "less than or equal to 1"),
        ("csv", {"top_fraction": 0}, "greater than 0"),
        ("csv", {"class_list": ()}, "must be at least one"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ValidationError, match=message):
        FORMATS[name](**options)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_described_beside_its_code(name):
    members = FORMATS[name]
    assert members.label
    assert members.summary
    for key, field in members.model_fields.items():
        assert key == "format" or field.description, key


def test_options_of_any_format_are_told_by_its_name():
    adapter = TypeAdapter(AnyFormat)
    for name, members in FORMATS.items():
        given = {"format": name} | ({"ilsvrc_map": "ids.txt"} if name == "ilsvrc" else {})
        options = adapter.validate_python(given)
        assert type(options) is members
        assert adapter.validate_json(adapter.dump_json(options)) == options


def test_nothing_found_anywhere(tmp_path):
    predictions = [image("a", found(EMPTY)), Prediction.failed("b", "gone")]
    run = write_run(tmp_path / "run", predictions)
    (tmp_path / "ids.txt").write_text("n1 1\nn2 2\nn3 3\n")
    dataset = write_images(tmp_path / "photos", predictions)
    for name in set(FORMATS) - {"maps"}:
        summary = export(run, name, tmp_path / name, **options_of(name, tmp_path), dataset=dataset)
        assert summary.masks == (name == "ilsvrc")
        assert summary.images_without_mask == (1 if name == "ilsvrc" else 2)
        listed = (tmp_path / name / "without_mask.csv").read_text()
        assert "b,failed: gone" in listed
