"""With class groups, everything that a command writes speaks of the groups."""

import json

import pytest
from command_line import wsl_here

from wsl.demo.draw import write_dataset
from wsl.run.folder import RunFolder

GROUPS = """\
plant: [tree, mushroom]
animal: [fish, starfish, butterfly]
thing: [mug, house, car, umbrella, key]
"""
OF_IMAGES = ["thing", "animal", "thing", "thing", "animal", "plant"]
MODEL = ("--model", "demo", "--groups", "groups.yaml", "--recipe", "fast", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("groups")
    write_dataset(root / "data", count=len(OF_IMAGES), seed=0)
    (root / "groups.yaml").write_text(GROUPS)
    return root


@pytest.fixture(scope="module")
def run(folder):
    done = wsl_here("run", "data", *MODEL, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_rows_are_of_the_groups_and_labels_are_those_of_members(run):
    rows = [each.localizations for each in RunFolder(run).predictions()]
    assert [found.category for (found,) in rows] == OF_IMAGES
    assert all(found.is_ground_truth for (found,) in rows)


def test_scores_count_every_image(run):
    done = wsl_here("score", run, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    scores = json.loads((run / "scores.json").read_text())
    known = scores["estimates"]["gt_known_0.5"]
    assert known["n"] == len(OF_IMAGES)


def test_the_report_lists_the_groups(run, tmp_path):
    done = wsl_here("report", run, "--format", "json", "--out", tmp_path, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "report.json").read_text()
    assert all(f'"{name}"' in written for name in ("plant", "animal", "thing"))
    assert '"starfish"' not in written


def test_an_exports_categories_are_the_groups(run, tmp_path):
    done = wsl_here("export", run, "--format", "coco", "--out", tmp_path / "coco", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "coco" / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert set(names.values()) == {"plant", "animal", "thing"}
    assert [names[each["category_id"]] for each in content["annotations"]] == OF_IMAGES


def test_a_single_picture_and_a_method_are_of_a_group(folder, tmp_path):
    image = "data/Data/CLS-LOC/val/DEMO_val_00000002.JPEG"
    shown = wsl_here("show", image, *MODEL, "--out", tmp_path, cwd=folder)
    assert f"{tmp_path}/DEMO_val_00000002-1-animal.png: animal, rank 1" in shown.stdout
    drawn = wsl_here("visualize", "gradient", image, *MODEL[:4], "--class", "plant",
                     "--out", tmp_path, cwd=folder)  # fmt: skip
    assert "plant: score" in drawn.stdout, drawn.stderr


def test_methods_are_compared_on_the_groups(folder, tmp_path):
    done = wsl_here("compare", "data", *MODEL, "--methods", "gradient,fast", "--pictures", "0",
                    "--format", "csv", "--out", tmp_path, cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("gradient", "fast"):
        rows = [each.localizations[0].category for each in RunFolder(tmp_path / name).predictions()]
        assert rows == OF_IMAGES
