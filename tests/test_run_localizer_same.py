"""What Python gives without a word is what the command gives: the default recipe, row for row."""

import numpy as np
import pytest
from command_line import wsl_here

from wsl import Localizer, load_classifier
from wsl.demo.draw import write_dataset
from wsl.run.folder import RunFolder


def rows(found):
    """Everything that a row of a run says, the mask as its pixels."""
    return [
        (each.label, each.category, each.rank, each.score, each.box, each.quality, each.refined)
        for each in found
    ], [each.mask for each in found]


def assert_same_rows(photos, found, out):
    predictions = {each.image_id: each for each in RunFolder(out).predictions()}
    assert set(predictions) == {photo.stem for photo in photos}
    for photo, localized in zip(photos, found, strict=True):
        (values, masks), (expected, drawn) = (
            rows(localized),
            rows(predictions[photo.stem].localizations),
        )
        assert values == expected
        np.testing.assert_array_equal(masks, drawn)
        assert masks[0].shape == predictions[photo.stem].size


@pytest.mark.slow
@pytest.mark.data
def test_twenty_photographs_through_the_default_recipe(shared_data, shared_weights, tmp_path):
    photos = sorted((shared_data / "data" / "photos").glob("*.JPEG"))[::3][:20]
    assert len(photos) == 20
    weights = shared_weights / "mobilenet_v2-imagenet1k.safetensors"
    done = wsl_here("run", *photos, "--model", "mobilenet_v2", "--checkpoint", weights,
                    "--device", "cpu", "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    localizer = Localizer(load_classifier("mobilenet_v2", checkpoint=weights, device="cpu"))
    assert_same_rows(photos, [localizer(photo) for photo in photos], tmp_path / "run")


def test_a_list_of_drawn_images(tmp_path):
    write_dataset(tmp_path / "data", count=5, seed=3)
    photos = sorted((tmp_path / "data" / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))
    done = wsl_here("run", *photos, "--model", "demo", "--device", "cpu", "--top-k", "2",
                    "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    localizer = Localizer(load_classifier("demo", device="cpu"))
    assert_same_rows(photos, localizer(photos, top_k=2), tmp_path / "run")
