import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from wsl.data.categories import Categories
from wsl.data.geometry import average_maps
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attribution import attribute
from wsl.saliency.base import top_k
from wsl.saliency.explain import TargetOptions, explain, explain_target
from wsl.saliency.gradient import gradient_saliency
from wsl.saliency.methods import METHODS
from wsl.saliency.options import SaliencyOptions
from wsl.saliency.targets import Filter, Neuron
from wsl.saliency.views import make_views

SIZE = (12, 10)
PREPROCESSING = Preprocessing(resize_size=12, crop_size=SIZE)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    module[-1].weight.data.abs_()  # so that no class activation map is all below 0
    names = Categories(("cat", "dog, hound", "notebook", "owl"))
    return Classifier(module.train(), PREPROCESSING, names, torch.device("cpu"))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def options(method, **more):
    content = {"method": method, **more}
    if method == "occlusion":
        content.setdefault("occlusion", {"size": 5, "stride": 4})
    return SaliencyOptions.model_validate(content)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_the_first_classes(classifier, image, method):
    found = explain(classifier, image, options(method), first=2)
    with torch.no_grad():
        scores = classifier.module(make_views(image, PREPROCESSING).inputs)[0]
    first, second = scores.argsort(descending=True)[:2].tolist()
    assert [each.label for each in found] == [first, second]
    name = classifier.categories.names[first]
    probability = scores.softmax(0)[first]
    assert found[0].title == f"{name}: score {scores[first]:.2f}, probability {probability:.3f}"
    for each in found:
        assert each.saliency.shape == (24, 20)
        assert each.saliency.dtype == np.float32
        assert each.saliency.min() >= 0
        assert each.saliency.max() > 0
    assert classifier.module.training


def test_the_map_is_the_methods_averaged_over_the_views(classifier, image):
    saliency = options("gradient", views={"kind": "ten_crop"})
    (found,) = explain(classifier, image, saliency, classes=["owl"])
    views = make_views(image, PREPROCESSING, "ten_crop")
    select = lambda scores: torch.full((10, 1), 3)  # noqa: E731
    maps = gradient_saliency(classifier, views.inputs, select).maps[:, 0].numpy()
    np.testing.assert_array_equal(found.saliency, average_maps(maps, views.geometries))


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
@pytest.mark.parametrize("scales", [(), (8, 16)])
def test_classes_may_be_chosen_at_the_weights_own_size(image, method, scales):
    torch.manual_seed(0)
    # The first class depends on the input's size: convolutions without padding, and their sum.
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(2), Sum(), nn.Linear(4, 4))
    names = Categories.numbered(4)
    preprocessing = Preprocessing(resize_size=12, crop_size=(12, 12))
    classifier = Classifier(module, preprocessing, names, torch.device("cpu"))
    sizes = {"input_sizes": scales} if scales else {"input_size": 40}
    found = explain(
        classifier, image, options(method, views={**sizes, "classify_at": "default_size"}), first=4
    )
    with torch.no_grad():
        own = module(make_views(image, preprocessing).inputs)[0]
        large = module(make_views(image, classifier_at(preprocessing, 40)).inputs)[0]
    assert [each.label for each in found] == own.argsort(descending=True).tolist()
    assert own.argsort().tolist() != large.argsort().tolist()
    assert f"score {own.max():.2f}" in found[0].title


def classifier_at(preprocessing, size):
    return dataclasses.replace(preprocessing, resize_size=size, crop_size=(size, size))


class Sum(nn.Module):
    """Sums over positions, less what a 12 x 12 input has: the order changes with the size."""

    def forward(self, inputs):
        return inputs.sum(dim=2) * (1 if inputs.shape[2] == 100 else -1)


