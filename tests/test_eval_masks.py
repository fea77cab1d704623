"""The evidence on masks: baselines, halves, and the table."""

import numpy as np
import pytest

from eval.figures import masks
from wsl.data.sample import Annotation, Instance
from wsl.masks import encode_rle
from wsl.score.images import ScoredImage


def test_the_ellipse_fills_its_box():
    found = masks.ellipse((100, 200), 0.5)
    assert found.mean() == pytest.approx(0.25 * np.pi / 4, rel=0.02)
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 74, 50, 149)


def test_choices_are_made_on_every_second_image(monkeypatch):
    def square(end):
        mask = np.zeros((20, 20), bool)
        mask[5:end, 5:end] = True
        return mask

    def annotation(end):
        return Annotation((Instance(0, (5, 5, end, end), encode_rle(square(end))),))

    images = [
        ScoredImage(
            str(at),
            0,
            Annotation((Instance(0, (5, 5, end, end), encode_rle(square(end))),)),
            (20, 20),
        )
        for at, end in enumerate([15, 8, 15, 8])
    ]
    monkeypatch.setattr(masks, "true_images", lambda _: iter(images))
    found, choice = masks.best(None, {0.1: lambda _: square(8), 0.2: lambda _: square(15)})
    assert choice == 0.2
    assert found[:, 0].tolist() == pytest.approx([1, 0.09, 1, 0.09])


def test_halves_have_their_differences_to_the_paper():
    rng = np.random.default_rng(0)
    paper, ours = rng.random((11, 3)) / 2, rng.random((11, 3)) / 2 + 0.4
    found = masks.as_json(ours, paper)
    assert (found["A"]["mask_iou"]["n"], found["B"]["mask_iou"]["n"]) == (6, 5)
    for half, start in (("A", 0), ("B", 1)):
        for at, name in enumerate(masks.METRICS):
            expected = ours[start::2, at].mean() - paper[start::2, at].mean()
            assert found[half][name]["minus_paper"]["value"] == pytest.approx(expected)
    content = {
        "classifier": "a network", "photographs": 11, "chosen": {masks.CAM: 0.3}, "command": "c",
        "commit": "commit x", "date": "today",
        "rows": {masks.PAPER: masks.as_json(paper, paper), "masks": found},
    }  # fmt: skip
    page = masks.markdown([content])
    assert page.index("half B (5 of 11)") < page.index("half A (6 of 11)")
    value = found["B"]["boundary_f"]
    assert f"{100 * value['value']:.1f} ({100 * value['low']:.1f} to" in page
    assert page.count("[+") == 6
