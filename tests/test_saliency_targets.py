import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wsl.errors import ModelError
from wsl.saliency.attribution import attribute
from wsl.saliency.targets import (
    ClassScore,
    Filter,
    Loss,
    Neuron,
    Regression,
    WeightedSum,
    as_target,
)

SIZE = (4, 4)


@pytest.fixture
def linear() -> nn.Sequential:
    """Scores that are a matrix times the pixels: each gradient is a row."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 2), nn.Flatten(), nn.Linear(6, 3)
    )


def signed(g: torch.Tensor) -> torch.Tensor:
    return g


def gradient(module, x, target) -> torch.Tensor:
    return attribute(module, x, target, modifier=signed, reduction="none")


def rows(linear) -> torch.Tensor:
    return linear[1].weight.detach().reshape(5, 3, *SIZE)


def test_one_class_and_one_class_per_input(linear):
    x = torch.randn(2, 3, *SIZE)
    assert torch.equal(gradient(linear, x, 3), rows(linear)[[3, 3]])
    for form in ([4, 1], torch.tensor([4, 1]), ClassScore((4, 1))):
        assert torch.equal(gradient(linear, x, form), rows(linear)[[4, 1]])


def test_classes_with_weights(linear):
    x = torch.randn(2, 3, *SIZE)
    found = gradient(linear, x, {3: 1.0, 0: -0.5})
    expected = (rows(linear)[3] - 0.5 * rows(linear)[0]).expand_as(x)
    torch.testing.assert_close(found, expected)


def test_any_loss_and_a_weighted_list_of_losses(network):
    x = torch.randn(2, 3, *SIZE)
    labels = torch.tensor([2, 0])

    def cross_entropy(output):
        return F.cross_entropy(output, labels, reduction="none")

    def posterior(output):
        return output.softmax(dim=1)[:, 1]

    found = gradient(network, x, [(2.0, cross_entropy), (-3.0, posterior), (1.0, 2)])
    leaf = x.clone().requires_grad_()
    output = network(leaf)
    total = 2 * cross_entropy(output) - 3 * posterior(output) + output[:, 2]
    (expected,) = torch.autograd.grad(total.sum(), leaf)
    torch.testing.assert_close(found, expected)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(cross_entropy(network(leaf)).sum(), leaf)
    torch.testing.assert_close(gradient(network, x, Loss(cross_entropy)), expected)


def test_a_loss_must_be_one_number_per_input(network):
    with pytest.raises(ValueError, match=r'shape \(2,\), but gave \(\); losses need reduction="no'):
        gradient(network, torch.randn(2, 3, *SIZE), lambda output: output.mean())


def test_regression_asks_for_a_direction():
    # y = 2 r - 3 g + 0 b of one pixel.
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False), nn.Flatten(0))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[2.0, -3.0, 0.0]]))
    x = torch.zeros(1, 3, 1, 1)

    def maps(direction, **options):
        target = Regression(direction)
        return attribute(module, x, target, reduction="none", **options).flatten().tolist()

    assert maps("increase") == [2, 0, 0]
    assert maps("decrease") == [0, 3, 0]
    assert maps("maintain") == pytest.approx([1 / 2, 1 / 3, 1e7], rel=1e-5)
    assert maps("decrease", modifier="absolute") == [2, 3, 0]
    with pytest.raises(ValueError, match=r"no direction 'increasing'\. Did you mean increase"):
        Regression("increasing")
    with pytest.raises(ValueError, match="the output must be in 0 to 0, but got 1"):
        attribute(module, x, Regression(output=1))


def captured(network, x, index) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.clone().requires_grad_()
    return leaf, network[: index + 1](leaf)


def test_a_filter_is_its_mean_over_the_positions(network):
    x = torch.randn(2, 3, *SIZE)
    leaf, output = captured(network, x, 0)
    (expected,) = torch.autograd.grad(output[:, 2].mean(dim=(1, 2)).sum(), leaf)
    # The ReLU behind works in place: the layer's own output is meant, not what becomes of it.
    torch.testing.assert_close(gradient(network, x, Filter("0", 2)), expected)
    assert (output < 0).any()


def test_one_neuron_at_a_position(network):
    x = torch.randn(2, 3, *SIZE)
    leaf, output = captured(network, x, 0)
    (expected,) = torch.autograd.grad(output[:, 1, 1, 0].sum(), leaf)
    found = gradient(network, x, Neuron("0", 1, (1, 0)))
    torch.testing.assert_close(found, expected)
    # Its field of view is 3 x 3 from (1, 0) on.
    seen = torch.zeros(SIZE, dtype=torch.bool)
    seen[1:4, 0:3] = True
    assert not found[..., ~seen].any()
    assert found[..., seen].all()


def test_units_without_positions_and_tokens(network):
    x = torch.randn(2, 3, *SIZE)
    leaf, output = captured(network, x, 4)
    (expected,) = torch.autograd.grad(output[:, 1].sum(), leaf)
    torch.testing.assert_close(gradient(network, x, Neuron("4", 1)), expected)
    torch.testing.assert_close(gradient(network, x, Filter("4", 1)), expected)
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 5), nn.Flatten(), nn.Linear(15, 2))
    leaf = x.clone().requires_grad_()
    output = tokens[:2](leaf)  # (2, 3, 5): three tokens of five features
    (expected,) = torch.autograd.grad(output[:, 2, 4].sum(), leaf)
    torch.testing.assert_close(gradient(tokens, x, Neuron("1", 4, (2,))), expected)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(tokens[:2](leaf)[:, :, 4].mean(dim=1).sum(), leaf)
    torch.testing.assert_close(gradient(tokens, x, Filter("1", 4)), expected)


def test_layers_of_a_sum_are_recorded_together(network):
    x = torch.randn(1, 3, *SIZE)
    terms = ((2.0, Filter("0", 1)), (1.0, Neuron("2", 3, (0, 0))), (1.0, ClassScore(0)))
    target = WeightedSum(terms)
    parts = [gradient(network, x, term) for _, term in target.terms]
    torch.testing.assert_close(gradient(network, x, target), 2 * parts[0] + parts[1] + parts[2])


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (5, ValueError, "the class must be in 0 to 2, but got 5"),
        (-1, ValueError, "the class must be in 0 to 2, but got -1"),
        ([1, 2, 0], ValueError, "one class for each of 2 inputs, but got 3"),
        (Filter("0", 4), ValueError, "the channel of layer 0 must be in 0 to 3, but got 4"),
        (Neuron("0", 0, (2, 0)), ValueError, r"inside of \(2, 2\), but got \(2, 0\)"),
        (Neuron("0", 0), ValueError, r"inside of \(2, 2\), but got \(\)"),
        (Filter("conv", 0), ModelError, "the network has no layer 'conv'. Choose from: 0, 1, 2"),
        ("cat", ValueError, "only a Classifier knows categories by name, but got target 'cat'"),
        (1.5, ValueError, "a target must be a class, classes .* but got 1.5"),
        (True, ValueError, "a target must be a class, classes .* but got True"),
        ({}, ValueError, "at least one term, but got none"),
    ],
)
def test_wrong_targets_are_refused(network, target, error, message):
    with pytest.raises(error, match=message):
        attribute(network, torch.randn(2, 3, *SIZE), target)


def test_near_layers_are_offered():
    net = nn.Sequential()
    net.add_module("features", nn.Conv2d(3, 2, 1))
    with pytest.raises(ModelError, match=r"no layer 'feature'\. Did you mean features\?"):
        attribute(net, torch.zeros(1, 3, 2, 2), Filter("feature", 0))


def test_a_layer_must_run_once():
    relu = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(3, 2, 1), relu, nn.Conv2d(2, 2, 1), relu, nn.Flatten())
    net.add_module("unused", nn.Identity())
    net.forward = lambda x: net[4](net[3](net[2](net[1](net[0](x)))))
    with pytest.raises(
        ModelError, match="layer 1 must run once in a forward pass, but ran 2 times"
    ):
        attribute(net, torch.zeros(1, 3, 2, 2), Filter("1", 0))
    with pytest.raises(ModelError, match=r"layer unused must run once .* but ran not at all"):
        attribute(net, torch.zeros(1, 3, 2, 2), Filter("unused", 0))


def test_a_layer_must_return_a_tensor():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    net = nn.Sequential(Pair())
    with pytest.raises(ModelError, match="layer 0 must return a tensor, but returned a tuple"):
        attribute(net, torch.zeros(1, 3, 2, 2), Filter("0", 0))


def test_classes_need_scores():
    with pytest.raises(ValueError, match=r"returns \(N, C\), but it returned \(1, 3, 2, 2\)"):
        attribute(nn.Identity(), torch.zeros(1, 3, 2, 2), 0)


def test_short_forms():
    assert as_target(3) == ClassScore(3)
    assert as_target({3: 2}) == WeightedSum(((2.0, ClassScore(3)),))
    assert as_target([(1, 2), (0.5, Filter("a", 1))]).layers == ("a",)
    assert as_target(torch.tensor(4)) == ClassScore(4)
