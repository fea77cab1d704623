"""The one call, over all methods: batches, chunks, what stays as it was, vision transformers."""

import copy

import pytest
import torch
from method_maps import maps_of
from torch import nn
from torchvision.models import VisionTransformer
from toy_networks import FailsBackward, state_of

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attribution import attribute
from wsl.saliency.cam import Cam, GradCam, LayerCam
from wsl.saliency.gradient import GuidedBackprop
from wsl.saliency.methods import METHODS
from wsl.saliency.targets import Filter, Neuron

SIZE = (8, 8)
METHODS_OF_GRADIENTS = {
    name: METHODS[name](**({"samples": 5} if name == "smoothgrad" else {}))
    for name in METHODS
    # No small network has a grid of 7 x 7 or attention.
    if name not in ("occlusion", "layercam_fusion", "attention_rollout", "auto")
}


@pytest.fixture
def network() -> nn.Sequential:
    """Layers in place, a module used twice, one that behaves differently in training."""
    torch.manual_seed(0)
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(
        relu,
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        relu,
        nn.Dropout(0.5),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


@pytest.fixture
def classifier(network) -> Classifier:
    preprocessing = Preprocessing(resize_size=8, crop_size=SIZE)
    return Classifier(network, preprocessing, Categories.numbered(4), torch.device("cpu"))


@pytest.mark.parametrize("name", METHODS_OF_GRADIENTS)
def test_a_batch_equals_its_members_and_any_chunks(network, name):
    x = torch.randn(5, 3, *SIZE)
    target = [0, 3, 1, 2, 3]
    together = attribute(network, x, target, method=METHODS_OF_GRADIENTS[name])
    assert together.shape == (5, *SIZE)
    assert (together > 0).any()
    for size in (1, 2, 4, 9):
        chunked = attribute(network, x, target, batch_size=size, method=METHODS_OF_GRADIENTS[name])
        torch.testing.assert_close(chunked, together, rtol=1e-4, atol=1e-6)


class FailsForward(nn.Module):
    def forward(self, x):
        raise ArithmeticError("in the middle")


@pytest.mark.parametrize("where", ["nowhere", "forward", "backward"])
@pytest.mark.parametrize("name", METHODS_OF_GRADIENTS)
def test_the_network_is_left_as_it_was(network, name, where):
    if where != "nowhere":
        network.insert(7, FailsForward() if where == "forward" else FailsBackward())
    network.train()
    network[2].eval()
    network[1].weight.grad = torch.ones(8, 3, 3, 3)
    network[5].weight.requires_grad_(False)
    network[1].register_forward_hook(lambda *_: None)
    x = torch.randn(2, 3, *SIZE)
    before, values = state_of(network), x.clone()
    if where == "nowhere":
        found = attribute(network, x, 1, method=METHODS_OF_GRADIENTS[name])
        assert not found.requires_grad
    else:
        with pytest.raises((ArithmeticError, ModelError), match=r"in the middle|RaisesBackward"):
            attribute(network, x, 1, method=METHODS_OF_GRADIENTS[name])
    assert state_of(network) == before
    assert torch.equal(x, values)
    assert not x.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"attention_rollout"}))
def test_each_method_of_the_configuration_leaves_the_classifier_as_it_was(classifier, name):
    classifier.module.train()
    before = state_of(classifier.module)
    found = maps_of(METHODS[name](), classifier, torch.randn(2, 3, *SIZE), 2)
    assert found.maps.shape == (2, 2, *SIZE)
    assert (found.maps >= 0).all()
    assert (found.maps.amax(dim=(2, 3)) > 0).any()
    assert not found.maps.requires_grad
    assert not found.scores.requires_grad
    assert state_of(classifier.module) == before


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"attention_rollout"}))
def test_each_method_of_the_configuration_equals_the_call(name, network):
    # Of these values, pixels and inputs are the same, and so are black and the mean color.
    plain = Preprocessing(crop_size=SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    classifier = Classifier(network, plain, Categories.numbered(4), torch.device("cpu"))
    x = torch.randn(3, 3, *SIZE)
    method = METHODS[name]()
    found = maps_of(method, classifier, x, 2)
    for slot in range(2):
        expected = attribute(classifier, x, found.classes[:, slot], method=method)
        torch.testing.assert_close(found.maps[:, slot], expected)


@pytest.mark.parametrize("name", METHODS_OF_GRADIENTS)
def test_it_works_where_gradients_are_off(network, name):
    x = torch.randn(2, 3, *SIZE)
    expected = attribute(network, x, 1, method=METHODS_OF_GRADIENTS[name])
    with torch.no_grad():
        assert torch.equal(attribute(network, x, 1, method=METHODS_OF_GRADIENTS[name]), expected)
    with torch.inference_mode():
        inside = attribute(network, x.clone(), 1, method=METHODS_OF_GRADIENTS[name])
    assert torch.equal(inside, expected)


def test_a_category_by_its_name(network):
    categories = Categories(("cat", "dog", "cow", "hen"))
    classifier = Classifier(network, Preprocessing(), categories, torch.device("cpu"))
    x = torch.randn(1, 3, *SIZE)
    assert torch.equal(attribute(classifier, x, "cow"), attribute(classifier, x, 2))


def test_what_cannot_be_asked_is_refused(network):
    x = torch.randn(2, 3, *SIZE)
    with pytest.raises(ValueError, match=r"no method 'gradcam'\. Did you mean grad_cam or cam\?"):
        attribute(network, x, 1, method="gradcam")
    with pytest.raises(ValueError, match="batch_size must be at least 1, but got 0"):
        attribute(network, x, 1, batch_size=0)
    with pytest.raises(ValueError, match=r"inputs must have shape .* of shape \(3, 8, 8\)"):
        attribute(network, x[0], 1)
    with pytest.raises(ValueError, match=r"inputs must have shape .* torch\.int64"):
        attribute(network, x.long(), 1)
    cut = nn.Sequential(nn.Flatten(), nn.Linear(192, 2), Detached())
    with pytest.raises(ModelError, match="no gradient leads from one to the other"):
        attribute(cut, x, 1)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


# A vision transformer of 4 x 4 patches and a class token.


@pytest.fixture(scope="module")
def transformer() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=24,
        num_classes=5,
    )
    nn.init.normal_(network.heads[0].weight)  # it starts at 0
    return network.eval()


