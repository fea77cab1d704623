"""Real networks on real photographs: every method beside captum's.

Captum's hooks misbehave where a ReLU works in place or is used again, and they are on `nn.ReLU`
alone: it gets a copy of the network without in-place layers and with each ReLU6 as a kind of
`nn.ReLU`. Both networks use each ReLU module once.
"""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import (
    Deconvolution,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    Saliency,
)
from PIL import Image
from torch import nn

from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.saliency.attribution import attribute
from wsl.saliency.averages import IntegratedGradients as OurIntegratedGradients
from wsl.saliency.cam import GradCam, LayerCam
from wsl.saliency.views import make_views

pytestmark = pytest.mark.data

LAYERS = {"squeezenet1_0": ["features.7", "features"], "mobilenet_v2": ["features.13", "features"]}


def load(name: str, root: Path) -> Classifier:
    checkpoint = root / "weights" / f"{name}-imagenet1k.safetensors"
    return load_classifier(name, checkpoint=checkpoint, device="cpu")


def load_inputs(classifier: Classifier, root: Path, count: int = 2) -> torch.Tensor:
    paths = sorted((root / "data" / "photos").iterdir())[: 10 * count : 10]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return torch.cat([make_views(image, classifier.preprocessing).inputs for image in images])


@pytest.fixture(scope="module", params=list(LAYERS))
def classifier(request, shared_data) -> Classifier:
    return load(request.param, shared_data)


@pytest.fixture(scope="module")
def layers(classifier) -> list[str]:
    return LAYERS[classifier.name.split()[0]]


@pytest.fixture(scope="module")
def inputs(classifier, shared_data) -> torch.Tensor:
    return load_inputs(classifier, shared_data)


@pytest.fixture(scope="module")
def classes(classifier, inputs) -> torch.Tensor:
    with torch.no_grad():
        return classifier.scores(inputs).argmax(dim=1)


@pytest.fixture(scope="module")
def for_captum(classifier) -> nn.Module:
    module = copy.deepcopy(classifier.module).eval()
    for part in list(module.modules()):
        if hasattr(part, "inplace"):
            part.inplace = False
        for name, child in part.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(part, name, SeenReLU6())
    return module


class SeenReLU6(nn.ReLU):
    """A ReLU6 that captum takes for what it is: a ReLU."""

    def forward(self, x):
        return torch.clamp(x, 0, 6)


def captums(oracle, module, inputs, classes) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations")
        warnings.filterwarnings("ignore", message="Input Tensor .* did not already require grad")
        return oracle(module).attribute(inputs.clone(), target=classes).detach()


def signed(gradients: torch.Tensor) -> torch.Tensor:
    return gradients


def assert_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To 1e-4 of the largest value of each input's map."""
    assert found.shape == expected.shape
    largest = expected.abs().flatten(1).amax(dim=1)
    # Deconvnets can rectify all of a signal away: that is 0 in both then.
    assert (largest > 0).any()
    assert ((found - expected).abs().flatten(1).amax(dim=1) <= 1e-4 * largest).all()


@pytest.mark.parametrize(
    ("oracle", "asked"),
    [
        (InputXGradient, {"method": "input_x_gradient"}),
        (GuidedBackprop, {"method": "guided_backprop"}),
        (Deconvolution, {"method": "deconvnet"}),
    ],
    ids=["input x gradient", "guided backpropagation", "deconvolution"],
)
def test_gradients_by_all_rules(classifier, for_captum, inputs, classes, oracle, asked):
    expected = captums(oracle, for_captum, inputs, classes)
    found = attribute(
        classifier.module, inputs, classes, modifier=signed, reduction="none", **asked
    )
    assert_equal(found, expected)


