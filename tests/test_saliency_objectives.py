"""On the CPU a batch goes through the network in parts: nothing may show of that."""

import pytest
import torch
from torch import nn

from wsl.data.categories import Categories
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier
from wsl.saliency import objectives
from wsl.saliency.base import per_image, these, top_k
from wsl.saliency.methods import METHODS, build_method
from wsl.saliency.options import SaliencyOptions

METHODS_IN_PARTS = sorted(set(METHODS) - {"occlusion"})


class Net(nn.Module):
    """Counts the inputs of each forward pass."""

    def __init__(self):
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 4)
        self.seen = []

    def forward(self, inputs):
        self.seen.append(len(inputs))
        return self.head(self.late(self.early(inputs)).mean(dim=(2, 3)))


def classifier():
    torch.manual_seed(0)
    return load_classifier(
        Net().double(),
        preprocessing=Preprocessing(
            resize_size=36, crop_size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        categories=Categories(("one", "two", "three", "four")),
    )


@pytest.fixture
def parts_of_two(monkeypatch):
    monkeypatch.setattr(objectives, "_PART_PIXELS", 2 * 32 * 32)


@pytest.fixture
def x():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Single(nn.Module):
    """Takes float32, computes in float64, so that sums in another order leave no trace."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs.double())


def exact():
    made = classifier()
    return load_classifier(
        Single(made.module), preprocessing=made.preprocessing, categories=made.categories
    )


def maps_of(method, inputs, select):
    return build_method(SaliencyOptions(method=method))(exact(), inputs, select)


@pytest.mark.parametrize("method", METHODS_IN_PARTS)
def test_parts_of_a_batch_give_what_the_whole_gives(method, x, monkeypatch):
    whole = maps_of(method, x, top_k(3))
    monkeypatch.setattr(objectives, "_PART_PIXELS", 2 * 32 * 32)
    parts = maps_of(method, x, top_k(3))
    torch.testing.assert_close(parts.scores, whole.scores, rtol=1e-6, atol=1e-7)
    assert torch.equal(parts.classes, whole.classes)
    torch.testing.assert_close(parts.maps, whole.maps, rtol=1e-4, atol=1e-6)


def test_a_batch_goes_through_the_network_in_parts_once(x, parts_of_two):
    made = exact()
    build_method(SaliencyOptions())(made, x, top_k(3))
    assert made.module.network.seen == [2, 2, 1]


def test_larger_inputs_make_smaller_parts(parts_of_two):
    made = exact()
    inputs = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    build_method(SaliencyOptions())(made, inputs, top_k(1))
    assert made.module.network.seen == [1, 1, 1]


def test_the_classes_are_chosen_from_the_scores_of_the_whole_batch(x, parts_of_two):
    seen = []

    def select(scores):
        seen.append(scores.shape)
        return top_k(1)(scores)

    maps_of("gradient", x, select)
    assert seen == [(5, 4)]


def test_views_of_an_image_may_lie_in_different_parts(x, monkeypatch):
    views = x[:3].repeat_interleave(2, dim=0)[:6]
    whole = maps_of("gradient", views, per_image(top_k(2), 3))
    monkeypatch.setattr(objectives, "_PART_PIXELS", 2 * 32 * 32)
    parts = maps_of("gradient", views, per_image(top_k(2), 3))
    assert torch.equal(parts.classes, whole.classes)
    torch.testing.assert_close(parts.maps, whole.maps, rtol=1e-4, atol=1e-6)


def test_a_network_with_hooks_sees_the_batch_whole(x, parts_of_two):
    made, seen = exact(), []
    made.module.network.late.register_forward_hook(lambda _, __, out: seen.append(len(out)))
    build_method(SaliencyOptions())(made, x, these(torch.tensor([[0]] * 5)))
    assert seen == [5]


@pytest.mark.parametrize("method", ["gradient", "layer_cam"])
def test_an_empty_batch_has_no_maps(method, parts_of_two):
    found = maps_of(method, torch.zeros(0, 3, 32, 32), top_k(2))
    assert found.maps.shape == (0, 2, 32, 32)