@pytest.mark.parametrize(
    "name", ["gradient", "input_x_gradient", "smoothgrad", "integrated_gradients"]
)
def test_a_vision_transformer_by_gradients(transformer, name):
    x = torch.randn(2, 3, 32, 32)
    found = attribute(transformer, x, [1, 3], method=name)
    assert found.shape == (2, 32, 32)
    assert (found.amax(dim=(1, 2)) > 0).all()
    if name == "gradient":
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(transformer(leaf)[[0, 1], [1, 3]].sum(), leaf)
        torch.testing.assert_close(found, expected.abs().amax(dim=1))


LAYER = "encoder.layers.encoder_layer_1.ln_1"


def test_a_vision_transformers_tokens_make_a_grid(transformer):
    x = torch.randn(2, 3, 32, 32)
    block = transformer.encoder.layers[1]
    kept = []
    handle = block.ln_1.register_forward_hook(lambda _, __, output: kept.append(output))
    scores = transformer(x.clone().requires_grad_())
    handle.remove()
    (gradients,) = torch.autograd.grad(scores[:, 3].sum(), kept[0])
    tokens, gradients = kept[0].detach()[:, 1:], gradients[:, 1:]  # without the class token
    expected = {
        GradCam: (tokens * gradients.mean(dim=1, keepdim=True)).sum(dim=2),
        LayerCam: (tokens * gradients.clamp(min=0)).sum(dim=2),
    }
    for method, maps in expected.items():
        found = attribute(transformer, x, 3, method=method(layer=LAYER))
        coarse = maps.clamp(min=0).reshape(2, 1, 4, 4)
        larger = nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
        torch.testing.assert_close(found, larger[:, 0], rtol=1e-4, atol=1e-6)


def test_a_vision_transformers_layer_is_the_one_before_the_last_attention(transformer):
    x = torch.randn(2, 3, 32, 32)
    for name in ("grad_cam", "layer_cam"):
        named = attribute(transformer, x, 3, method=METHODS[name](layer=LAYER))
        assert torch.equal(attribute(transformer, x, 3, method=name), named)


def test_methods_that_make_no_sense_for_a_vision_transformer_say_why(transformer):
    x = torch.randn(1, 3, 32, 32)
    with pytest.raises(
        ModelError, match=r"rule guided_backprop is defined for .* the network has GELU"
    ):
        attribute(transformer, x, 3, method="guided_backprop")
    assert attribute(transformer, x, 3, method=GuidedBackprop(non_relu="rule")).max() > 0
    with pytest.raises(ModelError, match=r"linear in the mean over positions .* NativeLayerNorm"):
        attribute(transformer, x, 3, method=Cam(layer=LAYER))
    # Behind the last attention block the class token alone is read.
    assert not attribute(transformer, x, 3, method=GradCam(layer="encoder.ln")).any()


def test_a_vision_transformers_neurons(transformer):
    x = torch.randn(1, 3, 32, 32)
    found = attribute(transformer, x, Neuron("encoder.layers.encoder_layer_0", 3, (5,)))
    assert found.max() > 0
    # A patch's embedding sees its own patch alone.
    patch = attribute(transformer, x, Neuron("conv_proj", 3, (1, 2)))
    assert patch[0, 8:16, 16:24].all()
    assert not patch[0, :8].any()
    assert attribute(transformer, x, Filter("conv_proj", 3)).all()


def test_a_regressor_of_other_shapes():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1))
    copied = copy.deepcopy(network).double()
    x = torch.randn(2, 1, 4, 4)
    found = attribute(network, x, lambda output: output[:, 0] ** 2)
    double = attribute(copied, x.double(), lambda output: output[:, 0] ** 2)
    assert double.dtype == torch.float64
    torch.testing.assert_close(found.double(), double, rtol=1e-4, atol=1e-6)