@pytest.mark.parametrize("rule", ["guided_backprop", "deconvnet"])
def test_captum_takes_relu6_for_no_relu(shared_data, rule):
    """Left to itself it returns the plain gradient of a network of ReLU6, without a word."""
    classifier = load("mobilenet_v2", shared_data)
    inputs = load_inputs(classifier, shared_data, 1)
    classes = torch.tensor([0])
    module = copy.deepcopy(classifier.module).eval()
    for part in module.modules():
        if hasattr(part, "inplace"):
            part.inplace = False
    oracle = GuidedBackprop if rule == "guided_backprop" else Deconvolution
    expected = captums(oracle, module, inputs, classes)
    plain = attribute(classifier.module, inputs, classes, modifier=signed, reduction="none")
    ours = attribute(
        classifier.module, inputs, classes, method=rule, modifier=signed, reduction="none"
    )
    assert_equal(plain, expected)
    assert (ours - expected).abs().max() > 0.1 * expected.abs().max()


def test_saliency(classifier, for_captum, inputs, classes):
    expected = Saliency(for_captum).attribute(inputs.clone().requires_grad_(), target=classes)
    assert_equal(attribute(classifier.module, inputs, classes, reduction="none"), expected)
    assert_equal(attribute(classifier.module, inputs, classes), expected.amax(dim=1))


def test_integrated_gradients(classifier, for_captum, inputs, classes):
    oracle = IntegratedGradients(for_captum)
    inputs, classes = inputs[:1], classes[:1]
    expected = oracle.attribute(inputs, target=classes, n_steps=5)
    found = attribute(
        classifier.module,
        inputs,
        classes,
        method=OurIntegratedGradients(steps=5, baseline="mean"),
        modifier=signed,
        reduction="none",
    )
    assert_equal(found, expected.float())


def test_grad_cam(classifier, layers, for_captum, inputs, classes):
    for layer in layers:
        oracle = LayerGradCam(for_captum, for_captum.get_submodule(layer))
        coarse = oracle.attribute(inputs, target=classes, relu_attributions=True)
        expected = LayerAttribution.interpolate(coarse, tuple(inputs.shape[2:]), "bilinear")
        found = attribute(classifier.module, inputs, classes, method=GradCam(layer=layer))
        assert_equal(found, expected[:, 0].detach())


def test_layer_cam(classifier, layers, for_captum, inputs, classes):
    for layer in layers:
        kept = []
        handle = for_captum.get_submodule(layer).register_forward_hook(
            lambda _, __, output: kept.append(output)  # noqa: B023 removed below
        )
        scores = for_captum(inputs.clone().requires_grad_())
        handle.remove()
        (activations,) = kept
        chosen = scores.gather(1, classes[:, None]).sum()
        (gradients,) = torch.autograd.grad(chosen, activations)
        # Jiang et al. 2021, eq. 6 and 7, as pytorch-grad-cam writes them.
        coarse = (gradients.clamp(min=0) * activations).sum(dim=1, keepdim=True).clamp(min=0)
        expected = LayerAttribution.interpolate(coarse, tuple(inputs.shape[2:]), "bilinear")
        found = attribute(classifier.module, inputs, classes, method=LayerCam(layer=layer))
        assert_equal(found, expected[:, 0].detach())


def test_the_last_layer_with_positions_is_found(classifier, inputs, classes):
    last = {"squeezenet1_0": "classifier.2", "mobilenet_v2": "features"}
    expected = attribute(
        classifier, inputs, classes, method=GradCam(layer=last[classifier.name.split()[0]])
    )
    assert torch.equal(attribute(classifier.module, inputs, classes, method="grad_cam"), expected)


def test_the_class_activation_maps_mean_is_the_score(classifier, inputs, classes):
    found = attribute(classifier.module, inputs, classes, method="cam", modifier=signed)
    with torch.no_grad():
        scores = classifier.scores(inputs).gather(1, classes[:, None])[:, 0]
    is_mobilenet = classifier.name.startswith("mobilenet")
    bias = classifier.module.classifier[1].bias.detach()[classes] if is_mobilenet else 0
    # The interpolated map's mean is nearly the coarse one's: only the borders weigh more.
    torch.testing.assert_close(found.mean(dim=(1, 2)) + bias, scores, rtol=0.05, atol=0.05)
