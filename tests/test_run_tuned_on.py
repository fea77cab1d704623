"""The record of the images that settings were chosen on, and what scores say of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsl.data.categories import Categories
from wsl.data.open import open_dataset
from wsl.data.readers.files import FilesOptions
from wsl.errors import ConfigError
from wsl.localize.recipes import RECIPES
from wsl.run.config import build_config, load_config, to_yaml
from wsl.run.tuned_on import TunedOn, write_image_list, write_pixel_list
from wsl.score.protocol import tuning_notes

CHOSEN = {"dataset": "six files", "objective": "mean_iou", "candidates": 3, "center_side": 0.8}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        (folder / f"{index}.jpg").touch()
    return folder


@pytest.fixture
def listed(tmp_path):
    """Settings that were chosen on the first three photos."""
    write_image_list(tmp_path / "chosen.txt", ["0", "1", "2"])
    return TunedOn(images=str(tmp_path / "chosen.txt"), **CHOSEN).filled()


def opened(photos, **options):
    data = FilesOptions(root=photos, **options)
    return open_dataset(data, Categories(("hen",)))


def test_the_list_is_counted_and_hashed_whatever_its_order(listed, tmp_path):
    assert listed.count == 3
    write_image_list(tmp_path / "other.txt", ["2", "0", "1"])
    other = TunedOn(images=str(tmp_path / "other.txt"), **CHOSEN).filled()
    assert other.sha256 == listed.sha256
    write_image_list(tmp_path / "other.txt", ["2", "0", "3"])
    other = TunedOn(images=str(tmp_path / "other.txt"), **CHOSEN).filled()
    assert other.sha256 != listed.sha256


@given(
    st.sets(
        st.text(min_size=1).filter(lambda name: "\n" not in name and "\r" not in name), min_size=1
    )
)
def test_ids_come_back_from_their_file(tmp_path_factory, image_ids):
    path = tmp_path_factory.mktemp("list") / "ids.txt"
    write_image_list(path, sorted(image_ids))
    assert TunedOn(images=str(path), **CHOSEN).filled().count == len(image_ids)
    assert path.read_text(encoding="utf-8").split("\n")[:-1] == sorted(image_ids)


def test_an_id_of_two_lines_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must have no line break, but one is 'a\\nb'"):
        write_image_list(tmp_path / "ids.txt", ["a\nb"])


def test_a_score_of_the_same_images_is_called_an_oracle(photos, listed):
    assert listed.note(opened(photos, subset="1/2")).startswith("oracle: ")
    assert listed.note(opened(photos)) == (
        "oracle: the settings were chosen on scored images: 3 of the 6 are among those of six "
        "files (3 images) (compared by id alone)"
    )


def test_a_score_of_other_images_says_where_the_settings_come_from(photos, listed):
    assert listed.note(opened(photos, subset="2/2")) == (
        "the settings were chosen elsewhere: on six files (3 images), none of which is scored here "
        "(compared by id alone)"
    )


def test_a_copy_under_another_name_is_found_by_its_pixels(photos, listed, tmp_path):
    rng = np.random.default_rng(0)
    for index in range(6):
        size = (5, 7, 3) if index % 2 else (7, 5, 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(photos / f"{index}.png")
        (photos / f"{index}.jpg").unlink()
    write_pixel_list(tmp_path / "chosen.txt", opened(photos, subset="1/2"))
    assert listed.note(opened(photos, subset="2/2")).endswith(
        "none of which is scored here (compared by id and by pixels)"
    )
    # The same pixels in another file, and one image that cannot be read.
    Image.open(photos / "1.png").save(photos / "4.png", optimize=True)
    (photos / "5.png").write_bytes(b"no image")
    assert listed.note(opened(photos, subset="2/2")) == (
        "oracle: the settings were chosen on scored images: 1 of the 3 are among those of six "
        "files (3 images), 1 of them under other names (compared by id and by pixels)"
    )
    assert "4 of the 6 are among" in listed.note(opened(photos))


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_list_that_cannot_be_compared_is_said_to_be_unknown(photos, listed, tmp_path, what):
    path = tmp_path / "chosen.txt"
    if what == "gone":
        path.unlink()
    else:
        path.write_text("5\n")
    assert "whether any of them is scored here is unknown" in listed.note(opened(photos))


def test_a_configuration_keeps_count_and_hash_without_the_ids(photos, tmp_path, listed):
    (tmp_path / "c.yaml").write_text(
        "tuned_on: {images: chosen.txt, dataset: six files, objective: mean_iou, candidates: 3, "
        "center_side: 0.8}"
    )
    config = load_config(tmp_path / "c.yaml")
    assert config.tuned_on == listed
    dumped = config.model_dump(mode="json")
    assert tuning_notes(dumped, opened(photos)) == (listed.note(opened(photos)),)
    (tmp_path / "chosen.txt").unlink()
    assert build_config(dumped) == config  # as of a run's record, wherever its list is now
    assert "center_side: 0.8" in to_yaml(config)


def test_without_a_record_there_is_no_note(photos):
    config = build_config({"extends": "plain"})
    assert tuning_notes(config.model_dump(mode="json"), opened(photos)) == ()


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tuned_on\.images: cannot read .*none\.txt"):
        build_config({"tuned_on": {**CHOSEN, "images": str(tmp_path / "none.txt")}})
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ConfigError, match="must name one image per line, but is empty"):
        build_config({"tuned_on": {**CHOSEN, "images": str(tmp_path / "empty.txt")}})


def test_the_recipes_lists_hold_each_image_once():
    for path in RECIPES.glob("*.txt"):
        image_ids = path.read_text(encoding="utf-8").splitlines()
        assert image_ids == sorted(set(image_ids))
    assert load_config("default").tuned_on.count == 325
