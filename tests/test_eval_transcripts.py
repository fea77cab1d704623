"""What is written down is what was typed and what came, without a path of the machine."""

import re
from pathlib import Path

import pytest

from eval.figures import transcripts
from eval.figures.transcripts import PAGES, Transcript


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(transcripts, "PAGES", tmp_path / "pages")
    folder = tmp_path / "folder"
    folder.mkdir()
    return Transcript("page", folder, Path("/usr/bin"))


def written(page):
    page.write()
    return (transcripts.PAGES / "page.md").read_text()


def test_commands_and_their_output(page):
    page.say("Two  words,\nand\n\nanother paragraph.")
    page.type("echo one; echo two >&2", "pwd")
    text = written(page)
    assert text.startswith("Two words, and\n\nanother paragraph.\n\n```console\n$ echo one;")
    assert "one\ntwo\n$ pwd\n.\n```" in text
    assert re.search(r"commit [0-9a-f]{40}", text)


def test_a_command_that_fails_ends_the_page(page):
    with pytest.raises(SystemExit, match="exit 3 ended with 3"):
        page.type("exit 3")


@pytest.mark.parametrize("text", ["saved /home/me/run", "/tmp/x: no such file"])
def test_a_path_of_the_machine_is_refused(page, text):
    with pytest.raises(SystemExit, match=r"page: the path /.* must not be published"):
        page.block(text)


def test_the_pages_of_the_documentation_hold_none():
    pages = sorted(PAGES.glob("*.md"))
    assert len(pages) == 5
    for each in pages:
        assert not re.search(r"(?<![\w.:/(])/\w+/", each.read_text()), each.name
