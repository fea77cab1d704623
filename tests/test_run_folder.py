"""run.json: what is no run's is refused with a reason."""

from dataclasses import asdict
from pathlib import Path

import pytest

from wsl.errors import RunError
from wsl.run.folder import RunFolder
from wsl.run.info import RunInfo
from wsl.run.status import read_status
from wsl.storage import write_json


def info():
    return RunInfo(
        config={"run": {"chunk_size": 4}},
        dataset={"name": "files", "count": 11, "fingerprint": "0"},
        categories={"names": ["a", "b"], "ids": None},
        model={"name": "m", "fingerprint": "0", "device": "cpu"},
        versions={},
    )


def test_run_json_comes_back(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert folder.begin(info()) == info()
    assert folder.read_info() == info()
    assert folder.add_timings({"wall": 2.5}).timings == {"wall": 2.5}
    assert folder.add_timings({"wall": 1.0, "decode": 3.0}).timings == {"wall": 3.5, "decode": 3.0}


def test_a_run_that_another_process_begins_meanwhile_is_a_run(tmp_path, monkeypatch):
    """It wrote its run.json and a part after ours had looked for one."""
    folder = RunFolder(tmp_path / "run")
    folder.make()
    listed = Path.iterdir

    def late(path):
        if path == folder.path:
            write_json(folder.info_path, asdict(info()))
            folder.part_path(0).touch()
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", late)
    folder.check()


# Found by tests/fuzz.py.
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "fingerprint"), None),
        (("model",), {}),
        (("dataset", "count"), "many"),
        (("dataset",), []),
        (("categories", "ids"), ["x"]),
        (("categories",), {"names": ["a", "b"]}),
        (("categories", "names"), [1, 2]),
        (("timings",), None),
        (("schema",), 2),
        (("more",), 1),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_damaged_run_json_is_refused(tmp_path, place, value):
    folder = RunFolder(tmp_path / "run")
    folder.begin(info())
    content = asdict(info())
    *path, last = place
    inner = content
    for key in path:
        inner = inner[key]
    inner[last] = value
    write_json(folder.info_path, content)
    with pytest.raises(RunError, match=r"run\.json (is not a run's|must have schema)"):
        folder.begin(info())


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema": 1', "\xff", '{"schema": 1}'])
def test_what_is_no_run_json_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"run\.json"):
        RunFolder(tmp_path).read_info()


@pytest.mark.parametrize("config", [{}, {"run": []}, {"run": {"chunk_size": 0}}])
def test_the_state_needs_the_size_of_chunks(tmp_path, config):
    content = asdict(info()) | {"config": config}
    write_json(tmp_path / "run.json", content)
    with pytest.raises(RunError, match=r"run\.chunk_size must be at least 1"):
        read_status(tmp_path)


def test_thousands_of_chunks_are_listed_without_being_read(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(info())
    for chunk in range(5000):
        if chunk % 1000:
            folder.part_path(chunk).touch()
    assert set(range(5000)) - folder.done() == {0, 1000, 2000, 3000, 4000}
