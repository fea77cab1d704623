"""One self-contained HTML page: no file beside it, no request, whatever the names in it say.

Everything that comes from a dataset or a configuration is escaped where it enters: by the template
in HTML, by `_json_block` in the data that the script reads; the script itself writes text only as
text. On top of that the page's content security policy allows its own style and script, known by
their hashes, and pictures inside the page, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

import wsl
from wsl.draw.overlays import PREDICTED, SEED_COLORS, TRUE
from wsl.progress import Progress
from wsl.report import charts, content
from wsl.report.content import percent, records, signed
from wsl.report.gallery import Gallery, PictureOptions, image_columns, make_gallery
from wsl.report.runs import ReportRun, RunTable, tabulate
from wsl.score.protocols.diagnosis import KINDS
from wsl.storage import write_text

_LISTED = 50  # so many images that could not be scored or drawn are named
_CONFUSIONS = 100  # so many pairs of confused classes are listed
_MATRIX = 24  # most classes of a confusion matrix
_STAGES = {
    "decode": "decoding",
    "saliency": "classifier and saliency",
    "refine": "segmentation",
    "write": "writing",
}


def build_report(
    runs: Sequence[ReportRun],
    out: Path | str,
    *,
    pictures: PictureOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of one run, or of several over the same images.

    Parameters
    ----------
    runs : sequence of ReportRun
        Others are compared with the first.
    out : Path or str
        A file whose name ends in ``.html``, or a folder, into which ``index.html`` goes. Folders
        are made; the file is written whole or not at all.
    pictures : PictureOptions, optional
    progress : Progress, optional
        Counts the pictures.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ScoreError
        If the runs cannot share a report (`wsl.report.runs.tabulate`), or the steps of an
        image contradict its run.
    OutputError
        If the file cannot be written.
    """
    tables = tabulate(runs)
    gallery = make_gallery(tables, pictures or PictureOptions(), progress=progress)
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        path = path / "index.html"
    write_text(path, _render(tables, gallery))
    return path


def _render(tables: Sequence[RunTable], gallery: Gallery) -> str:
    groups = content.error_groups(tables)
    style, script = _asset("page.css"), _asset("page.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "signed": signed, "label": content.metric_label}
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.from_string(_asset("page.html")).render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=wsl.__version__,
        title=" and ".join(table.name for table in tables),
        tables=tables,
        first=tables[0],
        several=len(tables) > 1,
        charts=charts,
        lead=content.against_baseline(tables[0]),
        metrics=content.metric_rows([table.run.scores for table in tables]),
        comparisons=[_comparison(tables[0], other) for other in tables[1:]],
        errors=[_errors(tables, group) for group in groups],
        filters=[(group.column, group.metric, group.kinds) for group in groups],
        classes=_classes(tables),
        notes=_notes(tables),
        confusions=_confusions(tables),
        confusions_shown=_CONFUSIONS,
        calibrated=_calibrated(tables),
        gallery=gallery,
        listed=_LISTED,
        differing_shown=content.DIFFERING_SHOWN,
        kind_labels={kind: content.kind_label(kind) for kind in KINDS},
        data=_json_block(
            {
                "runs": [table.name for table in tables],
                "kinds": {kind: content.kind_label(kind) for kind in KINDS},
                "images": image_columns(tables, gallery),
                "pictures": gallery.pictures,
                "colors": {
                    "predicted": _hex(PREDICTED),
                    "true": _hex(TRUE),
                },
            }
        ),
        seed_colors=[
            ("background", _hex(SEED_COLORS[0])),
            ("probable background", _hex(SEED_COLORS[2])),
            ("probable foreground", _hex(SEED_COLORS[3])),
            ("foreground", _hex(SEED_COLORS[1])),
        ],
        box_colors=[("predicted", _hex(PREDICTED)), ("true", _hex(TRUE))],
        provenance=[_provenance(table) for table in tables],
        settings=_settings(tables),
    )


def _comparison(first: RunTable, second: RunTable) -> dict[str, Any]:
    differing, counts = content.differing_images(first, second)
    return {
        "name": second.name,
        "estimates": content.differences(first, second),
        "rows": records(differing),
        "counts": counts,
    }


def _errors(tables: Sequence[RunTable], group: content.ErrorGroup) -> dict[str, Any]:
    """Shares of the error kinds: of the runs, of the baselines, and by the size of the object."""
    shares = [content.kind_shares(table, group) for table in tables]
    diagnoses = (group.diagnosis(table) for table in tables)
    baselines = next((one.baselines for one in diagnoses if one is not None), ())
    values = [{estimate.name: estimate.value for estimate in one.estimates} for one in baselines]
    return {
        "title": group.title,
        "parameter": group.column.replace("_", "-"),
        "baselines": [baseline.name for baseline in baselines],
        "rows": [
            {
                "kind": kind,
                "runs": [of_run[at] for of_run in shares],
                "baselines": [one.get(kind) for one in values],
            }
            for at, kind in enumerate(group.kinds)
        ],
        "sizes": [(table.name, content.kinds_by_size(table, group)) for table in tables],
    }


