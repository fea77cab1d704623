"""The record of the images that settings were chosen on, and what scores say of it."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsl.data.categories import Categories
from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.readers.files import FilesOptions
from wsl.errors import ConfigError
from wsl.run.config import build_config, to_yaml
from wsl.run.tuned_on import TunedOn
from wsl.score.protocol import tuning_notes


@pytest.fixture
def photos(tmp_path):
    for index in range(6):
        (tmp_path / f"{index}.jpg").touch()
    return tmp_path


def opened(photos, **options):
    data = FilesOptions(root=photos, **options)
    return open_dataset(data, Categories(("hen",)))


def tuned_on(dataset):
    return TunedOn.of(dataset, objective="mean_iou", candidates=3, center_side=0.8)


def test_it_records_the_list_of_images(photos):
    half = opened(photos, subset="1/2")
    found = tuned_on(half)
    assert found.dataset == f"files {photos.name}, part 1/2"
    assert (found.count, found.fingerprint) == (3, dataset_fingerprint(half))
    digests = sorted(hashlib.sha256(name.encode()).digest()[:6] for name in "012")
    assert base64.b64decode(found.images) == b"".join(digests)


@given(st.sets(st.text(min_size=1), min_size=1), st.sets(st.text(min_size=1)))
def test_shared_images_are_counted(first, second):
    class Listed:
        name = "listed"
        image_ids = tuple(first)

        def __len__(self):
            return len(first)

    assert tuned_on(Listed()).shared(second) == len(first & second)


def test_a_score_of_the_same_images_is_called_an_oracle(photos):
    found = tuned_on(opened(photos, subset="1/2"))
    assert found.note(opened(photos, subset="1/2")).startswith("oracle: ")
    whole = found.note(opened(photos))
    assert whole.startswith("oracle: the settings were chosen on scored images: 3 of the 6 ")
    assert f"files {photos.name}, part 1/2 (3 images)" in whole


def test_a_score_of_other_images_says_where_the_settings_come_from(photos):
    note = tuned_on(opened(photos, subset="1/2")).note(opened(photos, subset="2/2"))
    assert note == (
        f"the settings were chosen elsewhere: on files {photos.name}, part 1/2 (3 images), none of "
        "which is scored here"
    )


def test_a_configuration_keeps_it(photos, tmp_path):
    block = tuned_on(opened(photos, subset="1/2")).model_dump()
    config = build_config({"tuned_on": block})
    assert "center_side: 0.8" in to_yaml(config)
    assert config.tuned_on == TunedOn(**block)
    dumped = config.model_dump(mode="json")
    assert tuning_notes(dumped, opened(photos)) == (config.tuned_on.note(opened(photos)),)
    assert tuning_notes(build_config({}).model_dump(mode="json"), opened(photos)) == ()


@pytest.mark.parametrize("images", ["", "é", "AAAA"], ids=["empty", "no Base64", "three bytes"])
def test_damaged_digests_are_refused(photos, images):
    block = tuned_on(opened(photos)).model_dump() | {"images": images}
    with pytest.raises(ConfigError, match=r"tuned_on\.images: images must"):
        build_config({"tuned_on": block})
