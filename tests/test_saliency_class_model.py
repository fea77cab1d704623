import numpy as np
import pytest
import torch
from torch import nn
from toy_networks import awkward_network, state_of

from wsl.data.categories import Categories
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.ascent import Ascent
from wsl.saliency.class_model import ClassModels, class_models
from wsl.saliency.targets import Filter, Neuron

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.1)
SIZE = (6, 5)
PREPROCESSING = Preprocessing(resize_size=6, crop_size=SIZE, mean=MEAN, std=STD)


def classifier_of(module: nn.Module, classes: int = 4) -> Classifier:
    return Classifier(module, PREPROCESSING, Categories.numbered(classes), torch.device("cpu"))


@pytest.fixture
def linear() -> Classifier:
    torch.manual_seed(0)
    return classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(90, 4)))


@pytest.fixture
def network() -> Classifier:
    return classifier_of(nn.Sequential(*awkward_network()[1:]).train())


def test_a_linear_models_images_are_its_weights(linear):
    # The maximum of w x + b - l |x|^2 is w / (2 l).
    ascent = Ascent(steps=60, step_size=0.5, rule="plain", decay=0.5)
    found = class_models(linear, [3, 1], ascent)
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    torch.testing.assert_close(found.inputs, weights[[3, 1]])
    bias = linear.module[1].bias.detach()[[3, 1]]
    torch.testing.assert_close(found.history[:, 0], bias)  # the zero image
    rise = weights[[3, 1]].square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found.history[:, -1], bias + rise)


def test_a_channels_and_a_neurons_images_worked_by_hand():
    # One 1 x 1 filter (1, 2, 3): the mean over 30 positions wants 1/30 of it everywhere, the
    # neuron all of it at one place.
    module = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1))
    ascent = Ascent(steps=40, step_size=0.5, rule="plain", decay=0.5)
    found = class_models(
        module, [Filter("0", 0), Neuron("0", 0, (2, 4))], ascent, input_size=SIZE
    ).inputs
    color = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    torch.testing.assert_close(found[0], (color / 30).expand(3, *SIZE))
    assert torch.equal(found[1] != 0, torch.zeros(3, *SIZE).index_put(
        (torch.arange(3), torch.tensor([2] * 3), torch.tensor([4] * 3)), torch.tensor(1.0)
    ) > 0)  # fmt: skip
    torch.testing.assert_close(found[1, :, 2, 4], color[:, 0, 0])


def test_the_posterior_rises_by_what_lowers_the_others_too(linear):
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    ascent = Ascent(steps=1, step_size=1.0, rule="plain", decay=0)
    found = class_models(linear, [2], ascent, maximize="posterior")
    share = linear.module[1].bias.detach().softmax(0)
    expected = weights[2] - (share[:, None, None, None] * weights).sum(0)
    torch.testing.assert_close(found.inputs[0], expected)
    assert found.history[0, 0].item() == pytest.approx(share[2].log().item())


def test_a_batch_equals_its_members(network):
    ascent = Ascent(steps=5, jitter=1, blur=0.5, scales=2, seed=1)
    targets = [0, Filter("0", 3), "class 2"]
    together = class_models(network, targets, ascent)
    assert together.inputs.shape == (3, 3, *SIZE)
    assert together.history.shape == (3, 6)
    for index, target in enumerate(targets):
        alone = class_models(network, [target], ascent)
        torch.testing.assert_close(alone.inputs[0], together.inputs[index])
        torch.testing.assert_close(alone.history[0], together.history[index])


def test_the_score_rises_and_is_the_networks(network):
    found = class_models(network, [1], Ascent(steps=30, decay=0))
    with torch.no_grad():
        score = network.module.eval()(found.inputs)[0, 1]
    torch.testing.assert_close(found.history[0, -1], score)
    assert found.history[0, -1] > found.history[0, 0] + 0.1


def test_pictures_add_the_training_mean():
    inputs = torch.zeros(2, 3, 1, 2)
    inputs[1, :, 0, 1] = torch.tensor([1.0, -1.0, 9.0])
    models = ClassModels(inputs, torch.zeros(2, 1), MEAN, STD)
    mean = [128, 64, 191]
    assert models.pictures().tolist() == [[[mean, mean]], [[mean, [255, 0, 255]]]]
    stretched = models.pictures(stretch=True)
    assert stretched.dtype == np.uint8
    assert stretched[0].tolist() == [[mean, mean]]
    # The largest difference, 0.9, becomes about 0.45: (0.5, -0.25, 0.9) is about halved.
    assert np.abs(stretched[1, 0, 1] - np.array([192, 32, 255])).max() <= 3


@pytest.mark.parametrize("target", [1, Filter("0", 2), lambda output: output.unknown])
def test_nothing_is_left_behind(network, target):
    network.module[0].weight.grad = torch.ones(8, 3, 3, 3)
    before = state_of(network.module)
    if callable(target):
        with pytest.raises(AttributeError, match="unknown"):
            class_models(network, [0, target], Ascent(steps=2))
    else:
        with torch.inference_mode():
            class_models(network, [target], Ascent(steps=2))
    assert state_of(network.module) == before


def test_mistakes_are_refused(network):
    with pytest.raises(ConfigError, match="maximize must be 'score' or 'posterior', but got 'p'"):
        class_models(network, [0], maximize="p")
    with pytest.raises(ConfigError, match="input_size must be given for a bare module"):
        class_models(network.module, [0])
    with pytest.raises(ConfigError, match="at least one target, but got none"):
        class_models(network, [])
    with pytest.raises(ConfigError, match="probabilities must be of classes"):
        class_models(network, [Filter("0", 0)], maximize="posterior")
    with pytest.raises(ModelError, match="no layer 'conv'"):
        class_models(network, [Filter("conv", 0)])
