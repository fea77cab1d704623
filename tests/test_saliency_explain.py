import dataclasses
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_maps import maps_of
from torch import nn

from wsl.data.categories import Categories
from wsl.data.geometry import Geometry, average_maps
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency import class_maps as class_maps_module
from wsl.saliency.attribution import attribute
from wsl.saliency.class_maps import class_maps
from wsl.saliency.explain import explain, explain_target, fitting_views
from wsl.saliency.gradient import Gradient
from wsl.saliency.methods import METHODS
from wsl.saliency.targets import Filter, Neuron, TargetOptions
from wsl.saliency.views import ViewOptions, Views, make_views

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
    quick = {"size": 5, "stride": 4} if method == "occlusion" else {}
    return METHODS[method].model_validate({**quick, **more})


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"attention_rollout"}))
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
    maps = maps_of(saliency, classifier, views.inputs, torch.full((10, 1), 3)).maps[:, 0].numpy()
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
    sizes = {"input_sizes": scales} if scales else {"input_sizes": (40,)}
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
    saliency = options("occlusion", size=1, stride=1, fill=[0, 0, 0])
    (found,) = explain(classifier, np.kron(image, np.ones((3, 3, 1), np.uint8)), saliency)
    assert found.label == 0
    assert found.note == "lowest, 1, under the mask at x 4, y 2, and still first"
    np.testing.assert_allclose(found.arrays["scores"], [[2, 1, 2, 2]] * 2)
    saliency = options("occlusion", size=3, stride=1, fill=[0, 0, 0])
    (found,) = explain(classifier, image, saliency)
    assert found.note.endswith("and taken for notebook")


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"cam", "attention_rollout", "auto"}))
def test_a_channel_and_a_neuron_are_explained_as_attribute_does(classifier, image, method):
    layers = {
        "grad_cam": {"layer": "0"},
        "layer_cam": {"layer": "0"},
        "layercam_fusion": {"layers": ["0"]},
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
        wanted = attribute(
            classifier, make_views(image, PREPROCESSING).inputs, built, method=method
        )
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
    saliency = options("occlusion", score="probability")
    with pytest.raises(ConfigError, match="probabilities must be those of classes"):
        explain_target(classifier, image, saliency, TargetOptions(layer="0"))


def test_unknown_classes_are_refused(classifier, image):
    with pytest.raises(ConfigError, match=r"there is no class 'bat'\. Did you mean cat"):
        explain(classifier, image, options("gradient"), classes=["bat"])


def test_top_k_and_classes_agree(classifier, image):
    saliency = options("gradient")
    (best,) = explain(classifier, image, saliency, first=1)
    (same,) = explain(classifier, image, saliency, classes=[best.label])
    np.testing.assert_array_equal(best.saliency, same.saliency)


# Scores, ranks and maps of a batch of images.


class Given(nn.Module):
    """Scores that stand in the input's first channel; counts the inputs of each forward pass."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        self.seen.append(len(inputs))
        return inputs[:, 0, 0] * 1


def given_scores(rows):
    """Make a classifier of the scores (N, V, C), and the views of N images."""
    scores = torch.tensor(rows, dtype=torch.float32)
    count = scores.shape[2]
    plain = Preprocessing(resize_size=1, crop_size=(1, count), mean=(0.0,) * 3, std=(1.0,) * 3)
    made = Classifier(Given(), plain, Categories.numbered(count), torch.device("cpu"))
    geometry = Geometry.squash((1, count), (1, count))
    inputs = scores[:, :, None, None].expand(-1, -1, 3, -1, -1)
    return made, [Views((image,), (geometry,) * scores.shape[1]) for image in inputs]


@settings(max_examples=60)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda views: st.lists(
            st.lists(
                st.lists(st.integers(2, 6), min_size=6, max_size=6),
                min_size=views,
                max_size=views,
            ),
            min_size=1,
            max_size=3,
        )
    ),
    first=st.integers(0, 8),
    wanted=st.lists(st.integers(0, 5), max_size=3),
)
def test_ranks_of_the_first_k_are_1_to_k_whatever_the_ties(rows, first, wanted):
    classifier, views = given_scores(rows)
    found = class_maps(classifier, Gradient(), views, [wanted] * len(rows), first=first)
    for image, scores in zip(found, np.array(rows, float).mean(axis=1), strict=True):
        # Of equal scores the smaller index comes first.
        order = sorted(range(6), key=lambda label: (-scores[label], label))
        expected = [label for label in order if label in {*order[:first], *wanted}]
        assert image.classes == tuple(expected)
        assert image.ranks == tuple(order.index(label) + 1 for label in expected)
        assert image.ranks[:first] == tuple(range(1, min(first, 6) + 1))
        probabilities = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(image.scores, scores[expected])
        np.testing.assert_allclose(image.probabilities, probabilities[expected])
        assert all(map_.shape == (len(expected), 1, 6) for map_ in image.input_maps)
        for slot, label in enumerate(expected):
            assert all(np.flatnonzero(map_[slot]) == [label] for map_ in image.input_maps)


def test_of_1000_equal_scores_the_first_3_have_ranks_1_to_3():
    classifier, views = given_scores([[[0] * 1000]])
    (found,) = class_maps(classifier, Gradient(), views, [[]], first=3)
    assert (found.classes, found.ranks) == ((0, 1, 2), (1, 2, 3))


def test_no_images_have_no_maps(classifier):
    assert class_maps(classifier, Gradient(), [], [], first=3) == []


@pytest.mark.parametrize(
    ("views", "inputs"),
    [
        ({}, [2, 2, 1]),
        ({"flip": True}, [2] * 5),
        ({"input_sizes": (24,)}, [1] * 5),
        ({"input_sizes": [12, 24]}, [1] * 10),
        ({"input_sizes": [12, 24], "classify_at": "default_size"}, [1] * 10),
        ({"input_sizes": [12, 24], "flip": True}, [2] * 10),
        ({"input_sizes": (24,), "classify_at": "default_size"}, [1] * 10),
    ],
    ids=str,
)
def test_parts_of_a_batch_go_through_the_network_once_and_change_nothing(
    monkeypatch, views, inputs
):
    torch.manual_seed(0)
    preprocessing = Preprocessing(resize_size=12, crop_size=(12, 12))
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    made = Classifier(module, preprocessing, Categories.numbered(4), torch.device("cpu"))
    generator, seen = np.random.default_rng(0), []
    images = [generator.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(5)]
    method = Gradient(views=views)
    cut = [make_views(image, preprocessing, method.views) for image in images]
    wanted = [[0], [], [3], [1, 2], []]
    module.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    whole = class_maps(made, method, cut, wanted, first=2)
    monkeypatch.setattr(class_maps_module, "_PART_PIXELS", 2 * 12 * 12)
    seen.clear()
    parts = class_maps(made, method, cut, wanted, first=2)
    assert seen == inputs
    for some, other in zip(parts, whole, strict=True):
        assert (some.classes, some.ranks) == (other.classes, other.ranks)
        np.testing.assert_allclose(some.probabilities, other.probabilities, rtol=1e-5)
        for map_, expected in zip(some.input_maps, other.input_maps, strict=True):
            np.testing.assert_allclose(map_, expected, rtol=1e-4, atol=1e-7)


class Held:
    """Lives as long as a graph."""


class _Marks(torch.autograd.Function):
    alive, most = weakref.WeakSet(), 0

    @staticmethod
    def forward(context, x):
        context.held = Held()
        _Marks.alive.add(context.held)
        _Marks.most = max(_Marks.most, len(_Marks.alive))
        return x * 1

    @staticmethod
    def backward(context, gradient):
        return gradient


class MarksItsGraph(nn.Module):
    def forward(self, x):
        return _Marks.apply(x)


@pytest.mark.parametrize("method", ["gradient", "layer_cam", "smoothgrad"])
def test_the_graph_of_a_part_is_freed_before_the_next(classifier, image, method, monkeypatch):
    monkeypatch.setattr(class_maps_module, "_PART_PIXELS", 1)
    classifier.module.insert(4, MarksItsGraph())
    _Marks.most = 0
    views = make_views(image, PREPROCESSING)
    method = options(method, **({"layer": "2"} if method == "layer_cam" else {}))
    class_maps(classifier, method, [views] * 4, [()] * 4, first=2)
    assert _Marks.most == (2 if method.method == "smoothgrad" else 1)
    assert not _Marks.alive


class Fixed(nn.Module):
    """Takes inputs of 12 x 12 pixels, as networks with a table of positions do."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.ones(3, 12, 12))
        self.head = nn.Linear(3, 4)

    def forward(self, inputs):
        assert inputs.shape[2:] == (12, 12)
        return self.head((inputs * self.table).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"input_sizes": (12, 24)}, {"input_sizes": (12,)}),
        ({"input_sizes": (24, 36), "classify_at": "default_size"}, {}),
        ({"input_sizes": (12,), "flip": True}, {"input_sizes": (12,), "flip": True}),
        ({"input_sizes": ("2x",)}, {}),
        ({}, {}),
    ],
    ids=str,
)
def test_sizes_that_a_network_does_not_take_are_left_out(image, caplog, asked, left):
    made = Classifier(
        Fixed(),
        Preprocessing(resize_size=12, crop_size=(12, 12)),
        Categories.numbered(4),
        torch.device("cpu"),
    )
    assert fitting_views(made, ViewOptions(**asked)) == ViewOptions(**left)
    assert ("takes no inputs of" in caplog.text) == (asked != left)
    (found,) = explain(made, image, Gradient(views=asked))
    (expected,) = explain(made, image, Gradient(views=left))
    np.testing.assert_array_equal(found.saliency, expected.saliency)
