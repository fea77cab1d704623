"""``wsl tune``, as a person meets it."""

import pytest
from command_line import wsl, wsl_here

from wsl.demo.draw import write_dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset(folder / "data", count=8, seed=1)
    (folder / "c.yaml").write_text(
        "data: {root: data}\n"
        "model: {source: demo, architecture: null}\n"
        "localize: {working_size: 48, refine: {method: grabcut, iterations: 1}}\n"
    )
    return folder


@pytest.mark.slow
def test_tuning_writes_a_configuration_that_runs(drawn):
    result = wsl("tune", "c.yaml", "--split", "val", "--subset", "1/2", "--out", "tuned", "--grid",
                 "localize.seeds.smoothing=[0, 0.02]", "--grid", "localize.seeds.foreground=[0.8]",
                 cwd=drawn)  # fmt: skip
    assert result.returncode == 0, result.stderr
    printed = " ".join(result.stdout.split())
    assert "tuned on ilsvrc val, subset 1/2: gt_known_mean" in printed
    assert "as configured" in printed
    assert "report figures on other images" in printed
    run = wsl_here("run", "tuned/tuned.yaml", "--out", "run", "--set", "data.subset=2/2", cwd=drawn)
    assert run.returncode == 0, run.stderr
    scores = wsl_here("score", "run", cwd=drawn)
    assert "chosen elsewhere: on ilsvrc val, subset 1/2" in " ".join(scores.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "a=[1]"], "a cannot be tuned: keys must be below localize"),
        (["--space", "gone.yaml"], "cannot read the search space gone.yaml"),
        (
            ["--grid", "localize.components=[all]", "--subset", "3/2"],
            "data.subset: subset must be one of 1/2",
        ),
        (
            ["--grid", "localize.components=[all]", "--search", "random"],
            "search must be 'grid' or 'descent'",
        ),
    ],
    ids=["key", "file", "subset", "search"],
)
def test_mistakes_are_one_line_and_status_1(drawn, arguments, message):
    result = wsl_here("tune", "c.yaml", "--out", "other", *arguments, cwd=drawn)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (drawn / "other").exists()
