"""Every command and code block of README and of the documentation runs, page by page.

The ``sh`` and ``python`` blocks of a page run in their order in one empty folder: commands in one
shell each, Python in one interpreter for the page. A block behind ``<!-- not executed: why -->`` is
left out; one behind ``<!-- prints: text -->`` must print that text. ``$ROOT`` is the repository.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- [^\n]+ -->\n)*)^```(?P<language>sh|python)\n(?P<code>.*?)^```", re.M | re.S
)
_NOTE = re.compile(r"<!-- (not executed|prints): (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A piece of code of a page."""

    language: str
    code: str
    prints: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are executed."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        notes = _NOTE.findall(match["notes"])
        if not any(kind == "not executed" for kind, _ in notes):
            prints = tuple(text for kind, text in notes if kind == "prints")
            found.append(Block(match["language"], match["code"], prints))
    return found


def script(page: Path) -> str:
    """Make one shell script of a page: Python blocks are kept up and run together with the last."""
    lines = ["set -euo pipefail"]
    python = ""
    for number, block in enumerate(blocks(page)):
        lines.append(f"echo '== block {number}'")
        code = block.code
        if block.language == "python":
            python += code
            code = f"python - <<'END_OF_PYTHON'\n{python}END_OF_PYTHON\n"
        lines.append(code)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the commands ``wsl`` and ``python`` of this environment."""
    folder = tmp_path_factory.mktemp("bin")
    for name, call in (("wsl", '-c "from wsl.cli import main; main()"'), ("python", "")):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        command.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem
)
def test_the_blocks_of_a_page_run(page: Path, shims: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{shims}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "Agg",
        "ROOT": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-c", script(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    printed = re.split(r"^== block \d+$", done.stdout, flags=re.M)[1:]
    for block, text in zip(blocks(page), printed, strict=True):
        for expected in block.prints:
            assert expected in " ".join(text.split())


def _messages() -> list[str]:
    """All texts of the package, with … where a value is filled in."""
    texts = []
    for path in (ROOT / "wsl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                ]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_the_messages_of_troubleshooting_are_the_programs() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    texts = _messages()
    unknown = [
        message
        for message in told
        if not any(all(part in text for part in message.split("…")) for text in texts)
    ]
    assert len(told) > 30
    assert not unknown


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken
