"""The documentation's notebooks run from top to bottom, and are kept with what they showed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from eval.figures.notebooks import NOTEBOOKS, executed

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.slow
# The kernel talks to this process by sockets on this machine.
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = executed(path, tmp_path)  # raises where a cell does
    stored = nbformat.read(path, as_version=4)
    for cell, before in zip(notebook.cells, stored.cells, strict=True):
        kinds = [output.output_type for output in cell.get("outputs", ())]
        assert kinds == [output.output_type for output in before.get("outputs", ())], cell.source


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_run_from_top_to_bottom(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    printed = [
        output for cell in cells for output in cell.outputs if output.output_type == "stream"
    ]
    assert not [output for output in printed if output.name == "stderr"]


def test_the_notebooks_are_small() -> None:
    assert len(PATHS) >= 5
    assert sum(path.stat().st_size for path in PATHS) < 1_000_000
