import numpy as np
import pytest
import torch
from captum.attr import Saliency
from method_maps import maps_of
from torch import nn
from toy_networks import FailsBackward, awkward_network, state_of

from wsl.data.categories import Categories
from wsl.data.geometry import average_maps
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attribution import attribute
from wsl.saliency.gradient import Gradient, slot_gradients
from wsl.saliency.views import make_views

SIZE = (6, 5)
STD = (0.5, 0.25, 0.1)
PREPROCESSING = Preprocessing(resize_size=6, crop_size=SIZE, std=STD)


def classifier_of(module: nn.Module, classes: int = 4) -> Classifier:
    return Classifier(module, PREPROCESSING, Categories.numbered(classes), torch.device("cpu"))


@pytest.fixture
def linear() -> Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 4))
    return classifier_of(module)


@pytest.fixture
def network() -> Classifier:
    return classifier_of(awkward_network())


def weights_of(linear: Classifier) -> torch.Tensor:
    return linear.module[1].weight.detach().reshape(4, 3, *SIZE)


CLASSES = torch.tensor([[2, 0, -1], [1, -1, 3]])


def test_a_linear_models_map_is_the_channel_maximum_of_its_weights(linear):
    weights = weights_of(linear) * (1 / torch.tensor(STD))[:, None, None]
    found = maps_of(Gradient(), linear, torch.randn(2, 3, *SIZE), CLASSES)
    expected = weights.abs().amax(dim=1)
    assert torch.equal(found.maps[0], torch.stack([expected[2], expected[0], expected[0] * 0]))
    assert torch.equal(found.maps[1], torch.stack([expected[1], expected[0] * 0, expected[3]]))
    one = attribute(linear.module, torch.randn(2, 3, *SIZE), 3)
    assert torch.equal(one, weights_of(linear)[3].abs().amax(dim=0).expand(2, *SIZE))


def test_the_pixels_gradient_has_another_largest_channel_than_the_inputs():
    # d score / d input is (3, 2, 1); divided by std (0.5, 0.25, 0.1) it is (6, 8, 10).
    module = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([3.0, -2.0, 1.0]).reshape(1, 3, 1, 1))
    x, classifier = torch.zeros(1, 3, 1, 1), classifier_of(module, classes=1)

    def value(**options):
        return maps_of(Gradient(**options), classifier, x, 1).maps.item()

    assert value() == pytest.approx(10)
    assert attribute(module, x, 0).item() == pytest.approx(3)
    assert value(reduction="mean") == pytest.approx(8)
    assert value(reduction="l2") == pytest.approx(np.sqrt(200))


