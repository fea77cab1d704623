"""LayerCamFusion maps, against the formula worked out step by step."""

import pytest
import torch
from method_maps import maps_of
from torch import nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier
from wsl.saliency.alignment import CellCenters, aligned
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.layercam_fusion import LayerCamFusion


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.late(self.early(inputs)).mean(dim=(2, 3)))


def classifier(module=None):
    torch.manual_seed(0)
    return load_classifier(
        module or Net(),
        preprocessing=Preprocessing(
            resize_size=36, crop_size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        categories=Categories(("one", "two", "three")),
    )


def unit(maps):
    return maps / maps.amax(dim=(2, 3), keepdim=True).clamp_min(1e-30)


def expected(net, inputs, label, *, gradient, smoothing=0.05, power=0.5):
    own = inputs.clone().requires_grad_()
    early = net.early(own)
    late = net.late(early)
    score = net.head(late.mean(dim=(2, 3)))[:, label].sum()
    slopes = torch.autograd.grad(score, [own, early, late])
    total = 0
    if gradient:
        magnitude = slopes[0].abs().amax(dim=1, keepdim=True)
        magnitude = magnitude - magnitude.amin(dim=(2, 3), keepdim=True)
        total = unit(gaussian_blur(unit(magnitude), smoothing * 32)) ** power
    for output, slope, stride in ((early, slopes[1], 2), (late, slopes[2], 4)):
        cam = (slope.clamp_min(0) * output).sum(dim=1, keepdim=True)
        total = total + unit(aligned(cam, CellCenters(0, stride), (32, 32))) ** power
    return unit(total - total.amin(dim=(2, 3), keepdim=True)).detach()[:, 0]


@pytest.mark.parametrize("gradient", [True, False])
def test_the_map_is_the_formulas(gradient):
    given = classifier()
    inputs = torch.randn(4, 3, 32, 32)
    method = LayerCamFusion(layers=("early", "late"), gradient=gradient, smoothing=0.05)
    found = maps_of(method, given, inputs, torch.tensor([[0, 2]] * 4))
    for slot, label in enumerate((0, 2)):
        wanted = expected(given.module, inputs, label, gradient=gradient)
        torch.testing.assert_close(found.maps[:, slot], wanted, rtol=1e-4, atol=1e-5)


def test_the_layers_are_found():
    given = classifier()
    inputs = torch.randn(2, 3, 32, 32)
    named = maps_of(LayerCamFusion(layers=("early", "late")), given, inputs, 2)
    found = maps_of(LayerCamFusion(), given, inputs, 2)
    torch.testing.assert_close(found.maps, named.maps)


def test_one_forward_pass_serves_all_classes():
    given = classifier()
    method = LayerCamFusion(layers=("early", "late"))
    maps_of(method, given, torch.randn(1, 3, 32, 32), 1)  # measures the layers' cells
    calls = []
    given.module.register_forward_hook(lambda *_: calls.append(1))
    maps_of(method, given, torch.randn(3, 3, 32, 32), 3)
    assert len(calls) == 1


def test_a_network_is_measured_once_until_a_layer_is_replaced():
    given, calls = classifier(), []
    given.module.register_forward_hook(lambda *_: calls.append(1))
    inputs = torch.randn(1, 3, 32, 32)
    for size in (32, 32, 48, 48):
        maps_of(LayerCamFusion(), given, torch.randn(1, 3, size, size), 1)
    # Each size is surveyed once, and seen once per call; the cells' centers are a copy's.
    assert len(calls) == 2 + 4
    given.module.late = nn.Sequential(nn.Conv2d(6, 8, 3, stride=4, padding=1), nn.ReLU())
    found = maps_of(LayerCamFusion(), given, inputs, 1)
    assert len(calls) == 2 + 4 + 2
    named = LayerCamFusion(layers=("early", "late"))
    assert not torch.equal(found.maps, maps_of(named, given, inputs, 1).maps)
    early = maps_of(LayerCamFusion(layers=("early",)), given, inputs, 1)
    torch.testing.assert_close(found.maps, early.maps)


def test_an_unknown_layer_names_the_near_ones():
    with pytest.raises(ModelError, match=r"no layer 'lat'\. Did you mean late"):
        maps_of(LayerCamFusion(layers=("lat",)), classifier(), torch.randn(1, 3, 32, 32), 1)


def test_a_layer_beside_the_scores_is_refused():
    class Beside(Net):
        def __init__(self):
            super().__init__()
            self.aside = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, inputs):
            self.aside(inputs)
            return super().forward(inputs)

    method = LayerCamFusion(layers=("aside",))
    with pytest.raises(ModelError, match="a layer beside or behind what is explained"):
        maps_of(method, classifier(Beside()), torch.randn(1, 3, 32, 32), 1)
