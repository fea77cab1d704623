from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from wsl import load_classifier
from wsl.data.categories import Categories
from wsl.models.classifier import Classifier
from wsl.models.prepared import prepared_copy
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.base import these
from wsl.saliency.cam import GradCam
from wsl.saliency.gradient import class_maps, gradient_saliency

PREPROCESSING = Preprocessing(resize_size=16, crop_size=(16, 16))


class Smooth(nn.Module):
    """Depthwise separable, with batch norms that do something; no gate to open or shut."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Conv2d(8, 6, 1),
        )
        self.norm = nn.BatchNorm2d(6)  # behind a convolution that another branch reads as well
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        return self.fc((self.norm(features) + features.sigmoid()).mean(dim=(2, 3)))


class Branching(Smooth):
    """Its code depends on values: it cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.abs().sum() > 0 else super().forward(x + 1)


class Noisy(Smooth):
    """No two passes agree."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Reversed(Smooth):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(Reversal.apply(x))


class Constant(Smooth):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            constant = self.features(x).mean()
        return super().forward(x) * constant


class NoConvolution(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias)
    return module.train()


def classifier_of(module: nn.Module, *, optimize: bool = True) -> Classifier:
    device = torch.device("cpu")
    numbered = Categories.numbered(4)
    return Classifier(module, PREPROCESSING, numbered, device, optimize=optimize)


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize(
    ("kind", "left"), [(Smooth, 1), (Branching, 3), (Reversed, 3), (Constant, 3)]
)
def test_scores_and_gradients_are_those_of_the_module(kind: type[nn.Module], left: int) -> None:
    module = made(kind)
    copied = prepared_copy(module, (16, 16))
    assert copied is not None
    assert norms(copied) == left
    inputs = torch.randn(3, 3, 16, 16, requires_grad=True)
    scores, expected = copied(inputs), module.eval()(inputs)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    for slot in range(4):
        (found,) = torch.autograd.grad(scores[:, slot].sum(), inputs, retain_graph=True)
        (wanted,) = torch.autograd.grad(expected[:, slot].sum(), inputs, retain_graph=True)
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def test_the_module_stays_as_it_is() -> None:
    module = made(Smooth)
    before = copy.deepcopy(module.state_dict())
    random = torch.random.get_rng_state()
    copied = prepared_copy(module, (16, 16))
    assert copied is not None
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert module.features[0].weight.is_contiguous()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key
    shared = {p.data_ptr() for p in module.parameters()}
    assert not shared & {p.data_ptr() for p in copied.parameters()}


@pytest.mark.parametrize("kind", [NoConvolution, Noisy])
def test_there_is_no_copy_without_use_or_with_other_scores(kind: type[nn.Module]) -> None:
    assert prepared_copy(made(kind), (16, 16)) is None


def test_there_is_no_copy_of_what_cannot_be_copied_or_run() -> None:
    module = made(Smooth)
    module.held = open  # copied by reference: harmless
    assert prepared_copy(module, (16, 16)) is not None
    module.held = (number for number in range(3))
    assert prepared_copy(module, (16, 16)) is None
    assert prepared_copy(nn.Sequential(nn.Conv2d(4, 4, 1)), (16, 16)) is None


def test_there_is_no_copy_of_scripted_parts() -> None:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # it is deprecated
        scripted = torch.jit.script(nn.Conv2d(3, 4, 1))
    assert prepared_copy(nn.Sequential(scripted), (4, 4)) is None


def test_a_convolution_that_is_used_twice_keeps_its_norms() -> None:
    class Twice(Smooth):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Conv2d(3, 3, 3, padding=1)
            self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.second(self.same(self.first(self.same(x)))))

    module = made(Twice)
    copied = prepared_copy(module, (16, 16))
    assert copied is not None
    assert norms(copied) == 3
    inputs = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(copied(inputs), module.eval()(inputs), rtol=1e-4, atol=1e-5)


def test_a_classifier_keeps_its_copy_until_the_weights_change() -> None:
    module = made(Smooth)
    classifier = classifier_of(module)
    first = classifier.prepared()
    assert first is not classifier
    assert first.prepared() is first
    assert classifier.prepared() is first
    with torch.no_grad():
        module.fc.bias += 1
    second = classifier.prepared()
    assert second is not first
    inputs = torch.randn(1, 3, 16, 16)
    with second.inference(), classifier.inference(), torch.no_grad():
        torch.testing.assert_close(second.scores(inputs), classifier.scores(inputs))
    module.fc = nn.Linear(6, 4)
    assert classifier.prepared() is not second


def test_there_is_no_copy_where_it_is_not_wanted() -> None:
    classifier = classifier_of(made(Smooth), optimize=False)
    assert classifier.prepared() is classifier
    assert (
        load_classifier(made(Smooth), preprocessing=PREPROCESSING, optimize=False).optimize is False
    )
    assert load_classifier("demo", optimize=True).optimize is True
    assert load_classifier("demo").optimize is False


def test_hooks_are_called() -> None:
    module, seen = made(Smooth), []
    classifier = classifier_of(module)
    assert classifier.prepared() is not classifier
    module.features[0].register_forward_hook(lambda *_: seen.append(1))
    gradient_saliency(classifier, torch.randn(1, 3, 16, 16), these(torch.tensor([[0]])))
    assert seen == [1]


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided_backprop"])
def test_maps_are_those_without_the_copy(rule: str) -> None:
    torch.manual_seed(0)
    module = torchvision.models.mobilenet_v2(num_classes=4)
    inputs, select = torch.randn(2, 3, 32, 32), these(torch.tensor([[0, 2], [1, -1]]))
    maps = [
        gradient_saliency(classifier_of(module, optimize=on), inputs, select, rule=rule).maps
        for on in (True, False)
    ]
    assert (maps[0] - maps[1]).norm() <= 1e-4 * maps[1].norm()


def test_methods_that_name_layers_see_the_module() -> None:
    classifier = classifier_of(made(Smooth))
    inputs, select = torch.randn(1, 3, 16, 16), these(torch.tensor([[0]]))
    maps = class_maps(classifier, inputs, select, estimator=GradCam("features.1")).maps
    assert maps.any()


@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18", "googlenet", "densenet121"])
def test_published_networks(name: str) -> None:
    torch.manual_seed(0)
    arguments = {"init_weights": False} if name == "googlenet" else {}
    module = torchvision.models.get_model(name, weights=None, **arguments)
    copied = prepared_copy(module, (64, 64))
    assert copied is not None
    assert norms(copied) <= {"densenet121": 62}.get(name, 0)
    inputs = torch.randn(1, 3, 64, 64)
    expected = module.eval()(inputs)
    assert (copied(inputs) - expected).abs().max() <= 1e-4 * expected.abs().max()
