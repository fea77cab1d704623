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
from wsl.errors import ScoreError
from wsl.report import ReportRun, write_tables
from wsl.report.tables import escape_latex, escape_markdown


def two_runs() -> list[ReportRun]:
    return [make_run(), make_run(miss=0.04, seed=1, name="100 % better_one")]


def test_json_holds_every_figure_unrounded(tmp_path: Path) -> None:
    runs = two_runs()
    (path,) = write_tables(runs, tmp_path / "new", form="json")
    report = json.loads(path.read_text(encoding="utf-8"))
    for run, found in zip(runs, report["runs"], strict=True):
        for figure in run.scores.figures:
            assert found["scores"]["figures"][figure.name]["value"] == figure.value
            assert found["scores"]["figures"][figure.name]["low"] == figure.low
    assert report["differences"][0]["against"] == "plain"
    assert report["runs"][0]["classes"][1]["category"] == EVIL_CLASS
    assert sum(one["count"] for one in report["runs"][0]["errors"]) == 30
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.json"]


def test_csv_reads_back(tmp_path: Path) -> None:
    runs = two_runs()
    paths = {path.name: path for path in write_tables(runs, tmp_path, form="csv")}
    assert set(paths) == {"figures.csv", "classes.csv", "errors.csv", "differences.csv"}
    with paths["figures.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["run"], row["figure"]): float(row["value"]) for row in rows}
    assert found["plain", "mean_iou"] == runs[0].scores.figure("mean_iou").value
    assert found["whole image", "mean_iou"] == runs[0].scores.baselines[0].figures[-1].value
    with paths["classes.csv"].open(encoding="utf-8", newline="") as file:
        classes = list(csv.DictReader(file))
    assert len(classes) == 2 * 5
    assert classes[1]["category"] == EVIL_CLASS


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
    value = 100 * make_run().scores.figure("mean_iou").value
    assert f"| Mean IoU, class known ↑ | {value:.1f} (" in text


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
        lines = [line for line in table.splitlines() if line.endswith(r" \\")]
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
    with pytest.raises(ScoreError, match=r"cannot write .*report\.json"):
        write_tables([make_run()], tmp_path / "file", form="json")
