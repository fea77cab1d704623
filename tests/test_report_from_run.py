"""From a run's folder to a report, with the demo's classifier."""

import numpy as np
import pytest

from wsl.demo.draw import write_dataset
from wsl.draw.sheet import contact_sheet
from wsl.report.from_run import report_run
from wsl.report.page import build_report
from wsl.report.sheet import run_sheet
from wsl.run.config import build_config
from wsl.run.opened import OpenedRun, open_run
from wsl.run.runner import run_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run over six drawn images that has stored its maps, in chunks of four."""
    root = tmp_path_factory.mktemp("stored")
    write_dataset(root / "data", count=6, seed=0)
    config = build_config(
        {
            "data": {"format": "ilsvrc", "root": str(root / "data")},
            "model": {"source": "demo", "architecture": None},
            "classes": {"select": "both", "top_k": 1},
            "localize": {"working_size": 64},
            "run": {"workers": 1, "maps": True, "chunk_size": 4},
        }
    )
    run_dataset(config, root / "run")
    return root / "run"


def test_stored_steps_are_those_that_would_be_computed_again(folder, monkeypatch):
    ids = open_run(folder).dataset.image_ids[::-1]  # across the chunks
    again = report_run(open_run(folder, ["run.maps=false"]))
    computed = [again.steps(image_id) for image_id in ids]
    monkeypatch.setattr(OpenedRun, "localizer", property(lambda _: pytest.fail("computed")))
    stored = report_run(open_run(folder))
    for image_id, b in zip(ids, computed, strict=True):
        a = stored.steps(image_id)
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.mask, b.mask)
        assert (a.box, a.gt_boxes) == (b.box, b.gt_boxes)
        assert a.saliency.shape == b.saliency.shape
        np.testing.assert_allclose(a.saliency, b.saliency / b.saliency.max(), atol=1e-3)
        assert (a.seeds != b.seeds).mean() < 0.01  # maps are stored with three digits


def test_the_report_of_a_run(folder, tmp_path):
    path = build_report([report_run(open_run(folder))], tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "All 6 images that were processed have a picture." in text
    assert "lead to another box" not in text


@pytest.mark.parametrize("order", ["worst", "best", "doubt", "surest"])
def test_a_sheet_of_a_run_computes_nothing_again(folder, monkeypatch, order):
    monkeypatch.setattr(OpenedRun, "localizer", property(lambda _: pytest.fail("computed")))
    drawn = []
    monkeypatch.setattr(
        "wsl.report.sheet.contact_sheet",
        lambda cells, **options: (drawn.extend(cells), contact_sheet(cells, **options))[1],
    )
    opened = open_run(folder)
    sheet = run_sheet(opened, count=4, order=order, columns=2, height=80)
    assert sheet.shape[0] > 2 * 80
    assert len(drawn) == 4
    values = [float(cell.lines[1].split()[1]) for cell in drawn]
    assert values == sorted(values, reverse=order in ("best", "surest"))
    assert drawn[0].lines[1].startswith("IoU" if order in ("worst", "best") else "quality")
    assert drawn[0].lines[2] in opened.dataset.image_ids


def test_a_sheet_leaves_out_images_that_are_gone(folder, monkeypatch):
    opened = open_run(folder)
    gone = opened.dataset.sample(0).path
    content = gone.read_bytes()
    gone.unlink()
    try:
        assert run_sheet(opened, order="doubt").shape[1] > 100
    finally:
        gone.write_bytes(content)
