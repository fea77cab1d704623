"""The estimates and tables of a report as JSON, CSV, Markdown and LaTeX.

JSON and CSV hold everything, unrounded, shares in [0, 1]; Markdown and LaTeX are for reading: in
percent with one decimal. All names are escaped for the format.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from wsl.errors import ScoreError, choices_hint
from wsl.report import content
from wsl.report.runs import ReportRun, RunTable, tabulate
from wsl.score.estimates import Estimate
from wsl.score.table import scores_to_json
from wsl.storage import write_text

__all__ = ["FORMATS", "escape_latex", "escape_markdown", "write_tables"]

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
        If the format is unknown, or the runs cannot stand in one report.
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
                "scores": scores_to_json(table.run.scores),
                "further": [scores_to_json(scores) for scores in table.run.further],
                "errors": {group.metric: content.kind_shares(table, group) for group in groups},
                "classes": _records(content.class_table(table)),
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
    head = ["run", "metric", "value", "low", "high", "n", "unit", "higher_is_better"]
    estimates: list[list[Any]] = []
    for table in tables:
        for scores in (table.run.scores, *table.run.further):
            estimates += [_csv_row(table.name, estimate) for estimate in scores.estimates]
    for baseline in tables[0].run.scores.baselines:
        estimates += [_csv_row(baseline.name, estimate) for estimate in baseline.estimates]
    classes = [
        [table.name, *row.values()]
        for table in tables
        for row in _records(content.class_table(table))
    ]
    columns = ["run", *content.class_table(tables[0]).columns]
    files = {
        "estimates.csv": _csv_text(head, estimates),
        "classes.csv": _csv_text(columns, classes),
    }
    groups = content.error_groups(tables)
    if groups:
        shares = [
            [table.name, group.metric, *row.values()]
            for group in groups
            for table in tables
            for row in content.kind_shares(table, group)
        ]
        columns = ["run", "metric", "kind", "count", "share", "low", "high"]
        files["errors.csv"] = _csv_text(columns, shares)
    if len(tables) > 1:
        rows = [
            [tables[0].name, *_csv_row(other.name, estimate)]
            for other in tables[1:]
            for estimate in content.differences(tables[0], other)
        ]
        files["differences.csv"] = _csv_text(["against", *head], rows)
    return files


def _csv_row(run: str, estimate: Estimate) -> list[Any]:
    ends = [estimate.value, estimate.low, estimate.high, estimate.n]
    return [run, estimate.name, *ends, estimate.unit, estimate.higher_is_better]


def _csv_text(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_no_formula(value) for value in row] for row in rows])
    return buffer.getvalue()


def _no_formula(value: Any) -> Any:
    """Keep spreadsheets from taking a name for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value


def _markdown(tables: Sequence[RunTable]) -> dict[str, str]:
    parts = ["# " + " and ".join(escape_markdown(table.name) for table in tables)]
    for title, head, rows, note in _reading_tables(tables):
        parts.append(f"## {escape_markdown(title)}")
        lines = [[escape_markdown(cell) for cell in line] for line in (head, *rows)]
        rule = [":---", *("---:" for _ in head[1:])]
        table = ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]
        parts.append("\n".join(table))
        if note:
            parts.append(escape_markdown(note))
    return {"report.md": "\n\n".join(parts) + "\n"}


def _latex(tables: Sequence[RunTable]) -> dict[str, str]:
    parts = ["% \\usepackage{booktabs,longtable}"]
    for title, head, rows, note in _reading_tables(tables):
        caption = escape_latex(f"{title}. {note}".strip())
        lines = [" & ".join(escape_latex(cell) for cell in line) + r" \\" for line in rows]
        heading = " & ".join(escape_latex(cell) for cell in head) + r" \\"
        parts.append(
            "\n".join(
                [
                    rf"\begin{{longtable}}{{l{'r' * (len(head) - 1)}}}",
                    rf"\caption{{{caption}}}\\",
                    r"\toprule",
                    heading,
                    r"\midrule",
                    r"\endhead",
                    r"\bottomrule",
                    r"\endfoot",
                    *lines,
                    r"\end{longtable}",
                ]
            )
        )
    return {"report.tex": "\n\n".join(parts) + "\n"}


_Table = tuple[str, list[str], list[list[str]], str]


def _reading_tables(tables: Sequence[RunTable]) -> list[_Table]:
    """Title, heading, lines and note of each table for people."""
    found = [_figures_table(tables)]
    for other in tables[1:]:
        lines = [
            [
                content.figure_label(estimate.name),
                _points(estimate.value),
                f"{_points(estimate.low)} to {_points(estimate.high)}",
            ]
            for estimate in content.differences(tables[0], other)
        ]
        head = ["Difference in points", "value", "95 % interval"]
        note = "Paired over the same images."
        found.append((f"{other.name} against {tables[0].name}", head, lines, note))
    for group in content.error_groups(tables):
        shares = [content.kind_shares(table, group) for table in tables]
        lines = [
            [content.kind_label(kind), *(_with_interval(one[at]) for one in shares)]
            for at, kind in enumerate(group.kinds)
        ]
        head = ["Error kind, % of images", *(table.name for table in tables)]
        found.append(("What goes wrong", head, lines, f"Judged: {group.title.lower()}."))
    return [*found, _classes_table(tables)]


def _figures_table(tables: Sequence[RunTable]) -> _Table:
    scores = tables[0].run.scores
    head = ["% with 95 % interval", *(table.name for table in tables)]
    head += [baseline.name for baseline in scores.baselines] + ["n"]
    lines = []
    for row in content.figure_rows([table.run.scores for table in tables]):
        cells = [
            "—"
            if one is None
            else f"{_percent(one.value)} ({_percent(one.low)}–{_percent(one.high)})"
            for one in row.runs
        ]
        beside = ["—" if one is None else _percent(one.value) for one in row.baselines]
        n = next(str(one.n) for one in row.runs if one is not None)
        arrow = "↑" if row.higher_is_better else "↓"
        lines.append([f"{row.label} {arrow}", *cells, *beside, n])
    notes = [f"{baseline.name}: {baseline.note}." for baseline in scores.baselines]
    notes += [f"{table.name}: {note}." for table in tables for note in table.run.scores.notes]
    return ("Estimates", head, lines, " ".join(notes))


def _classes_table(tables: Sequence[RunTable]) -> _Table:
    by_run = [_records(content.class_table(table)) for table in tables]
    head = ["Class", "images"]
    for table in tables:
        of = f", {table.name}" if len(tables) > 1 else ""
        head += [f"right boxes %{of}", f"mean IoU %{of}"]
    lines = []
    for rows in zip(*by_run, strict=True):
        values = [text for row in rows for text in (_with_interval(row), _percent(row["mean_iou"]))]
        lines.append([rows[0]["category"] or "—", str(rows[0]["images"]), *values])
    return ("Classes", head, lines, f"Right: IoU ≥ 0.5, box of the {tables[0].boxes_of}.")


def _with_interval(row: dict[str, Any]) -> str:
    share = row["right"] if "right" in row else row["share"]
    return f"{_percent(share)} ({_percent(row['low'])}–{_percent(row['high'])})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _points(value: float) -> str:
    text = f"{100 * abs(value):.1f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries, None where a value is missing."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


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
