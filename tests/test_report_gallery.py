import base64
import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import pandas as pd
import pytest
from drawn_runs import EVIL_ID, make_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsl.draw.overlays import SEED_COLORS
from wsl.errors import ImageError, ScoreError
from wsl.progress import Progress
from wsl.report.gallery import (
    PictureOptions,
    _allocate,
    choose_images,
    image_columns,
    make_gallery,
)
from wsl.report.runs import RunTable, Steps, tabulate


def table_of(kinds: dict[str, int], *, change: float = 0.0) -> RunTable:
    """Table with so many images of each kind, their IoUs spread over [0, 1]."""
    names = [kind for kind, count in kinds.items() for _ in range(count)]
    iou = np.concatenate([np.linspace(0, 1, count) for count in kinds.values()])
    images = pd.DataFrame(
        {"kind": names, "iou": np.abs(iou - change), "status": "ok"},
        index=[f"{position:05d}" for position in range(len(names))],
    )
    return RunTable(SimpleNamespace(), "drawn", "ground-truth class", images)


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_few_images_are_all_chosen() -> None:
    chosen, rule = choose_images([table_of({"right": 5, "part": 2})], 7)
    assert len(chosen) == 7
    assert rule == "All 7 images that were processed have a picture."


def test_each_kind_has_its_share_but_a_few_at_least() -> None:
    table = table_of({"right": 900, "part": 97, "no_box": 3})
    chosen, rule = choose_images([table], 100)
    counts = table.images.loc[chosen, "kind"].value_counts().to_dict()
    assert sum(counts.values()) == 100
    assert counts["no_box"] == 3
    assert counts["part"] == 12
    assert "100 of 1,000 images have a picture" in rule
    assert chosen == sorted(chosen)  # the dataset's order
    # from the lowest to the highest IoU, evenly
    iou = np.sort(table.images.loc[chosen].query("kind == 'right'")["iou"])
    assert iou[0] == 0
    assert iou[-1] == 1
    assert np.diff(iou).max() < 2 / len(iou)


def test_with_two_runs_a_third_are_the_most_different() -> None:
    first, second = table_of({"right": 300}), table_of({"right": 300})
    second.images.loc["00100":"00129", "iou"] += 5  # no image else changes
    chosen, rule = choose_images([first, second], 90)
    assert len(chosen) == 90
    assert {f"{position:05d}" for position in range(100, 130)} <= set(chosen)
    assert "30 are those whose IoU differs most" in rule


def test_failed_images_are_not_chosen() -> None:
    table = table_of({"right": 20})
    table.images.loc["00003", "status"] = "failed"
    assert "00003" not in choose_images([table], 30)[0]
    assert "00003" not in choose_images([table], 19)[0]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=10), st.integers(0, 400))
def test_pictures_are_shared_out_fully_and_never_beyond_what_there_is(
    sizes: list[int], total: int
) -> None:
    parts = _allocate(sizes, total)
    assert sum(parts) == min(total, sum(sizes))
    assert all(0 <= part <= size for part, size in zip(parts, sizes, strict=True))


def test_an_entry_holds_each_layer_and_the_numbers() -> None:
    tables = tabulate([make_run(count=6)])
    gallery = make_gallery(tables, PictureOptions())
    assert list(gallery.pictures)[3] == EVIL_ID
    entry = gallery.pictures["drawn_0000"]
    steps = tables[0].run.steps("drawn_0000")
    height, width = steps.image.shape[:2]
    assert entry["size"] == [width, height]
    assert decoded(entry["image"]).size == (width, height)  # small images are not enlarged
    run = entry["runs"][0]
    assert run["box"] == pytest.approx(steps.box, abs=0.051)
    assert entry["truth"][0] == pytest.approx(steps.gt_boxes[0], abs=0.051)
    assert gallery.pictures["drawn_0005"]["runs"][0]["box"] is None


def test_the_layers_are_what_they_stand_for() -> None:
    tables = tabulate([make_run(count=6)])
    gallery = make_gallery(tables, PictureOptions())
    steps = tables[0].run.steps("drawn_0001")
    run = gallery.pictures["drawn_0001"]["runs"][0]
    mask = np.array(decoded(run["mask"]).convert("RGBA"))
    assert (mask[..., 3][~steps.mask] == 190).all()
    assert set(np.unique(mask[..., 3][steps.mask])) == {0, 255}
    seeds = np.array(decoded(run["seeds"]).convert("RGB")).reshape(-1, 3)
    assert set(map(tuple, seeds.tolist())) == set(SEED_COLORS.values())
    assert decoded(run["saliency"]).format == "JPEG"