def test_the_map_is_the_slope_seen_by_finite_differences(network):
    module = network.module.double().eval()
    x = torch.rand(1, 3, *SIZE, dtype=torch.float64) + 0.1
    step = 1e-6
    expected = torch.zeros(3, *SIZE, dtype=torch.float64)
    for index in np.ndindex(3, *SIZE):
        up, down = x.clone(), x.clone()
        up[0][index] += step
        down[0][index] -= step
        with torch.no_grad():
            expected[index] = (module(up)[0, 2] - module(down)[0, 2]) / (2 * step)
    module.float()
    found = attribute(module, x.float(), 2)
    torch.testing.assert_close(found[0].double(), expected.abs().amax(0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("k", [1, 4])
def test_one_forward_pass_serves_all_classes(network, k):
    calls = []
    network.module.register_forward_hook(lambda *_: calls.append(1))
    found = maps_of(Gradient(), network, torch.randn(3, 3, *SIZE), k)
    assert len(calls) == 1
    assert found.maps.shape == (3, k, *SIZE)
    assert (found.maps.amax(dim=(2, 3)) > 0).all()


def test_a_batch_equals_its_members(network):
    x = torch.randn(5, 3, *SIZE)
    together = maps_of(Gradient(), network, x, 3)
    for index in range(5):
        alone = maps_of(Gradient(), network, x[index : index + 1], 3)
        assert torch.equal(alone.classes[0], together.classes[index])
        torch.testing.assert_close(alone.maps[0], together.maps[index], rtol=1e-5, atol=1e-7)


def test_empty_slots_cost_nothing_and_stay_empty(network):
    x = torch.randn(2, 3, *SIZE)
    scores = network.scores(leaf := x.clone().requires_grad_())
    slots = slot_gradients(scores, torch.tensor([[-1, 1], [-1, 2]]), [leaf])
    assert [slot for slot, _ in slots] == [1]
    found = maps_of(Gradient(), network, x, torch.full((2, 2), -1))
    assert found.maps.shape == (2, 2, *SIZE)
    assert not found.maps.any()


@pytest.mark.parametrize("requires_grad", [False, True], ids=["gradient", "requires grad"])
@pytest.mark.parametrize("fails", [False, True], ids=["success", "exception"])
def test_nothing_is_left_behind(network, fails, requires_grad):
    if fails:
        network.module.insert(5, FailsBackward())
    network.module[1].weight.grad = torch.ones(8, 3, 3, 3)
    x = torch.randn(2, 3, *SIZE, requires_grad=requires_grad)
    before, values = state_of(network.module), x.detach().clone()
    if fails:
        with pytest.raises(ArithmeticError, match="in the middle"):
            maps_of(Gradient(), network, x, 2)
    else:
        found = maps_of(Gradient(), network, x, 2)
        assert not found.maps.requires_grad
        assert not found.scores.requires_grad
    assert state_of(network.module) == before
    assert torch.equal(x.detach(), values)
    assert x.grad is None
    assert x.requires_grad == requires_grad


def test_it_works_where_gradients_are_off(network):
    x = torch.randn(1, 3, *SIZE)
    expected = maps_of(Gradient(), network, x, 1).maps
    with torch.no_grad():
        assert torch.equal(maps_of(Gradient(), network, x, 1).maps, expected)
    with torch.inference_mode():
        inside = maps_of(Gradient(), network, x.clone(), 1).maps
    assert torch.equal(inside, expected)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach().mean(dim=(2, 3))


def test_scores_without_a_gradient_are_refused():
    with pytest.raises(ModelError, match="must be differentiable with respect to its input"):
        maps_of(Gradient(), classifier_of(Detached(), 3), torch.randn(1, 3, *SIZE), 1)


def test_it_equals_captum_on_a_small_network(network):
    x = torch.randn(3, 3, *SIZE)
    classes = torch.tensor([0, 3, 1])
    found = attribute(network.module, x, classes)
    module = nn.Sequential(*list(network.module)[1:]).eval()
    relu = torch.relu(x)  # captum's leaf must not meet an in-place layer
    gradients = Saliency(module).attribute(relu.requires_grad_(), target=classes)
    torch.testing.assert_close(found, (gradients * (x > 0)).amax(1), rtol=1e-4, atol=1e-8)


def test_ten_crops_of_a_linear_model_average_to_the_mean_worked_by_hand():
    # A 2 x 3 image whose crops are 2 x 2: the left one (corners 1 and 3), the right one (2 and 4)
    # and the center, which is the left one again (0.5 rounds to 0); each also reflected.
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(
            (weights * torch.tensor([0.0, -1.0, 0.5])[:, None, None]).reshape(1, 12)
        )
    preprocessing = Preprocessing(resize_size=2, crop_size=(2, 2), std=(1.0, 1.0, 1.0))
    classifier = Classifier(module, preprocessing, Categories.numbered(1), torch.device("cpu"))
    views = make_views(np.zeros((2, 3, 3), np.uint8), preprocessing, "ten_crop")
    maps = maps_of(Gradient(), classifier, views.inputs, 1).maps[:, 0].numpy()
    # Each crop and its reflection give (1, 2) and (2, 1) in the first row, (3, 4) and (4, 3) in the
    # second: their mean is 1.5 and 3.5 wherever both lie on the same two columns. The middle column
    # is in all crops.
    expected = np.array([[1.5, 1.5, 1.5], [3.5, 3.5, 3.5]], np.float32)
    np.testing.assert_allclose(average_maps(list(maps), views.geometries), expected, rtol=1e-6)
    # Without the reflections: left column 1 and 3, right column 2 and 4; the middle one is the
    # right column of three crops and the left one of two: (3 * 2 + 2 * 1) / 5, (3 * 4 + 2 * 3) / 5.
    expected = np.array([[1, 1.6, 2], [3, 3.6, 4]], np.float32)
    found = average_maps(list(maps[:5]), views.geometries[:5])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