def _classes(tables: Sequence[RunTable]) -> list[dict[str, Any]]:
    """One entry per class: what is the same in all runs, and each run's row."""
    by_run = [records(content.class_table(table)) for table in tables]
    return [rows[0] | {"runs": rows} for rows in map(list, zip(*by_run, strict=True))]


def _calibrated(tables: Sequence[RunTable]) -> list[dict[str, Any]]:
    """Describe the runs that know qualities: right boxes of the surer half, and of all."""
    found = []
    for index, table in enumerate(tables):
        known = table.images[table.images["quality"].notna()]
        if len(known):
            coverage, accuracy = charts.coverage_curve(known["quality"], known["right"])
            found.append(
                {
                    "name": table.name,
                    "index": index,
                    "images": len(known),
                    "values": (index, known["quality"], known["right"]),
                    "half": float(accuracy[(coverage >= 0.5).argmax()]),
                    "all": float(accuracy[-1]),
                }
            )
    return found


def _notes(tables: Sequence[RunTable]) -> list[tuple[str, str]]:
    """List what a reader must know, with the names of the runs; none where it is true of all."""
    told: dict[str, list[str]] = {}
    for table in tables:
        scores = table.run.scores
        counted = [
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in scores.counts.items()
            if count or name in ("listed", "scored", "failed")
        ]
        lines = [*scores.notes, *([f"{', '.join(counted)}."] if counted else [])]
        reasons: dict[str, list[str]] = {}
        for name, why in scores.omitted.items():
            reasons.setdefault(why, []).append(content.metric_label(name))
        lines += [f"Without {'; '.join(names)}: {why}." for why, names in reasons.items()]
        for line in lines:
            told.setdefault(line, []).append(table.name)
    everyone = len(tables)
    return [("" if len(of) == everyone else ", ".join(of), line) for line, of in told.items()]


def _confusions(tables: Sequence[RunTable]) -> dict[str, Any] | None:
    """Pairs of confused classes, and, of few classes, each run's matrix."""
    pairs = content.confusions(tables)
    if pairs is None:
        return None
    names = [table.name for table in tables]
    rows = [
        {**row, "counts": [row[name] for name in names]} for row in records(pairs.head(_CONFUSIONS))
    ]
    return {"rows": rows, "total": len(pairs), "matrices": _matrices(tables)}


def _matrices(tables: Sequence[RunTable]) -> list[tuple[str, Any]]:
    """Each run's confusion matrix, once where runs agree; none of many classes."""
    first = tables[0].images
    labels = sorted({*first["label"].dropna(), *first["predicted"].dropna()})
    if not 2 <= len(labels) <= _MATRIX:
        return []
    names = [tables[0].class_name(label) or "" for label in labels]
    found: list[tuple[str, Any]] = []
    seen: list[NDArray[np.integer]] = []
    for table in tables:
        counts = pd.crosstab(table.images["label"], table.images["predicted"])
        matrix = counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
        if not any((matrix == other).all() for other in seen):
            seen.append(matrix)
            found.append((table.name, charts.confusion_chart(names, matrix)))
    return found


def _provenance(table: RunTable) -> dict[str, Any]:
    timings = {key: float(value) for key, value in table.run.timings.items()}
    wall = timings.pop("wall", None)
    return {
        "name": table.name,
        "facts": table.run.facts,
        "wall": wall,
        "rate": len(table.images) / wall if wall else None,
        "timings": [(_STAGES.get(stage, stage), seconds) for stage, seconds in timings.items()],
        "longest": max(timings.values(), default=0.0),
        "versions": table.run.versions,
    }


def _settings(tables: Sequence[RunTable]) -> list[dict[str, Any]]:
    """Every key of the effective configurations, and whether the runs differ in it."""
    flat = [dict(_flat(table.run.config)) for table in tables]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = []
    for key in keys:
        values = [one.get(key, "—") for one in flat]
        rows.append({"key": key, "values": values, "differs": len(set(values)) > 1})
    return rows


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            yield f"{prefix}{key}", text


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _json_block(value: Any) -> Markup:
    """JSON that stays inside of its script element, whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _asset(name: str) -> str:
    return (resources.files("wsl.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Hash of an inline style or script, as a content security policy names it."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
