import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from method_maps import maps_of
from pydantic import ValidationError
from torch import nn

from wsl.data.categories import Categories
from wsl.data.geometry import Geometry, average_maps
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.gradient import Gradient
from wsl.saliency.views import (
    ViewOptions,
    make_views,
    resized_preprocessing,
    view_geometries,
)

PREPROCESSING = Preprocessing(resize_size=10, crop_size=(8, 8))
IMAGES = st.tuples(st.integers(3, 24), st.integers(3, 24)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3))
)
KINDS = ("squash", "center_crop", "ten_crop")


@given(image=IMAGES, kind=st.sampled_from(KINDS))
def test_views_are_inputs_with_their_geometry(image, kind):
    before = image.copy()
    views = make_views(image, PREPROCESSING, kind)
    assert views.inputs.shape == (10 if kind == "ten_crop" else 1, 3, 8, 8)
    assert views.inputs.dtype == torch.float32
    assert views.geometries == view_geometries(image.shape[:2], PREPROCESSING, kind)
    assert (image == before).all()


@given(image=IMAGES, kind=st.sampled_from(KINDS))
def test_resizing_once_gives_what_each_geometry_gives(image, kind):
    views = make_views(image, PREPROCESSING, kind)
    for found, geometry in zip(views.inputs, views.geometries, strict=True):
        expected = PREPROCESSING.normalize(geometry.to_input(image))
        assert torch.equal(found, expected)


def test_the_full_view_of_an_image_of_the_inputs_size_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert torch.equal(make_views(image, PREPROCESSING).inputs[0], PREPROCESSING.normalize(image))


def test_ten_crop_is_corners_center_and_their_reflections():
    image = np.arange(10 * 10 * 3, dtype=np.uint16).reshape(10, 10, 3).astype(np.uint8)
    crops = make_views(image, PREPROCESSING, "ten_crop").inputs
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    for index, (top, left) in enumerate(places):
        crop = PREPROCESSING.normalize(image[top : top + 8, left : left + 8])
        assert torch.equal(crops[index], crop)
        assert torch.equal(crops[index + 5], crop.flip(-1))


def test_a_squeezing_preprocessing_squeezes_its_center_view():
    squeezing = Preprocessing(resize_size=(8, 8), crop_size=(8, 8))
    image = np.random.default_rng(0).integers(0, 256, (11, 17, 3), dtype=np.uint8)
    full, center = (make_views(image, squeezing, kind).inputs for kind in ("squash", "center_crop"))
    assert torch.equal(full, center)


def test_input_size_scales_the_resize_with_it():
    options = ViewOptions(kind="center_crop", input_sizes=(112,))
    adapted = resized_preprocessing(Preprocessing(resize_size=256, crop_size=(224, 224)), 112)
    assert (adapted.resize_size, adapted.crop_size) == (128, (112, 112))
    squeezing = Preprocessing(resize_size=(224, 448), crop_size=(224, 224))
    assert resized_preprocessing(squeezing, 112).resize_size == (112, 224)
    assert resized_preprocessing(squeezing, 224) == squeezing
    image = np.zeros((30, 40, 3), np.uint8)
    (geometry,) = make_views(image, Preprocessing(), options).geometries
    assert geometry == Geometry.center_crop((30, 40), 128, (112, 112))


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"no view kind 'center'\. Did you mean center"):
        make_views(np.zeros((4, 4, 3), np.uint8), PREPROCESSING, "center")


