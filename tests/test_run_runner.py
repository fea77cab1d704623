"""Whole runs on a small dataset: resumable, independent of the workers, failures as rows."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_runs import WNIDS, classifier, config, draw_photos, network, rows

from wsl.errors import RunError, RunMismatchError
from wsl.masks import decode_rle, mask_to_box
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.runner import run_dataset


@pytest.fixture
def photos(tmp_path):
    """Eleven images of three classes, one folder each; one is not an image."""
    root = draw_photos(tmp_path / "photos")
    (root / WNIDS[0] / "03.png").write_bytes(b"not an image")
    return root


class CountedProgress:
    def __init__(self, stop_at=None):
        self.total = self.before = self.done = self.failed = 0
        self.stop_at = stop_at

    def start(self, total, done):
        self.total, self.before = total, done

    def advance(self, count, failed):
        self.done += count
        self.failed += failed


def test_every_image_is_there_once_and_a_bad_one_has_a_reason(photos, tmp_path):
    progress = CountedProgress()
    summary = run_dataset(
        config(photos), tmp_path / "run", classifier=classifier(), progress=progress
    )
    found = rows(tmp_path / "run")
    ids = list(dict.fromkeys(row["image_id"] for row in found))
    assert len(ids) == 11
    failed = [row for row in found if row["status"] == "failed"]
    assert [row["image_id"] for row in failed] == [f"{WNIDS[0]}/03"]
    assert "03.png" in failed[0]["error"]
    assert summary.info.counts == {
        "images": 11, "ok": 10, "failed": 1, "localizations": len(found) - 1,
    }  # fmt: skip
    assert summary.failures[0][0] == failed[0]["image_id"]
    assert (progress.total, progress.before, progress.done, progress.failed) == (11, 0, 11, 1)


def test_rows_keep_the_conventions(photos, tmp_path):
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    for row in rows(tmp_path / "run"):
        if row["status"] == "failed":
            continue
        mask = decode_rle(row["mask"], (row["height"], row["width"]))
        box = None if row["x0"] is None else tuple(row[key] for key in ("x0", "y0", "x1", "y1"))
        assert mask_to_box(mask) == box
        assert mask.sum() == row["mask_area"]
        assert row["in_top_k"] == (row["rank"] <= 2)
        assert row["is_ground_truth"] == (row["image_id"].split("/")[0] == WNIDS[row["label"]])
        assert row["in_top_k"] or row["is_ground_truth"]
        assert 0 <= row["score"] <= 1


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_nothing(photos, tmp_path, workers):
    run_dataset(config(photos), tmp_path / "two", classifier=classifier())
    changed = config(photos, **{"run.workers": workers})
    run_dataset(changed, tmp_path / "other", classifier=classifier())
    assert rows(tmp_path / "other") == rows(tmp_path / "two")


def test_only_missing_chunks_are_done(photos, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    run_dataset(config(photos), whole, classifier=classifier())
    run_dataset(config(photos), again, classifier=classifier())
    folder = RunFolder(again)
    folder.part_path(1).unlink()
    kept = folder.part_path(0).stat().st_mtime_ns
    progress = CountedProgress()
    summary = run_dataset(config(photos), again, classifier=classifier(), progress=progress)
    assert summary.chunks_done == 1
    assert (progress.before, progress.done) == (7, 4)
    assert folder.part_path(0).stat().st_mtime_ns == kept
    assert rows(again) == rows(whole)


def test_other_settings_in_the_same_folder_are_refused(photos, tmp_path):
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    changed = config(photos, **{"localize.seeds.foreground": 0.9})
    with pytest.raises(
        RunMismatchError, match=r"localize\.seeds\.foreground was 0\.95 and is 0\.9"
    ):
        run_dataset(changed, tmp_path / "run", classifier=classifier())


def test_a_run_from_before_a_setting_goes_on_where_the_setting_has_its_default(photos, tmp_path):
    out = tmp_path / "run"
    run_dataset(config(photos), out, classifier=classifier())
    info = json.loads((out / "run.json").read_text())
    del info["config"]["localize"]["components"]
    (out / "run.json").write_text(json.dumps(info))
    run_dataset(config(photos), out, classifier=classifier())
    changed = config(photos, **{"localize.components": "all"})
    with pytest.raises(RunMismatchError, match=r"localize\.components was 'largest' and is 'all'"):
        run_dataset(changed, out, classifier=classifier())


def test_other_images_in_the_same_folder_are_refused(photos, tmp_path):
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    (photos / WNIDS[1] / "01.png").unlink()
    with pytest.raises(RunMismatchError, match="list of images is another"):
        run_dataset(config(photos), tmp_path / "run", classifier=classifier())


def test_another_classifier_in_the_same_folder_is_refused(photos, tmp_path):
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    with pytest.raises(RunMismatchError, match="classifier's weights is another"):
        run_dataset(config(photos), tmp_path / "run", classifier=classifier(network(1)))


def test_a_folder_of_something_else_is_refused(photos, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty, and is not a run"):
        run_dataset(config(photos), tmp_path / "run", classifier=classifier())


def test_the_label_alone_is_localized_where_asked(photos, tmp_path):
    changed = config(photos, **{"classes.select": "ground_truth"})
    run_dataset(changed, tmp_path / "run", classifier=classifier())
    ok = [row for row in rows(tmp_path / "run") if row["status"] == "ok"]
    assert len(ok) == 10
    assert all(row["is_ground_truth"] for row in ok)


def test_named_classes_are_localized_in_every_image(photos, tmp_path):
    changed = config(photos, **{"classes.select": "named", "classes.names": "[n00000003, one]"})
    run_dataset(changed, tmp_path / "run", classifier=classifier())
    found = {}
    for row in rows(tmp_path / "run"):
        if row["status"] == "ok":
            found.setdefault(row["image_id"], set()).add(row["label"])
    assert all(labels == {0, 2} for labels in found.values())


def test_without_a_label_ground_truth_fails_with_the_reason(photos, tmp_path):
    changed = config(photos, **{"classes.select": "ground_truth", "data.format": "files"})
    summary = run_dataset(changed, tmp_path / "run", classifier=classifier())
    assert summary.failed == 11
    reasons = {row["error"] for row in rows(tmp_path / "run") if "03" not in row["image_id"]}
    assert reasons == {"the image has no label, which classes.select: ground_truth needs"}


def test_maps_are_stored_when_asked_for(photos, tmp_path):
    changed = config(photos, **{"run.maps": "true"})
    run_dataset(changed, tmp_path / "run", classifier=classifier())
    folder = RunFolder(tmp_path / "run")
    stored = {
        (image_id, label): map_
        for chunk in range(3)
        for image_id, label, map_ in read_maps(folder.maps_path(chunk))
    }
    wanted = {
        (row["image_id"], row["label"]): (row["height"], row["width"])
        for row in rows(tmp_path / "run")
        if row["status"] == "ok"
    }
    assert {key: map_.shape for key, map_ in stored.items()} == wanted
    assert all(map_.max() == 1 for map_ in stored.values())


def test_ten_crops_give_the_same_whatever_the_batch_of_images(photos, tmp_path):
    ten = {"saliency.views.kind": "ten_crop"}
    run_dataset(config(photos, **ten), tmp_path / "one", classifier=classifier())
    more = config(photos, **ten, **{"run.batch_size": 30})
    run_dataset(more, tmp_path / "three", classifier=classifier())
    first, second = rows(tmp_path / "one"), rows(tmp_path / "three")
    assert [row["label"] for row in first] == [row["label"] for row in second]
    scores = [[row["score"] or 0 for row in found] for found in (first, second)]
    np.testing.assert_allclose(*scores, rtol=1e-5)


# A shell that starts tests in the background has them ignore SIGINT; a terminal has not.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_run_runner as t
from wsl.run.runner import run_dataset
run_dataset(t.config(Path({photos!r})), Path({out!r}), classifier=t.classifier(), progress=t.Slow())
"""


class Slow(CountedProgress):
    """Says on standard output how far it is, and gives the killer time."""

    def advance(self, count, failed):
        super().advance(count, failed)
        print(self.done, flush=True)
        time.sleep(0.05)


def start(photos, out):
    script = SCRIPT.format(tests=str(Path(__file__).parent), photos=str(photos), out=str(out))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 5, 10])
def test_a_killed_run_goes_on_to_the_same_result(photos, tmp_path, after):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    run_dataset(config(photos), undisturbed, classifier=classifier())
    process = start(photos, killed)
    for line in process.stdout:
        if int(line) >= after:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    summary = run_dataset(config(photos), killed, classifier=classifier())
    assert summary.info.counts["images"] == 11
    assert rows(killed) == rows(undisturbed)
    assert not list(killed.rglob("*.tmp"))


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_is_done(photos, tmp_path):
    process = start(photos, tmp_path / "run")
    for line in process.stdout:
        if int(line) >= 6:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    folder = RunFolder(tmp_path / "run")
    assert folder.part_path(0).exists()
    assert folder.read_info().timings["wall"] > 0
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    run_dataset(config(photos), tmp_path / "other", classifier=classifier())
    assert rows(tmp_path / "run") == rows(tmp_path / "other")
