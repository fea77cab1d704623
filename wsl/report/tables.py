"""The estimates and tables of a report as JSON, CSV, Markdown and LaTeX.

JSON and CSV hold everything, unrounded, shares in [0, 1]; Markdown and LaTeX are for reading: in
percent with one decimal. All names are escaped for the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wsl.errors import ScoreError, choices_hint
from wsl.report import content
from wsl.report.content import percent, records, signed
from wsl.report.runs import ReportRun, RunTable, tabulate
from wsl.score.estimates import Estimate
from wsl.storage import plain_cell, write_text

_SCHEMA = 1


def write_tables(runs: Sequence[ReportRun], out: Path | str, *, form: str) -> list[Path]:
    """Write the estimates, baselines and tables of one run, or of several over the same images.

    Parameters
    ----------
    runs : sequence of ReportRun
    out : Path or str
        The folder; it is made.
    form : {'json', 'csv', 'markdown', 'latex'}
        ``json``: ``report.json``; ``csv``: ``estimates.csv``, ``classes.csv`` and, as there are
        any, ``errors.csv`` and ``differences.csv``; ``markdown``: ``report.md``; ``latex``:
        ``report.tex``, tables to be included in a document that loads booktabs and longtable.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ScoreError
        If the format is unknown, or the runs cannot share a report.
    OutputError
        If a file cannot be written.
    """
    if form not in FORMATS:
        raise ScoreError(f"there is no report format {form!r}. {choices_hint(form, FORMATS)}")
    files = FORMATS[form](tabulate(runs))
    paths = {Path(out) / name: text for name, text in files.items()}
    for path, text in paths.items():
        write_text(path, text)
    return list(paths)


def _json(tables: Sequence[RunTable]) -> dict[str, str]:
    groups = content.error_groups(tables)
    report = {
        "schema": _SCHEMA,
        "runs": [
            {
                "name": table.name,
                "boxes_of": table.boxes_of,
                "scores": table.run.scores.to_json(),
                "errors": {group.metric: content.kind_shares(table, group) for group in groups},
                "classes": records(content.class_table(table)),
                "timings": dict(table.run.timings),
                "versions": dict(table.run.versions),
                "config": table.run.config,
            }
            for table in tables
        ],
        "differences": [
            {
                "run": other.name,
                "against": tables[0].name,
                "estimates": [
                    estimate.to_json() for estimate in content.differences(tables[0], other)
                ],
                "right": content.differing_images(tables[0], other)[1],
            }
            for other in tables[1:]
        ],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    return {"report.json": text + "\n"}


def _csv(tables: Sequence[RunTable]) -> dict[str, str]:
    first = tables[0]
    named = [(table.name, table.run.scores.estimates) for table in tables]
    named += [(baseline.name, baseline.estimates) for baseline in first.run.scores.baselines]
    files = {
        "estimates": [_row(name, one) for name, estimates in named for one in estimates],
        "classes": [
            {"run": table.name} | row
            for table in tables
            for row in records(content.class_table(table))
        ],
        "errors": [
            {"run": table.name, "metric": group.metric} | row
            for group in content.error_groups(tables)
            for table in tables
            for row in content.kind_shares(table, group)
        ],
        "differences": [
            {"against": first.name} | _row(other.name, one)
            for other in tables[1:]
            for one in content.differences(first, other)
        ],
    }
    return {
        f"{name}.csv": pd.DataFrame(rows).map(plain_cell).to_csv(index=False, lineterminator="\n")
        for name, rows in files.items()
        if rows
    }


def _row(run: str, estimate: Estimate) -> dict[str, Any]:
    row = asdict(estimate)
    return {"run": run, "metric": row.pop("name"), **row}


@dataclass(frozen=True)
class _Table:
    """A table for people: its cells are texts."""

    title: str
    cells: pd.DataFrame
    note: str


def _markdown(tables: Sequence[RunTable]) -> dict[str, str]:
    parts = ["# " + " and ".join(escape_markdown(table.name) for table in tables)]
    for table in _reading_tables(tables):
        cells = table.cells.map(escape_markdown).rename(columns=escape_markdown)
        aligned = ["left", *["right"] * (cells.shape[1] - 1)]
        parts += [
            f"## {escape_markdown(table.title)}",
            cells.to_markdown(index=False, colalign=aligned, disable_numparse=True),
            escape_markdown(table.note),
        ]
    return {"report.md": "\n\n".join(part for part in parts if part) + "\n"}


def _latex(tables: Sequence[RunTable]) -> dict[str, str]:
    parts = ["% \\usepackage{booktabs,longtable}"]
    for table in _reading_tables(tables):
        cells = table.cells.map(escape_latex).rename(columns=escape_latex)
        parts.append(
            cells.to_latex(
                index=False,
                longtable=True,
                column_format="l" + "r" * (cells.shape[1] - 1),
                caption=escape_latex(f"{table.title}. {table.note}".strip()),
            )
        )
    return {"report.tex": "\n".join(parts)}


def _reading_tables(tables: Sequence[RunTable]) -> list[_Table]:
    found = [_estimates_table(tables)]
    for other in tables[1:]:
        rows = [
            {
                "Difference in points": content.metric_label(one.name),
                "value": signed(one.value),
                "95 % interval": f"{signed(one.low)} to {signed(one.high)}",
            }
            for one in content.differences(tables[0], other)
        ]
        title = f"{other.name} against {tables[0].name}"
        found.append(_Table(title, pd.DataFrame(rows), "Paired over the same images."))
    for group in content.error_groups(tables):
        columns = {"Error kind, % of images": [content.kind_label(kind) for kind in group.kinds]}
        for table in tables:
            shares = content.kind_shares(table, group)
            columns[table.name] = [_share(one["share"], one) for one in shares]
        note = f"Judged: {group.title.lower()}."
        found.append(_Table("What goes wrong", pd.DataFrame(columns), note))
    return [*found, _classes_table(tables)]


def _estimates_table(tables: Sequence[RunTable]) -> _Table:
    scores = tables[0].run.scores
    rows = []
    for row in content.metric_rows([table.run.scores for table in tables]):
        cells = {"% with 95 % interval": f"{row.label} {'↑' if row.higher_is_better else '↓'}"}
        for table, one in zip(tables, row.runs, strict=True):
            cells[table.name] = "—" if one is None else _share(one.value, asdict(one))
        for baseline, one in zip(scores.baselines, row.baselines, strict=True):
            cells[baseline.name] = "—" if one is None else percent(one.value)
        rows.append(cells | {"n": next(str(one.n) for one in row.runs if one is not None)})
    notes = [f"{baseline.name}: {baseline.note}." for baseline in scores.baselines]
    notes += [f"{table.name}: {note}." for table in tables for note in table.run.scores.notes]
    return _Table("Estimates", pd.DataFrame(rows), " ".join(notes))


def _classes_table(tables: Sequence[RunTable]) -> _Table:
    by_run = [content.class_table(table) for table in tables]
    first = by_run[0]
    cells = pd.DataFrame({"Class": first["category"].fillna("—"), "images": first["images"]})
    for table, classes in zip(tables, by_run, strict=True):
        of = f", {table.name}" if len(tables) > 1 else ""
        cells[f"right boxes %{of}"] = [_share(row["right"], row) for row in records(classes)]
        cells[f"mean IoU %{of}"] = classes["mean_iou"].map(percent)
    note = f"Right: IoU ≥ 0.5, box of the {tables[0].boxes_of}."
    return _Table("Classes", cells.astype(str), note)


def _share(value: float, ends: dict[str, Any]) -> str:
    return f"{percent(value)} ({percent(ends['low'])}–{percent(ends['high'])})"


def escape_markdown(text: str) -> str:
    r"""Escape what Markdown or HTML inside it would take for markup, on one line.

    Examples
    --------
    >>> escape_markdown("a|b *c* <d>")
    'a\\|b \\*c\\* &lt;d&gt;'
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|#~":
        line = line.replace(character, "\\" + character)
    return line


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def escape_latex(text: str) -> str:
    r"""Escape LaTeX's special characters, on one line.

    Examples
    --------
    >>> escape_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


FORMATS: dict[str, Callable[[Sequence[RunTable]], dict[str, str]]] = {
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}
"""Formats of `write_tables`, and what makes their files: text by file name."""
