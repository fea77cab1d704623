"""Progress that tells the truth."""

import time

import pytest
from rich.console import Console

from wsl.cli import terminal
from wsl.cli.terminal import Pace, ProgressBar


def pace_of(bursts, unit="images"):
    pace = Pace(unit)
    for now, done in bursts:
        pace.add(now, done)
    return pace


@pytest.mark.parametrize(
    ("bursts", "now", "left", "text"),
    [
        ([], 60, 10, ""),
        ([(30, 1)], 30, 999, ""),
        ([(30, 1), (30.5, 2)], 30.5, 998, ""),
        ([(30, 1), (34, 2)], 34, 10, "4.0 s/image, 40 s left"),
        ([(30, 3), (36, 6), (42, 9)], 42, 600, "2.0 s/image, 20 min left"),
        ([(0, 0), (10, 50), (20, 100)], 20, 0, "5.0 images/s"),
        ([(0, 0), (10, 50), (20, 100)], 20, 90_000, "5.0 images/s, 5 h left"),
        ([(0, 1), (4, 2)], 40, 10, "20.0 s/image, 3 min 20 s left"),
    ],
    ids=["nothing", "one", "too soon", "slow", "batches", "end", "fast", "stuck"],
)
def test_pace_and_time_left(bursts, now, left, text):
    assert pace_of(bursts).text(now, left) == text


def test_the_pace_is_that_of_the_last_minutes():
    slow = [(10.0 * step, step) for step in range(60)]
    fast = [(600 + step, 60 + 4 * step) for step in range(200)]
    assert pace_of(slow + fast).per_second(799) == pytest.approx(4)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(terminal, "time", found)
    return found


def test_lines_without_a_terminal(clock, capsys):
    with ProgressBar("localize") as progress:
        progress.start(100, 40)
        for _ in range(12):
            clock.now += 4
            progress.advance(1, 0)
        progress.advance(2, 2)
    assert capsys.readouterr().err.splitlines() == [
        "localize: 43 of 100 images, 4.0 s/image, 3 min 48 s left",
        "localize: 46 of 100 images, 4.0 s/image, 3 min 36 s left",
        "localize: 50 of 100 images, 4.0 s/image, 3 min 20 s left",
        "localize: 54 of 100 images, in 48 s, 2 failed",
    ]


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "file"])
def test_nothing_is_shown_where_nothing_is_to_do(capsys, monkeypatch, is_terminal):
    monkeypatch.setattr(Console, "is_terminal", is_terminal)
    with ProgressBar("localize") as progress:
        progress.start(100, 100)
    with ProgressBar("localize") as progress:
        progress.start(0, 0)
    with ProgressBar("localize"):
        pass
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_short_work_is_done_without_a_word(clock, capsys, monkeypatch):
    for is_terminal in (False, True):
        monkeypatch.setattr(Console, "is_terminal", is_terminal)
        with ProgressBar("show", after=600) as progress:
            progress.start(1, 0)
            clock.now += 1
            progress.advance(1, 0)
    assert capsys.readouterr().err == ""


def test_longer_work_gets_its_bar_late(clock, capsys, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    with ProgressBar("show", after=0.01) as progress:
        progress.start(1, 0)
        deadline = time.monotonic() + 60
        while progress._task is None and time.monotonic() < deadline:
            time.sleep(0.01)
        clock.now += 3
        progress.advance(1, 0)
    said = capsys.readouterr().err
    assert "1/1" in said
    assert "in 3 s" in said


def test_a_bar_on_a_terminal(clock, capsys, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    with ProgressBar("occlude", unit="masked images") as progress:
        for _ in range(2):  # one image after the other
            progress.start(8, 0)
            clock.now += 5
            progress.advance(4, 0)
            clock.now += 8
            progress.advance(4, 1)
            progress.stop()
    said = capsys.readouterr().err
    assert "8/8" in said
    assert "in 13 s" in said
