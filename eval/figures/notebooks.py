"""Run the notebooks of the documentation from top to bottom, and keep what they print and draw.

    python -m eval.figures.notebooks [NAME ...]

Each runs in an empty folder of its own, as its reader would; the stored notebook gets its outputs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder; an error in a cell is raised as it stands there."""
    notebook = nbformat.read(path, as_version=4)
    commands = folder / "bin"
    commands.mkdir()
    call = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from wsl.cli import main; main()"
    (commands / "wsl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{call}" "$@"\n')
    (commands / "wsl").chmod(0o755)
    work = folder / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
        "COLUMNS": "100",
    }
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(work)}},
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = re.sub(r"\x1b\[[0-9;]*m", "", output.text)
    return notebook


def main() -> None:
    """Run all notebooks, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="Such as own-photos.")
    names = parser.parse_args().names or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        nbformat.write(notebook, path)
        size = path.stat().st_size / 1000
        print(f"{name}: {time.perf_counter() - started:.0f} s, {size:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
