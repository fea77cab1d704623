from dataclasses import replace

import numpy as np
import pytest
from drawn_runs import make_run

from wsl.report import content
from wsl.report.runs import tabulate
from wsl.score.estimates import wilson
from wsl.score.protocols.diagnosis import KINDS


def test_every_kind_and_figure_has_words() -> None:
    assert all(content.kind_label(kind) for kind in KINDS)
    assert content.metric_label("localization_error_top5") == "Localization error, top-5"
    assert content.metric_label("max_box_acc") == "max box acc"


def test_metric_rows_line_up_runs_and_baselines() -> None:
    first, second = make_run(), make_run(seed=1, name="b")
    rows = {row.name: row for row in content.metric_rows([first.scores, second.scores])}
    row = rows["gt_known_0.5"]
    assert [one.value for one in row.runs] == [
        one.scores.estimate("gt_known_0.5").value for one in (first, second)
    ]
    assert len(row.baselines) == 2
    assert rows["classification_error_top1"].baselines == (None, None)


def test_against_baseline_is_the_paired_difference_to_the_better_one() -> None:
    (table,) = tabulate([make_run()])
    name, estimate = content.against_baseline(table)
    images = table.images
    shares = {
        "whole image": (images["whole_iou"] >= 0.5).mean(),
        "centered box": (images["center_iou"] >= 0.5).mean(),
    }
    assert shares[name] == max(shares.values())
    assert estimate.value == pytest.approx(images["right"].mean() - shares[name])
    assert estimate.low <= estimate.value <= estimate.high


def test_kind_shares_add_up_and_have_wilsons_interval() -> None:
    tables = tabulate([make_run()])
    (group,) = content.error_groups(tables)
    kinds = group.kinds
    shares = content.kind_shares(tables[0], group)
    assert list(kinds) == sorted(kinds, key=KINDS.index)
    assert sum(one["count"] for one in shares) == 30
    assert sum(one["share"] for one in shares) == pytest.approx(1)
    assert (shares[0]["low"], shares[0]["high"]) == wilson(shares[0]["count"], 30)


def test_kinds_by_size_add_up_in_every_group() -> None:
    (table,) = tabulate([make_run()])
    groups = content.kinds_by_size(table, content.ErrorGroup("kind", "top1", KINDS))
    assert sum(group["n"] for group in groups) == 30
    assert all(sum(group["shares"]) == pytest.approx(1) for group in groups)


def test_class_table_by_hand() -> None:
    (table,) = tabulate([make_run(count=13, classes=5)])
    found = content.class_table(table).set_index("label").loc[2]
    images = table.images[table.images["label"] == 2]
    assert found["images"] == len(images) == 3
    assert found["id"] == "n00000002"
    assert found["right"] == pytest.approx(np.mean(images["iou"] >= 0.5))
    assert found["mean_iou"] == pytest.approx(images["iou"].mean())
    assert (found["low"], found["high"]) == wilson(int(images["right"].sum()), 3)


def test_differences_are_the_differences_of_the_scores() -> None:
    tables = tabulate([make_run(), make_run(miss=0.03, name="better")])
    found = {estimate.name: estimate for estimate in content.differences(*tables)}
    names = {estimate.name for estimate in tables[0].run.scores.estimates}
    assert set(found) == names
    for name, estimate in found.items():
        before, after = (table.run.scores.estimate(name).value for table in tables)
        assert estimate.value == pytest.approx(after - before, abs=1e-12)
    assert found["mean_iou"].low > 0
    assert found["localization_error_top1"].higher_is_better is False


def test_a_run_does_not_differ_from_itself() -> None:
    tables = tabulate([make_run(), make_run()])
    assert all(
        estimate.low == estimate.value == estimate.high == 0
        for estimate in content.differences(*tables)
    )
    rows, counts = content.differing_images(*tables)
    assert rows.empty
    assert counts["only_first"] == counts["only_second"] == 0
    assert counts["both"] + counts["neither"] == 30


def test_differing_images_are_those_right_in_one_only_the_largest_first() -> None:
    tables = tabulate([make_run(miss=0.15), make_run(miss=0.03, name="better")])
    rows, counts = content.differing_images(*tables)
    expected = (tables[0].images["right"] != tables[1].images["right"]).sum()
    assert len(rows) == expected == counts["only_first"] + counts["only_second"] > 1
    sizes = (rows["second_iou"] - rows["first_iou"]).abs()
    assert sizes.is_monotonic_decreasing
    few, _ = content.differing_images(*tables, shown=2)
    assert few["image_id"].tolist() == rows["image_id"].tolist()[:2]


def test_errors_are_judged_in_both_ways_where_all_runs_know_them() -> None:
    tables = tabulate([make_run(both=True), make_run(both=True, seed=1)])
    guesses, known = content.error_groups(tables)
    assert (guesses.metric, known.metric) == ("top1", "gt_known")
    assert set(guesses.kinds) - set(known.kinds) == {
        "wrong_class_box_right",
        "wrong_class_box_wrong",
    }
    for group in (guesses, known):
        for table in tables:
            shares = {row["kind"]: row["share"] for row in content.kind_shares(table, group)}
            assert sum(shares.values()) == pytest.approx(1)
            named = {estimate.name: estimate.value for estimate in group.diagnosis(table).estimates}
            assert shares == {kind: pytest.approx(named[kind]) for kind in group.kinds}
            sizes = content.kinds_by_size(table, group)
            assert sum(size["n"] for size in sizes) == 30
    scores = tables[0].run.scores
    right = {group: content.kind_shares(tables[0], group)[0]["share"] for group in (guesses, known)}
    assert right[known] == scores.estimate("gt_known_0.5").value
    assert 1 - right[guesses] == pytest.approx(scores.estimate("localization_error_top1").value)
    (group,) = content.error_groups(
        tabulate([make_run(both=True), replace(tables[0].run, top1_diagnosis=None)])
    )
    assert group.metric == "gt_known"


def test_without_a_diagnosis_there_are_no_errors() -> None:
    assert content.error_groups(tabulate([replace(make_run(), diagnosis=None)])) == []
