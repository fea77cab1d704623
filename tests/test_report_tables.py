import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_runs import EVIL_CLASS, make_run
from hypothesis import given
from hypothesis import strategies as st

from wsl.data.categories import Categories
from wsl.errors import OutputError, ScoreError
from wsl.report.runs import ReportRun
from wsl.report.tables import escape_latex, escape_markdown, write_tables


def two_runs() -> list[ReportRun]:
    return [make_run(), make_run(miss=0.04, seed=1, name="100 % better_one")]


def test_json_holds_every_figure_unrounded(tmp_path: Path) -> None:
    runs = two_runs()
    (path,) = write_tables(runs, tmp_path / "new", form="json")
    report = json.loads(path.read_text(encoding="utf-8"))
    for run, found in zip(runs, report["runs"], strict=True):
        for estimate in run.scores.estimates:
            assert found["scores"]["estimates"][estimate.name]["value"] == estimate.value
            assert found["scores"]["estimates"][estimate.name]["low"] == estimate.low
    assert report["differences"][0]["against"] == "plain"
    assert report["runs"][0]["classes"][1]["category"] == EVIL_CLASS
    assert list(report["runs"][0]["errors"]) == ["top1"]
    assert sum(one["count"] for one in report["runs"][0]["errors"]["top1"]) == 30
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.json"]


def test_csv_reads_back(tmp_path: Path) -> None:
    runs = two_runs()
    paths = {path.name: path for path in write_tables(runs, tmp_path, form="csv")}
    assert set(paths) == {"estimates.csv", "classes.csv", "errors.csv", "differences.csv"}
    with paths["estimates.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["run"], row["metric"]): float(row["value"]) for row in rows}
    assert found["plain", "mean_iou"] == runs[0].scores.estimate("mean_iou").value
    assert found["whole image", "mean_iou"] == runs[0].scores.baselines[0].estimates[-1].value
    with paths["classes.csv"].open(encoding="utf-8", newline="") as file:
        classes = list(csv.DictReader(file))
    assert len(classes) == 2 * 5
    assert classes[1]["category"] == EVIL_CLASS


def test_errors_of_both_metrics_stand_in_every_format(
    tmp_path: Path,
) -> None:
    run = make_run(both=True)
    texts = {
        path.suffix: path.read_text(encoding="utf-8")
        for form in ("json", "csv", "markdown", "latex")
        for path in write_tables([run], tmp_path, form=form)
        if path.name in ("report.json", "errors.csv", "report.md", "report.tex")
    }
    errors = json.loads(texts[".json"])["runs"][0]["errors"]
    shares = {metric: {one["kind"]: one["share"] for one in errors[metric]} for metric in errors}
    assert list(shares) == ["top1", "gt_known"]
    assert shares["gt_known"]["right"] == run.scores.estimate("gt_known_0.5").value
    assert shares["top1"]["wrong_class_box_right"] > 0
    rows = list(csv.DictReader(texts[".csv"].splitlines()))
    assert {(row["metric"], row["kind"]): float(row["share"]) for row in rows} == {
        (metric, kind): share for metric, of in shares.items() for kind, share in of.items()
    }
    for ending in (".md", ".tex"):
        for title in ("the top-1 prediction, its class and its box", "whatever was predicted"):
            assert f"udged: {title}" in texts[ending] or f"{title}." in texts[ending]
        assert texts[ending].count("Right ") == 2


def test_csv_names_are_no_formulas(tmp_path: Path) -> None:
    run = make_run(classes=2)
    run = replace(run, categories=Categories(("=1+1", "@x")))
    paths = {path.name: path for path in write_tables([run], tmp_path, form="csv")}
    assert "differences.csv" not in paths
    text = paths["classes.csv"].read_text(encoding="utf-8")
    assert "'=1+1" in text
    assert "'@x" in text


def test_markdown_tables_are_rectangular_and_escaped(tmp_path: Path) -> None:
    (path,) = write_tables(two_runs(), tmp_path, form="markdown")
    text = path.read_text(encoding="utf-8")
    assert "<" not in text
    assert "100 % better\\_one" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    value = 100 * make_run().scores.estimate("mean_iou").value
    assert re.search(rf"\| Mean IoU, class known ↑ +\| +{value:.1f} \(", text)


def test_latex_is_balanced_and_escaped(tmp_path: Path) -> None:
    (path,) = write_tables(two_runs(), tmp_path, form="latex")
    text = path.read_text(encoding="utf-8")
    body = text.split("\n", 1)[1]  # the first line says which packages it needs
    assert text.startswith("% \\usepackage{booktabs,longtable}")
    assert r"100 \% better\_one" in body
    assert not re.search(r"(?<!\\)[%#_^~<>]", body)
    assert len(re.findall(r"(?<!\\)\{", body)) == len(re.findall(r"(?<!\\)\}", body))
    assert body.count(r"\begin{longtable}") == body.count(r"\end{longtable}") == 4
    for table in body.split(r"\begin{longtable}")[1:]:
        columns = len(re.match(r"\{(l?r*)\}", table).group(1))
        lines = [line for line in table.splitlines() if re.search(r"(?<!\\)& ", line)]
        assert len(lines) > 3
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    for escaped in (escape_markdown(text), escape_latex(text)):
        assert len(escaped.splitlines()) <= 1
    assert not re.search(r"(?<!\\)[%#&_]", escape_latex(text).replace(r"\\", ""))
    assert "<" not in escape_markdown(text)


def test_unknown_formats_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"no report format 'markdwn'\. Did you mean markdown\?"):
        write_tables([make_run()], tmp_path, form="markdwn")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*report\.json"):
        write_tables([make_run()], tmp_path / "file", form="json")
