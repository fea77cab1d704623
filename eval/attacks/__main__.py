"""Attack the command: hostile files and configurations, kills and faults.

    python -m eval.attacks [--only images COCO faults …] [--work FOLDER] [--out RESULTS]

Each attack is a call of ``wsl`` in a process of its own (`eval.attacks.driver`), judged from
outside: by its exit status, what it prints, its memory and what it leaves. A find is a signal or an
exit status that wsl does not have, a Python traceback, memory over the bound that SECURITY.md
states, five minutes without an end, a program that was run, and results that are lost or changed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from eval.attacks import driver, faults, files
from eval.provenance import stamp

RESULTS = Path(__file__).parents[1] / "results" / "attacks.json"
PACKAGES = ("torch", "numpy", "pillow", "pyarrow", "pycocotools", "pydantic")
MODULES = (
    *("wsl.cli", "wsl.cli.configuration", "wsl.cli.terminal", "wsl.run.runner", "torchvision"),
    *("wsl.score.protocols", "wsl.score.stored", "wsl.tune.tuner", "wsl.tune.result"),
    *("wsl.export.export", "wsl.export.formats", "wsl.export.corrections"),
    *("wsl.report.page", "wsl.report.from_run", "wsl.report.steps"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="Groups of attacks.")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    made_with = stamp("eval.attacks", *PACKAGES)
    for name in MODULES:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="attacks") as folder:
        work = arguments.work or Path(folder)
        begin = time.monotonic()
        found = attack(work, set(arguments.only or ()))
    written = {
        "what": "attacks on the command, and what they found",
        **made_with,
        "bounds": {"MiB over an idle process": driver.MEMORY >> 20, "seconds": 300},
        "seconds": round(time.monotonic() - begin),
        **found,
    }
    arguments.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {found['attacks']} attacks, {len(found['finds'])} finds")


def attack(work: Path, only: set[str]) -> dict[str, Any]:
    """Make all attacks, and sum up how they ended."""
    whole = faults.whole_run(work / "whole")
    rows: list[tuple[str, str, driver.Outcome | None, list[str]]] = []
    for number, case in enumerate(files.cases()):
        if only and case.group not in only:
            continue
        outcome, finds = _one(case, work / f"case{number}", whole)
        rows.append((case.group, case.name, outcome, finds))
        _say(rows[-1])
    for group, name, finds, outcome in faults.all_faults(work / "faults", whole, only):
        rows.append((group, name, outcome, finds))
        _say(rows[-1])
    ended = [row[2] for row in rows if row[2] is not None]
    return {
        "attacks": len(rows),
        "by group": dict(Counter(group for group, *_ in rows)),
        "exit status": {str(k): n for k, n in sorted(Counter(o.status for o in ended).items())},
        "most MiB over an idle process": max(o.grown for o in ended) >> 20,
        "most seconds": round(max(o.seconds for o in ended), 1),
        "finds": [
            {"group": group, "attack": name, "find": finds}
            for group, name, _, finds in rows
            if finds
        ],
    }


def _one(case: files.Case, folder: Path, whole: Path) -> tuple[driver.Outcome, list[str]]:
    folder.mkdir(parents=True)
    run = (
        shutil.copytree(whole / "run", folder / "copy")
        if case.group in ("run", "corrections")
        else whole / "run"
    )
    marker = Path("/tmp/wsl-attacked")
    outcome = driver.call(case.write(folder, run), folder / "output")
    finds = outcome.finds
    if case.says and case.says not in outcome.out:
        finds.append(f"lost: no {case.says!r} in {outcome.out[-200:]!r} {outcome.err[-200:]!r}")
    if marker.exists():
        finds.append("a program was run")
        marker.unlink()
    if not finds:
        shutil.rmtree(folder)
    return outcome, finds


def _say(row: tuple[str, str, driver.Outcome | None, list[str]]) -> None:
    group, name, outcome, finds = row
    told = (
        f"{outcome.status}, {outcome.seconds:.1f} s, {outcome.grown >> 20} MiB" if outcome else ""
    )
    print(f"{group}: {name}: {told} {'; '.join(finds)}", flush=True)


if __name__ == "__main__":
    main()
