"""The table of ``eval/figures/accuracy.py``, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eval.tables import interval, line

__all__ = ["markdown"]

COLUMNS = (
    ("gt_known_0.3", "0.3"),
    ("gt_known_0.5", "0.5"),
    ("gt_known_0.7", "0.7"),
    ("gt_known_mean", "mean"),
    ("mean_iou", "mean IoU"),
    ("localization_error_top1", "loc. error top-1"),
    ("localization_error_top5", "top-5"),
    ("classification_error_top1", "class. error top-1"),
    ("classification_error_top5", "top-5"),
)


def markdown(content: dict[str, Any]) -> str:
    """Lay the table out for people, in percent."""
    test, model = content["test"], content["model"]
    lines = [
        f"# Accuracy: {model['name']}",
        "",
        f"{test['count']} images of {test['name']}; thresholds and sides chosen on subset "
        f"{content['tuning_part']}. Percent, with 95 % intervals: GT-known localization at an IoU "
        "of 0.3, 0.5 and 0.7 and their mean, mean IoU, localization and classification error. "
        f"Seconds per image for one class, by the clock, on {model['device']}, {content['cores']} "
        "cores; processor seconds stand in `cost_curve.md`.",
        "",
        line(["method", *(heading for _, heading in COLUMNS), "s/image"]),
        line(["---", *["---:"] * (len(COLUMNS) + 1)]),
    ]
    for method in content["methods"]:
        wall = method["seconds_per_image"].get("wall")
        cells = [interval(method["figures"][name]) for name, _ in COLUMNS]
        lines.append(line([method["name"], *cells, "" if wall is None else f"{wall:.2f}"]))
    lines += ["", "Paired differences on the same images, in points:", ""]
    lines += [line(["method", "against", *(heading for _, heading in COLUMNS[:-2])])]
    lines += [line(["---", "---", *["---:"] * (len(COLUMNS) - 2)])]
    lines += [line(cells) for cells in difference_cells(content["differences"])]
    notes = [f"{one['name']}: {one['note']}" for one in content["methods"] if one["note"]]
    notes += [f"{name} is left out: {why}" for name, why in content["omitted"].items()]
    lines += ["", *(f"- {note}" for note in notes), ""]
    versions = ", ".join(f"{name} {found}" for name, found in content["versions"].items())
    lines += [f"`{content['command']}`", "", f"{content['commit']}, {content['date']}; {versions}"]
    return "\n".join(lines) + "\n"


def difference_cells(found: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """One line for each method and what it is compared with."""
    for key in dict.fromkeys((one["method"], one["as"]) for one in found):
        by_name = {one["name"]: one for one in found if (one["method"], one["as"]) == key}
        cells = []
        for name, _ in COLUMNS[:-2]:
            one = by_name[name]
            against = f" ({one['against']})" if one["as"] == "best baseline" else ""
            cells.append(f"{interval(one, signed=True)}{against}")
        yield [key[0], f"the {key[1]}", *cells]
