"""The command line, as a person meets it: what it prints, what it exits with."""

import json

import numpy as np
import pytest
from command_line import without_heavy_imports, wsl, wsl_here
from PIL import Image

from wsl.demo.scene import CATEGORIES


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, wsl("demo", "--out", out, "--count", 12, "--pictures", 2)


@pytest.mark.slow
def test_the_demo_runs_scores_and_draws(demo):
    out, result = demo
    assert result.returncode == 0, result.stderr
    assert "12 images, 0 failed" in result.stdout
    assert "mean IoU of the masks" in result.stdout
    scores = json.loads((out / "run" / "scores.json").read_text())
    assert scores["estimates"]["gt_known_0.5"]["n"] == 12
    pictures = list((out / "pictures").glob("*.png"))
    assert len(pictures) == 2
    assert all(np.asarray(Image.open(path)).std() > 10 for path in pictures)


@pytest.mark.slow
def test_a_run_can_be_scored_again(demo):
    out, _ = demo
    before = (out / "run" / "scores.json").read_text()
    result = wsl_here("score", out / "run")
    assert result.returncode == 0, result.stderr
    assert "localization error top5" in result.stdout
    assert (out / "run" / "scores.json").read_text() == before


@pytest.mark.slow
def test_a_run_is_scored_by_other_protocols(demo):
    out, _ = demo
    result = wsl_here(
        "score", out / "run", "--protocol", "mask_iou", "--set", "score.center_side=0.5"
    )
    assert result.returncode == 0, result.stderr
    scores = json.loads((out / "run" / "scores-mask_iou.json").read_text())
    assert scores["estimates"]["mask_iou"]["n"] == 12
    assert [baseline["name"] for baseline in scores["baselines"]][1] == "centered box 0.5"


@pytest.mark.slow
def test_a_run_has_a_report(demo, tmp_path):
    out, _ = demo
    result = wsl("report", out / "run", "--pictures", 2, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "index.html").stat().st_size > 20_000
    result = wsl_here("report", out / "run", "--format", "json", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "report.json").read_text())


@pytest.mark.slow
def test_a_run_is_exported(demo, tmp_path):
    out, _ = demo
    result = wsl_here("export", out / "run", "--format", "coco", "--out", tmp_path / "coco")
    assert result.returncode == 0, result.stderr
    assert "of 12 images" in result.stdout
    assert (tmp_path / "coco" / "annotations" / "instances_train.json").exists()
    result = wsl("export", out / "run", "--format", "cocoa", "--out", tmp_path / "other")
    assert result.returncode == 1
    assert "Did you mean coco?" in result.stderr


@pytest.mark.slow
def test_a_bad_image_ends_with_status_3(demo, tmp_path):
    out, _ = demo
    folder = tmp_path / CATEGORIES.ids[0]
    folder.mkdir()
    good = next((out / "data" / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))
    (folder / "good.jpg").write_bytes(good.read_bytes())
    (folder / "bad.jpg").write_bytes(good.read_bytes()[:1000])
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{format: folder, root: {tmp_path}}}\nmodel: {{source: demo}}\n")
    result = wsl("run", config, "--out", tmp_path / "run", "--set", "model.architecture=null")
    assert result.returncode == 3
    assert "2 images, 1 failed" in result.stdout
    assert "bad.jpg" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_show_draws_a_strip_per_class(demo, tmp_path):
    out, _ = demo
    image = next((out / "data" / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))
    demo_network = ("--set", "model.source=demo", "--set", "model.architecture=null")
    result = wsl_here("show", image, *demo_network, "--top-k", 2, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "rank 1, probability" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml", "--out", "x"], "cannot read the configuration none.yaml"),
        (["score", "nowhere"], "nowhere is not a run: it has no run.json"),
        (["config", "show", "none.yaml"], "cannot read the configuration none.yaml"),
        (["show", "none.jpg", "--set", "model.source=demo", "--set", "model.architecture=null"],
         "none.jpg"),
    ],
    ids=["run", "score", "config", "show"],
)  # fmt: skip
def test_mistakes_are_one_line_and_status_1(tmp_path, arguments, message):
    result = wsl_here(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_config_show_and_schema(tmp_path):
    (tmp_path / "a.yaml").write_text("seed: 5")
    shown = wsl_here("config", "show", tmp_path / "a.yaml", "--set", "classes.top_k=3")
    assert "seed: 5" in shown.stdout
    assert "top_k: 3" in shown.stdout
    schema = json.loads(wsl_here("config", "schema").stdout)
    assert {"localize", "score", "export", "target", "activation_maximization"} <= set(
        schema["properties"]
    )


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument):
    assert without_heavy_imports(argument).strip()


@pytest.mark.slow
@pytest.mark.parametrize("order", ["worst", "doubtful"])
def test_a_sheet_shows_some_images_of_a_run(demo, tmp_path, order):
    out, _ = demo
    result = wsl_here("show", out / "run", f"--{order}", 3, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*.png")
    assert str(path) in result.stdout
    assert np.asarray(Image.open(path)).std() > 10


def test_a_sheet_is_of_one_run(tmp_path):
    result = wsl_here("show", tmp_path, tmp_path, "--worst", 3)
    assert result.returncode == 1
    assert "a sheet is of one run" in result.stderr