def test_occlusion_says_where_it_is_lowest_and_what_it_is_taken_for():
    # "notebook" is the constant 0.5, "cat" the sum of the bright second column.
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 4, 4))
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].bias.copy_(torch.tensor([0.0, -9.0, 0.5, -9.0]))
        module[1].weight[0].reshape(3, 2, 4)[0, :, 1] = 1
    preprocessing = Preprocessing(
        resize_size=4,
        crop_size=(2, 4),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="nearest",
    )
    names = Categories(("cat", "dog", "notebook, laptop", "owl"))
    classifier = Classifier(module, preprocessing, names, torch.device("cpu"))
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 1] = 255
    saliency = options("occlusion", occlusion={"size": 1, "stride": 1, "fill": [0, 0, 0]})
    (found,) = explain(classifier, np.kron(image, np.ones((3, 3, 1), np.uint8)), saliency)
    assert found.label == 0
    assert found.note == "lowest, 1, under the mask at x 4, y 2, and still first"
    np.testing.assert_allclose(found.arrays["scores"], [[2, 1, 2, 2]] * 2)
    saliency = options("occlusion", occlusion={"size": 3, "stride": 1, "fill": [0, 0, 0]})
    (found,) = explain(classifier, image, saliency)
    assert found.note.endswith("and taken for notebook")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "cam"])
def test_a_channel_and_a_neuron_are_explained_as_attribute_does(classifier, image, method):
    layers = {
        "grad_cam": {"cam": {"layer": "0"}},
        "layer_cam": {"cam": {"layer": "0"}},
        "layercam_fusion": {"layercam_fusion": {"layers": ["0"]}},
    }
    more = layers.get(method, {})
    for target in (
        TargetOptions(layer="2", channel=3),
        TargetOptions(layer="2", channel=3, position=(4, 5)),
    ):
        (found,) = explain_target(classifier, image, options(method, **more), target)
        assert found.title.startswith(f"{target.name}: ")
        assert found.saliency.max() > 0
        if method not in ("gradient", "guided_backprop"):
            continue
        built = Filter("2", 3) if target.position is None else Neuron("2", 3, (4, 5))
        rule = "gradient" if method == "gradient" else method
        inputs = make_views(image, PREPROCESSING).inputs
        # attribute's gradients are of the normalized input, explain's of pixels.
        wanted = attribute(classifier, inputs, built, rule=rule, modifier=lambda g: (
            g / torch.tensor(PREPROCESSING.std)[:, None, None]).abs())  # fmt: skip
        views = make_views(image, PREPROCESSING)
        expected = average_maps(wanted.numpy(), views.geometries)
        np.testing.assert_allclose(found.saliency, expected, rtol=1e-4, atol=1e-7)


def test_targets_name_a_layer(classifier, image):
    assert TargetOptions().build() is None
    with pytest.raises(ConfigError, match=r"target.layer must be given with target.channel"):
        TargetOptions(channel=3).build()
    with pytest.raises(ModelError, match="no layer '7'"):
        explain_target(classifier, image, options("gradient"), TargetOptions(layer="7"))
    with pytest.raises(ConfigError, match=r"target.layer must name a layer"):
        explain_target(classifier, image, options("gradient"), TargetOptions())
    with pytest.raises(ConfigError, match="cam explains classes only"):
        explain_target(classifier, image, options("cam"), TargetOptions(layer="0"))
    saliency = options("occlusion", occlusion={"score": "probability"})
    with pytest.raises(ConfigError, match="score must be unnormalized for a channel"):
        explain_target(classifier, image, saliency, TargetOptions(layer="0"))


def test_unknown_classes_are_refused(classifier, image):
    with pytest.raises(ConfigError, match=r"there is no class 'bat'\. Did you mean cat"):
        explain(classifier, image, options("gradient"), classes=["bat"])


def test_top_k_and_classes_agree(classifier, image):
    saliency = options("gradient")
    (best,) = explain(classifier, image, saliency, first=1)
    (same,) = explain(classifier, image, saliency, classes=[best.label])
    np.testing.assert_array_equal(best.saliency, same.saliency)
    inputs = make_views(image, PREPROCESSING).inputs
    assert gradient_saliency(classifier, inputs, top_k(1)).classes.item() == best.label