def test_pictures_are_made_smaller_but_never_stretched() -> None:
    run = make_run(count=1)
    wide = Steps(np.zeros((300, 3000, 3), np.uint8))
    frame = run.scores.per_image.assign(height=300.0, width=3000.0)
    run = replace(run, scores=replace(run.scores, per_image=frame), steps=lambda _: wide)
    gallery = make_gallery(tabulate([run]), PictureOptions(height=100))
    assert decoded(gallery.pictures["drawn_0000"]["image"]).size == (200, 20)
    assert "saliency" not in gallery.pictures["drawn_0000"]["runs"][0]


def test_an_image_that_is_gone_is_named_and_left_out() -> None:
    run = make_run(count=6)

    def steps(image_id: str) -> Steps:
        if image_id == "drawn_0002":
            raise ImageError("drawn_0002.jpg is gone")
        return make_run(count=6).steps(image_id)

    gallery = make_gallery(tabulate([replace(run, steps=steps)]), PictureOptions())
    assert len(gallery.pictures) == 5
    assert gallery.without == [("drawn_0002", "drawn_0002.jpg is gone")]


def test_steps_that_lead_to_another_box_than_the_scored_one_are_named() -> None:
    run = make_run(count=4)

    def steps(image_id: str) -> Steps:
        found = run.steps(image_id)
        return replace(found, box=None) if image_id == "drawn_0001" else found

    gallery = make_gallery(tabulate([replace(run, steps=steps)]), PictureOptions())
    assert gallery.differing == ["drawn_0001"]
    assert [bool(one["runs"][0].get("other")) for one in gallery.pictures.values()] == [
        *(False, True),
        *(False, False),
    ]


def test_without_pictures_nothing_is_drawn() -> None:
    for run, options in (
        (make_run(pictures=False), PictureOptions()),
        (replace(make_run(), steps=lambda _: pytest.fail("drawn")), PictureOptions(count=0)),
    ):
        assert make_gallery(tabulate([run]), options).pictures == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((5, 5, 3), np.uint8)}, "is 5 × 5 pixels .* is it another file"),
        ({"image": np.zeros((5, 5), np.uint8)}, "must be .* of uint8, but is uint8"),
        ({"saliency": np.full((4, 4), np.nan, np.float32)}, "must be finite and 0 or more"),
        ({"saliency": np.full((4, 4), -1, np.float32)}, "must be finite and 0 or more"),
        ({"saliency": np.zeros(4, np.float32)}, r"the map of .* must be \(h, w\)"),
        ({"seeds": np.full((4, 4), 9, np.uint8)}, "the seeds of .* codes 0 to 3"),
        ({"mask": np.zeros((4, 4), bool)}, "the mask of .* must have the image's size"),
    ],
    ids=["size", "gray", "nan", "negative", "flat", "seeds", "mask"],
)
def test_steps_that_contradict_the_run_are_refused(change: dict[str, Any], message: str) -> None:
    run = make_run(count=1)
    spoilt = replace(run, steps=lambda image_id: replace(run.steps(image_id), **change))
    with pytest.raises(ScoreError, match=message) as error:
        make_gallery(tabulate([spoilt]), PictureOptions())
    assert "image 'drawn_0000' of run 'plain'" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "number of pictures must be 0 or more, but is -1"),
        ({"height": 8}, "32 to 2000 pixels high, but got 8"),
        ({"quality": 100}, "quality must be 1 to 95, but is 100"),
    ],
    ids=["count", "height", "quality"],
)
def test_picture_options_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        PictureOptions(**options)


def test_progress_is_told_of_every_picture() -> None:
    progress = Mock(spec=Progress)
    make_gallery(tabulate([make_run(count=4)]), PictureOptions(), progress=progress)
    assert progress.mock_calls == [call.start(4, 0), *[call.advance(1, 0)] * 4]


def test_the_page_knows_every_image_whether_it_has_a_picture_or_not() -> None:
    runs = [
        make_run(count=30, both=True),
        make_run(count=30, both=True, seed=1, name="b", quality=False),
    ]
    tables = tabulate(runs)
    gallery = make_gallery(tables, PictureOptions(count=4))
    columns = image_columns(tables, gallery)
    assert len(gallery.pictures) == 4
    assert columns["ids"] == list(tables[0].images.index)
    for table, found in zip(tables, columns["runs"], strict=True):
        images = table.images
        assert found["iou"] == pytest.approx(images["iou"].tolist(), abs=1e-4)
        assert found["kind"] == images["kind"].tolist()
        names = [columns["names"][label] for label in found["predicted"]]
        assert names == images["predicted_category"].tolist()
    assert columns["runs"][0]["top1_kind"] == tables[0].images["top1_kind"].tolist()
    assert columns["runs"][1]["quality"] is None


def test_of_too_many_images_those_with_a_picture_are_listed(monkeypatch) -> None:
    monkeypatch.setattr("wsl.report.gallery._LISTED", 10)
    tables = tabulate([make_run(count=30)])
    gallery = make_gallery(tables, PictureOptions(count=4))
    assert image_columns(tables, gallery)["ids"] == list(gallery.pictures)
