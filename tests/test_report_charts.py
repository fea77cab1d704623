import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsl.report import charts
from wsl.score.estimates import proportion_estimate, wilson

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def bars(svg: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(svg).iter("rect") if "bar" in one.get("class", "")]


def test_histogram_counts_every_image_once_and_one_belongs_to_the_last_bin() -> None:
    svg = charts.histogram_chart([[0.0, 0.04, 0.5, 1.0]], None)
    heights = [float(one.get("height")) for one in bars(svg)]
    assert len(heights) == 20
    assert np.flatnonzero(heights).tolist() == [0, 10, 19]
    assert heights[0] == pytest.approx(2 * heights[10], abs=0.02)
    assert [one.get("class") for one in bars(svg)] == ["bar"] * 10 + ["bar run-0"] * 10


@given(SHARES)
def test_charts_are_well_formed_and_inside_their_canvas(iou: list[float]) -> None:
    for svg in (
        charts.histogram_chart([iou], iou),
        charts.histogram_chart([iou, iou[:1]], iou),
        charts.success_chart([iou, iou[:1]], iou),
    ):
        assert ET.fromstring(svg).get("role") == "img"
        assert "nan" not in svg
    assert all(float(one.get("y")) >= 0 for one in bars(charts.histogram_chart([iou], None)))


def test_success_chart_goes_through_the_shares_at_its_thresholds() -> None:
    svg = charts.success_chart([[0.25, 0.75]], None, points=3)
    path = next(one for one in ET.fromstring(svg).iter("path"))
    heights = [float(point.split()[1]) for point in path.get("d")[1:].split("L")]
    top, middle, bottom = heights
    assert middle == pytest.approx((top + bottom) / 2, abs=0.1)  # at 0.5 half of them


def test_coverage_curve_by_hand() -> None:
    coverage, accuracy = charts.coverage_curve([0.1, 0.9, 0.5, 0.5], [False, True, True, False])
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert accuracy.tolist() == pytest.approx([1.0, 2 / 3, 0.5])


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.9]), st.booleans()), min_size=1))
def test_coverage_curve_ends_at_all_images_and_ignores_the_order(
    pairs: list[tuple[float, bool]],
) -> None:
    curves = [
        charts.coverage_curve([q for q, _ in some], [r for _, r in some])
        for some in (pairs, pairs[::-1])
    ]
    assert curves[0][0].tolist() == curves[1][0].tolist()
    assert curves[0][1].tolist() == curves[1][1].tolist()
    assert curves[0][0][-1] == 1
    assert curves[0][1][-1] == pytest.approx(np.mean([right for _, right in pairs]))


def test_reliability_bins_by_hand() -> None:
    found = charts.reliability_bins([0.0, 0.05, 0.95, 1.0], [False, True, True, True])
    assert [(one["low"], one["high"], one["n"]) for one in found] == [(0, 0.1, 2), (0.9, 1, 2)]
    assert found[0]["right"] == 0.5
    assert found[1]["quality"] == pytest.approx(0.975)
    assert (found[1]["right_low"], found[1]["right_high"]) == wilson(2, 2)


def test_charts_of_quality_are_well_formed() -> None:
    quality, right = np.linspace(0, 1, 1000), np.arange(1000) % 3 > 0
    runs = [(0, quality, right), (2, quality, ~right)]
    for svg in (charts.coverage_chart(runs), charts.reliability_chart(runs)):
        root = ET.fromstring(svg)
        styles = " ".join(one.get("class", "") for one in root.iter())
        assert "run-0" in styles
        assert "run-2" in styles
        assert "run-1" not in styles
    assert len(charts.coverage_chart(runs)) < 20_000  # thinned


def test_interval_chart_has_a_line_per_run_and_a_tick_per_baseline() -> None:
    estimate = proportion_estimate("gt_known_0.5", [True, False])
    svg = ET.fromstring(charts.interval_chart([estimate, None, estimate], [estimate, None]))
    classes = [one.get("class") for one in svg.iter()]
    assert classes.count("rule") == 3
    assert [one for one in classes if one and one.startswith("run-")] == ["run-0", "run-2"]
    assert classes.count("dot") == 2
    assert classes.count("tick") == 1


def test_bars_are_relative_to_the_longest() -> None:
    found = bars(charts.proportion_bars([0.25, 0.5], largest=0.5))
    assert [(one.get("class"), one.get("width")) for one in found] == [
        ("bar run-0", "50.00"),
        ("bar run-1", "100.00"),
    ]
    assert bars(charts.proportion_bars([0.0], largest=0.0))[0].get("width") == "0.00"


def test_several_runs_are_laid_over_each_other_in_their_colors() -> None:
    runs = [[0.1, 0.9], [0.5, 0.7]]
    for svg in (charts.histogram_chart(runs, [0.3]), charts.success_chart(runs, [0.3])):
        curves = [one.get("class") for one in ET.fromstring(svg).iter("path")]
        assert sorted(curves) == ["curve run-0", "curve run-1", "reference"]


def test_axes_have_ticks_with_labels() -> None:
    root = ET.fromstring(charts.success_chart([[0.5]], None))
    texts = [one.text for one in root.iter("text")]
    for label in ("0", "0.2", "0.4", "0.6", "0.8", "1", "0 %", "25 %", "50 %", "75 %", "100 %"):
        assert texts.count(label) == 1
    assert len([one for one in root.iter("line") if one.get("class") == "axis"]) == 1 + 11


def test_a_confusion_matrix_counts_by_row_and_names_its_cells() -> None:
    counts = np.array([[3, 1], [0, 0]])
    root = ET.fromstring(charts.confusion_chart(["<cat>", "dog"], counts))
    titles = [one.text for one in root.iter("title")]
    assert titles == [
        "<cat> taken for <cat>: 3 of 4",
        "<cat> taken for dog: 1 of 4",
        "dog taken for <cat>: 0 of 0",
        "dog taken for dog: 0 of 0",
    ]
    shares = [float(one.get("fill-opacity")) for one in root.iter("rect")]
    assert shares == [0.75, 0.25, 0, 0]