@pytest.fixture(scope="module")
def symmetric() -> Classifier:
    """A network that does not tell an image from its reflection: symmetric filters."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight + convolution.weight.flip(-1))
    module = nn.Sequential(convolution, nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(module, PREPROCESSING, Categories.numbered(6), torch.device("cpu"))


def image_map(classifier: Classifier, image: np.ndarray, kind: str) -> np.ndarray:
    views = make_views(image, classifier.preprocessing, kind)
    classes = torch.full((len(views.inputs), 1), 2)
    maps = maps_of(Gradient(), classifier, views.inputs, classes).maps[:, 0]
    return average_maps(list(maps.numpy()), views.geometries)


@given(seed=st.integers(0, 1000), kind=st.sampled_from(KINDS))
def test_the_map_of_a_reflected_image_is_the_reflected_map(symmetric, seed, kind):
    # Sides for which resizing is the identity and the center is exact: see it whole or not at all.
    image = np.random.default_rng(seed).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    found = image_map(symmetric, np.ascontiguousarray(image[:, ::-1]), kind)[:, ::-1]
    np.testing.assert_allclose(found, image_map(symmetric, image, kind), rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 1000))
def test_ten_crops_make_any_network_blind_to_reflection(seed):
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(module, PREPROCESSING, Categories.numbered(6), torch.device("cpu"))
    image = np.random.default_rng(seed).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    found = image_map(classifier, np.ascontiguousarray(image[:, ::-1]), "ten_crop")[:, ::-1]
    np.testing.assert_allclose(
        found, image_map(classifier, image, "ten_crop"), rtol=1e-4, atol=1e-6
    )


def test_flips_double_the_views():
    image = np.random.default_rng(0).integers(0, 256, (11, 17, 3), dtype=np.uint8)
    options = ViewOptions(kind="center_crop", flip=True)
    views = make_views(image, PREPROCESSING, options)
    assert options.count == len(views.inputs) == 2
    assert torch.equal(views.inputs[1], views.inputs[0].flip(-1))
    assert [geometry.flipped for geometry in views.geometries] == [False, True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flip", [False, True])
def test_each_scale_has_the_views_of_its_input_size(kind, flip):
    if flip and kind == "ten_crop":
        with pytest.raises(ValidationError, match="flip must not be set for ten_crop"):
            ViewOptions(kind=kind, flip=flip)
        return
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    options = ViewOptions(kind=kind, flip=flip, input_sizes=(8, 12))
    views = make_views(image, PREPROCESSING, options)
    alone = [
        make_views(image, PREPROCESSING, ViewOptions(kind=kind, flip=flip, input_sizes=(size,)))
        for size in (8, 12)
    ]
    assert len(views.geometries) == options.count
    assert views.geometries == alone[0].geometries + alone[1].geometries
    for found, expected in zip(views.groups, alone, strict=True):
        assert torch.equal(found, expected.inputs)
    with pytest.raises(ValueError, match="views must be of one size, but are of 2"):
        _ = views.inputs


@pytest.mark.parametrize(
    ("own", "sizes", "sides"),
    [
        (224, ("1x", "1.43x"), (224, 320)),
        (128, ("1x", "1.43x"), (128, 184)),
        (299, ("1x", "1.43x", 224), (299, 424, 224)),
        (9, ("1x", "0.1x", "2x"), (9, 8, 16)),
        (64, ("1.0x", 64, "1.01x"), (64,)),
        (64, (), ()),
    ],
)
def test_sizes_are_pixels_or_multiples_of_the_weights_own(own, sizes, sides):
    options = ViewOptions(input_sizes=sizes)
    assert options.sides(Preprocessing(resize_size=own, crop_size=(own, own))) == sides


@pytest.mark.parametrize("size", ["1.43", "x", "-1x", "1.5 x", 0, -3], ids=repr)
def test_other_sizes_are_refused(size):
    with pytest.raises(ValidationError, match="input_sizes"):
        ViewOptions(input_sizes=(size,))


def test_scales_that_contradict_are_refused():
    with pytest.raises(ValidationError, match=r"input_sizes must differ, but are \[8, 8\]"):
        ViewOptions(input_sizes=(8, 8))


def test_classes_at_the_own_size_need_another_size():
    with pytest.raises(ValueError, match="classify_at: default_size needs input_sizes"):
        ViewOptions(classify_at="default_size")
