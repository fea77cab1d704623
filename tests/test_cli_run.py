"""The options of ``wsl run`` for long runs and many machines."""

import os
import subprocess
import sys

import pytest
from pycocotools.coco import COCO
from small_runs import classifier
from tuning_cases import config as tuning_config
from tuning_cases import draw_dataset
from typer.testing import CliRunner

from wsl import cli
from wsl.demo.draw import write_dataset
from wsl.errors import ConfigError, RunError
from wsl.run.runner import run_dataset

RUN = ["run", "demo"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    write_dataset(root / "data", count=6, seed=0)
    return root


def call(*arguments):
    """Call the command in this process; errors come out as they are."""
    return CliRunner().invoke(cli.app, [str(each) for each in arguments], catch_exceptions=False)


def run(demo, out, *arguments):
    settings = (f"data.root={demo / 'data'}", "run.chunk_size=2", "model.device=cpu")
    sets = [word for setting in settings for word in ("--set", setting)]
    return call(*RUN, "--out", out, *sets, *arguments)


@pytest.mark.slow
def test_shards_and_the_state_of_a_run(demo, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    out = demo / "run"
    first = run(demo, out, "--shard", "0/2")
    assert first.exit_code == 0, first.output
    assert "4 images, 0 failed" in first.output
    said = call("run", "--status", out).output.splitlines()
    assert said[0] == f"{out}: 4 of 6 images done, 2 of 3 chunks"
    assert said[1:] == ["not done: chunk 1"]
    second = run(demo, out, "--shard", "1/2", "--verify", "--retry-failed")
    assert "2 images, 0 failed" in second.output
    assert call("run", "--status", out).output == f"{out}: 6 of 6 images done, 3 of 3 chunks\n"


@pytest.mark.slow
def test_photographs_to_coco_in_one_command(demo, tmp_path, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    photos = demo / "data" / "Data" / "CLS-LOC" / "val"
    done = call("run", photos, "--data", "files", "--model", "demo", "--recipe", "fast",
                "--device", "cpu", "--out", tmp_path / "run", "--export", "coco")  # fmt: skip
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "run" / "export" / "coco" / "annotations").glob("instances_*.json")
    read = COCO(str(path))
    assert len(read.imgs) == len(read.anns) == 6
    assert all(read.annToMask(annotation).any() for annotation in read.anns.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["run"], ConfigError, "needs --out"),
        (["run", "--status", "nowhere"], RunError, "nowhere is not a run"),
        ([*RUN, "--out", "x", "--shard", "2/2"], ConfigError, "a shard must be i/n"),
        (
            [*RUN, "--out", "x", "--export", "cocoa"],
            ConfigError,
            "must be one of .* but got 'cocoa'. Did you mean coco",
        ),
        (
            [*RUN, "--out", "x", "--export", "coco", "--shard", "0/2"],
            ConfigError,
            "--export and --shard must not both be given",
        ),
        (
            [*RUN, "--out", "memory://x", "--export", "coco"],
            ConfigError,
            "--export must have a local --out, but got memory://x",
        ),
        (
            [*RUN, "--out", "x", "--engine", "rai"],
            ConfigError,
            "no engine 'rai'. Did you mean ray?",
        ),
        ([*RUN, "--out", "x", "--actors", "2"], ConfigError, "need --engine ray"),
        ([*RUN, "--out", "x", "--engine", "ray", "--actors", "0"], ConfigError, "actors must be"),
        (
            [*RUN, "--out", "x", "--engine", "ray", "--shard", "0/2"],
            ConfigError,
            "shares out the chunks itself",
        ),
        ([*RUN, "--out", "what://a/b"], ConfigError, "Protocol not known"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else None,
)
def test_mistakes_are_told(arguments, error, message, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(error, match=message):
        call(*arguments)


def in_a_process(command, folder):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command.split()],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
        check=False,
    )


WITHOUT_TORCH = """
import sys
from wsl.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(
    "command",
    [
        "score .",
        "report . nowhere",
        "export . --format coco --out out",
        "run --status .",
        "run settings.yaml --out .",
    ],
)
def test_what_is_no_run_is_told_before_anything_heavy_is_imported(command, tmp_path):
    (tmp_path / "settings.yaml").write_text("seed: 0\n")
    done = in_a_process(command, tmp_path)
    assert done.returncode == 1
    assert "not a run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    ["score run", "export run --format coco --out out", "report run --pictures 0 --out out"],
)
def test_what_needs_no_classifier_imports_no_torch(command, tmp_path):
    """Half a gigabyte, and seconds."""
    settings = tuning_config(draw_dataset(tmp_path / "data"))
    run_dataset(settings, tmp_path / "run", classifier=classifier())
    assert in_a_process(command, tmp_path).returncode == 0
