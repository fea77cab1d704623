"""The options of ``wsl run`` for long runs and many machines."""

import pytest
from typer.testing import CliRunner

from wsl import cli
from wsl.demo.draw import write_dataset
from wsl.errors import ConfigError, RunError

RUN = ["run", "configs/demo.yaml"]


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
    assert said[0].startswith(f"{out}: 2 of 3 chunks done, 4 of 6 images")
    assert said[1:] == ["missing: 1 chunks: 1"]
    second = run(demo, out, "--shard", "1/2", "--verify", "--retry-failed")
    assert "2 images, 0 failed" in second.output
    assert call("run", "--status", out).output.startswith(f"{out}: 3 of 3 chunks done")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["run"], ConfigError, "needs a CONFIG and --out"),
        (["run", "--status", "nowhere"], RunError, "nowhere is not a run"),
        ([*RUN, "--out", "x", "--shard", "2/2"], ConfigError, "a shard must be i/n"),
        (
            [*RUN, "--out", "x", "--engine", "rai"],
            ConfigError,
            "no engine 'rai'. Did you mean ray?",
        ),
        ([*RUN, "--out", "x", "--actors", "2"], ConfigError, "need --engine ray"),
        ([*RUN, "--out", "x", "--engine", "ray", "--actors", "0"], ConfigError, "actors: "),
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
