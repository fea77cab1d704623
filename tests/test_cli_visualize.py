"""The command ``wsl visualize``, as a person meets it."""

import pytest
from command_line import wsl, wsl_here
from PIL import Image

from wsl.demo.draw import draw_image
from wsl.saliency.methods import METHODS

DEMO = ("--model", "demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    Image.fromarray(draw_image(1, seed=0).image).save(path / "fish.png")
    return path


def test_the_list_names_every_method():
    lines = wsl_here("visualize", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*METHODS, "activation_maximization"]
    assert "arXiv:1311.2901" in next(line for line in lines if line.startswith("occlusion"))


@pytest.mark.slow
def test_occlusion_of_a_drawn_fish(folder, tmp_path):
    result = wsl("visualize", "occlusion", "fish.png", *DEMO, "--class", "fish", "--out", tmp_path,
                 "--set", "saliency.size=31", "--set", "saliency.stride=16",
                 cwd=folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "fish: score" in result.stdout
    assert "lowest, " in result.stdout
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".npy"}


@pytest.mark.slow
def test_a_maximized_class_and_a_channel(folder, tmp_path):
    result = wsl_here("visualize", "activation_maximization", *DEMO, "--class", "car", "--out",
    tmp_path,
                 "--set", "activation_maximization.steps=3", cwd=folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "car: score" in result.stdout
    result = wsl_here("visualize", "guided_backprop", "fish.png", *DEMO, "--out", tmp_path,
                 "--set", "target.layer=features.8", "--set", "target.channel=3",
                 cwd=folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "features.8 channel 3: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "METHOD must be given; wsl visualize --list names them"),
        (["gradeint", "a.png"], "there is no method 'gradeint'. Did you mean gradient"),
        (["gradient"], "gradient must have images, but got none"),
        (["activation_maximization", "a.png"], "must have no image, but got a.png"),
        (["gradient", "a.png", "--set", "activation_maximization.steps=3"],
         "activation_maximization.steps=3 must not be set for method gradient"),
        (["activation_maximization", "--set", "activation_maximization.step=3"],
         "step is an unknown key. Did you mean steps"),
        (["gradient", "a.png", "--set", "saliency.size=3"],
         "saliency.size is an option of method occlusion, but method is gradient"),
        (["gradient", "fish.png", *DEMO, "--set", "target.layer=feature.8"],
         "no layer 'feature.8'. Did you mean features.8"),
        (["gradient", "none.png", *DEMO], "none.png"),
        (["activation_maximization", *DEMO], "must have classes"),
    ],
    ids=["none", "name", "no image", "image", "model option", "key", "option", "layer", "file",
         "no class"],
)  # fmt: skip
def test_mistakes_are_one_line_and_status_1(folder, arguments, message):
    result = wsl_here("visualize", *arguments, cwd=folder)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
