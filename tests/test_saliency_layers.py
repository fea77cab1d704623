import pytest
import torch
from torch import nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.layers import as_grid, find_layer, last_grid_layer, recording


def classifier_of(module):
    return Classifier(module, Preprocessing(), Categories.numbered(2), torch.device("cpu"))


def test_a_layer_is_found_by_its_name():
    net = nn.Sequential(nn.Sequential(nn.ReLU()))
    assert find_layer(net, "0.0") is net[0][0]
    with pytest.raises(ModelError, match=r"no layer ''\. Choose from: 0, 0\.0"):
        find_layer(net, "")


@pytest.mark.parametrize("as_leaf", [False, True])
def test_what_is_recorded_is_not_changed_by_layers_in_place(as_leaf):
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(inplace=True))
    nn.init.constant_(net[0].weight, -1.0)
    net.requires_grad_(False)
    x = torch.ones(1, 1, 1, 1, requires_grad=True)
    with recording(net, ["0"], as_leaf=as_leaf) as recorded:
        output = net(x)
    assert recorded["0"].item() == -1
    assert output.item() == 0
    assert recorded["0"].is_leaf == as_leaf
    assert not net[0]._forward_hooks


def test_the_hook_goes_also_after_an_exception():
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(RuntimeError, match="expected input"), recording(net, ["0"]):
        net(torch.zeros(1, 2, 1, 1))
    assert not net[0]._forward_hooks


def test_the_last_layer_with_positions_is_the_outermost():
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    calls = []
    net.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    for _ in range(2):
        assert last_grid_layer(classifier_of(net), (3, 8, 8)) == "0"
    assert calls == [1]
    with pytest.raises(ModelError, match=r"no layer of the network returns positions"):
        last_grid_layer(classifier_of(net[1:]), (4, 1, 1))
    assert not any(part._forward_hooks for part in net[:].modules() if part is not net)


def test_channels_last_are_told_by_the_inputs_shape():
    grid = torch.randn(2, 4, 6, 9)
    assert as_grid(grid, (64, 96), layer="a") is grid
    last = grid.permute(0, 2, 3, 1)
    assert torch.equal(as_grid(last, (64, 96), layer="a"), grid)


def test_tokens_lie_in_reading_order_behind_the_class_token():
    # 2 x 3 positions behind none, one or two other tokens.
    positions = torch.randn(2, 6, 5)
    for prefix in (0, 1, 2):
        tokens = torch.cat([torch.zeros(2, prefix, 5), positions], dim=1)
        grid = as_grid(tokens, (32, 48), layer="a")
        assert grid.shape == (2, 5, 2, 3)
        assert torch.equal(grid[:, :, 1, 0], positions[:, 3])


@pytest.mark.parametrize("shape", [(2, 7), (2, 5, 3, 17), (2, 5, 3), (2, 1, 1, 8)])
def test_what_is_no_grid_is_refused(shape):
    message = r"layer a must return a grid .* but returned \(2, .* input of 32 x 48"
    with pytest.raises(ModelError, match=message):
        as_grid(torch.zeros(shape), (32, 48), layer="a")
