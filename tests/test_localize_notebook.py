"""What a person types in a notebook: any method's map as an array and as a picture, and lists."""

import io
import re

import numpy as np
import pytest
from PIL import Image

import wsl
from wsl.demo.draw import CATEGORIES, draw_image
from wsl.errors import ConfigError, DataError
from wsl.saliency.gradient import Gradient
from wsl.saliency.methods import METHODS


@pytest.fixture(scope="module")
def fish():
    return Image.fromarray(draw_image(1, seed=0).image)


@pytest.fixture(scope="module")
def localizer():
    return wsl.Localizer(wsl.load_classifier("demo", device="cpu"), "fast")


def is_png_of(data, size):
    return Image.open(io.BytesIO(data)).size == size[::-1]


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"attention_rollout", "cam"}))
def test_any_methods_map_is_an_array_and_a_picture(localizer, fish, method):
    (found,) = localizer.saliency(fish, method=method, classes="fish")
    assert found.saliency.shape == (fish.height, fish.width)
    assert found.saliency.dtype == np.float32
    assert found.saliency.min() >= 0
    picture = found.plot(height=96)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert is_png_of(found._repr_png_(), found.plot().shape[:2])
    assert re.fullmatch(rf"<fish: score .*, probability .* · {method}: map of \d+ x \d+ px>",
                        repr(found))  # fmt: skip


def test_a_method_with_its_options(localizer, fish):
    (found,) = localizer.saliency(fish, method=Gradient(reduction="l2"), classes=1)
    (same,) = localizer.saliency(fish, method="gradient", classes=[1])
    assert (found.method, found.label) == ("gradient", 1)
    assert (found.saliency != same.saliency).any()


def test_a_list_gives_a_list_for_each_image(localizer, fish):
    other = Image.fromarray(draw_image(2, seed=0).image)
    for images in ([fish, other], (fish, np.asarray(other))):
        found = localizer(images, top_k=2)
        alone = [localizer(image, top_k=2) for image in images]
        for each, expected in zip(found, alone, strict=True):
            assert [one.label for one in each] == [one.label for one in expected]
        maps = localizer.saliency(images, top_k=2)
        assert [len(each) for each in maps] == [2, 2]
        np.testing.assert_array_equal(maps[1][0].image, np.asarray(other))
    assert localizer([]) == localizer.saliency([]) == []


def test_one_class_needs_no_list(localizer, fish):
    (found,) = localizer(fish, classes="fish")
    assert found.category == "fish"
    assert localizer(fish, classes=found.label)[0].box == found.box
    with pytest.raises(ConfigError, match=r"there is no class 'fihs'. Did you mean fish"):
        localizer(fish, classes="fihs")


def test_localizations_draw_and_print_themselves(localizer, fish):
    (found,) = localizer(fish, top_k=1)
    assert re.fullmatch(rf"<({'|'.join(CATEGORIES.names)}): rank 1, probability .*>", repr(found))
    assert is_png_of(found._repr_png_(), found.plot().shape[:2])
    assert found.method == localizer.options.saliency.method
    said = f"{found.category}, rank 1, probability {found.score:.3f} · {found.method}"
    np.testing.assert_array_equal(found.plot(), found.plot(title=said))


@pytest.mark.parametrize("image", [3, None, {"a": 1}], ids=str)
def test_what_is_no_image_is_named(localizer, image):
    with pytest.raises(DataError, match=f"but got {type(image).__name__}"):
        localizer(image)


def test_every_name_of_the_package_is_there_and_in_the_reference(request):
    reference = (request.config.rootpath / "docs" / "reference" / "index.md").read_text()
    named = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", reference, re.M)}
    for name in wsl.__all__:
        assert getattr(wsl, name).__name__ == name
    assert set(wsl.__all__) - {"WslError"} <= named
