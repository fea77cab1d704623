"""The tables of ``speed.json``, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eval.tables import line

GOALS = {"default": "25", "fast": "50", "masks": ""}


def markdown(found: Mapping[str, Any]) -> str:
    """Write the parts that there are."""
    writers = {"recipes": _recipes, "memory": _memory, "together": _together, "growth": _growth,
               "accelerator": _accelerator, "cold_start": _cold_start}  # fmt: skip
    lines = ["# Speed and memory", ""]
    for name, write in writers.items():
        if name in found:
            about = found[name]["about"]
            lines += [*write(found[name]), ""]
            lines += [f"`{about['command']}`, {about['machine']}, load {about['load_before']} "
                      f"before; {about['commit']}, {about['date']}", ""]  # fmt: skip
    return "\n".join(lines)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    rule = line(["---", *["---:"] * (len(names) - 1)])
    return [line(names), rule, *(line(row) for row in rows)]


def _recipes(part: Mapping[str, Any]) -> list[str]:
    rows = []
    for network, chains in part["networks"].items():
        for chain, of in chains.items():
            goal = f" ({GOALS[chain]})" if GOALS.get(chain) else ""
            low, high = (f"{100 * end:.0f}" for end in of["box_hits"][1:])
            rows.append([
                f"{network}, {chain}",
                f"{of['seconds']:.3f}",
                *(f"{of['stages'][stage]:.3f}" for stage in ("decode", "saliency", "refine")),
                f"{of['slowest_share']:.2f}",
                *(_ratios(of.get(key), more) for key, more in (("this_over_floor", ""),
                                                              ("naive_over_this", goal))),
                _naive_over_floor(of),
                f"{100 * of['box_hits'][0]:.0f} ({low} to {high})",
                f"{100 * of['mask_iou']:.1f}",
            ])  # fmt: skip
    return [
        "## Recipes beside the floor and the naive chain",
        "",
        f"{part['images']} photographs of Pascal VOC, the classifier's first classes of each "
        f"({part['classes']}); processor seconds per image, one thread. Ratios of the sums, with "
        "the lowest and highest of an image; goals: at most 1.25 of the floor, and the naive "
        "chain's time as often as stands in parentheses. The floor is decoding, forward "
        "passes, a backward pass per class and GrabCut on the recipe's own seeds. "
        "Accuracy is of the first class "
        "whatever it is: boxes that have an IoU of 0.5 with an annotated object (95 % interval), "
        "and mean IoU of the mask with all annotated objects, in percent. Where the naive chain "
        "takes less than the goal times as long as the floor, no library that does the recipe's "
        "passes and cuts can reach the goal on these photographs.",
        "",
        *_table(
            ("", "s", "decode", "saliency", "refine", "slowest stage's share", "of the floor",
             "naive chain over this", "over the floor", "boxes hit", "mask IoU"),
            rows,
        ),
    ]  # fmt: skip


def _naive_over_floor(of: Mapping[str, Any]) -> str:
    if "naive_over_this" not in of:
        return ""
    return f"{of['naive_over_this'][0] * of['this_over_floor'][0]:.2f}"


def _ratios(values: Iterable[float] | None, more: str) -> str:
    if values is None:
        return ""
    whole, low, high = values
    return f"{whole:.2f}{more}, {low:.2f} to {high:.2f}"


def _memory(part: Mapping[str, Any]) -> list[str]:
    rows = [[name, str(peak)] for name, peak in part.items() if "," in name]
    return [
        "## Peak memory of `wsl run` on the CPU",
        "",
        f"Resident memory of the process and its children at its peak; {part['images']} "
        f"photographs, {part['large_images']} images of 12 megapixels. Bounds of the recipe "
        "`default`: 1,300 MB, and 2,000 MB of images of 12 megapixels.",
        "",
        *_table(("run", "MB"), rows),
    ]


def _together(part: Mapping[str, Any]) -> list[str]:
    rows = [
        [f"wsl {name}", *(f"{part[name][key]:.2f}" for key in
         ("one", "two", "two_over_one", "cpu_two_over_one"))]
        for name in ("run", "show")
    ]  # fmt: skip
    return [
        "## Two commands at once",
        "",
        "Seconds on the clock of one command alone (mean of before and after) and of two at once; "
        "goal: at most 2.2 times. The last column is the processor seconds of two over those of "
        "two one after the other: 1 is no loss.",
        "",
        *_table(("", "one", "two at once", "ratio", "processor"), rows),
    ]


def _growth(part: Mapping[str, Any]) -> list[str]:
    rows = [
        [command, count, f"{of['wall']:.1f}", f"{of['cpu']:.1f}", str(of["peak"])]
        for count, commands in part.items()
        if count != "about"
        for command, of in commands.items()
    ]
    return [
        "## Growth",
        "",
        "The demo's images many times over, with its classifier and the recipe `default`.",
        "",
        *_table(("", "images", "s", "processor s", "peak MB"), rows),
    ]


def _accelerator(part: Mapping[str, Any]) -> list[str]:
    if "skipped" in part:
        return ["## GPU", "", f"Unmeasured: {part['skipped']}."]
    rows = [[name, str(rate)] for name, rate in part.items() if "," in name]
    return ["## GPU", "", part["device"], "", *_table(("top-5 maps", "images/s"), rows)]


def _cold_start(part: Mapping[str, Any]) -> list[str]:
    rows = [[name, f"{seconds:.2f}"] for name, seconds in part["cpu_seconds"].items()]
    return ["## Cold start", "", "Processor seconds.", "", *_table(("", "s"), rows)]
