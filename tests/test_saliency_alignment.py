"""Where a layer's cells look: against receptive fields worked out by hand."""

import pytest
import torch
from torch import nn

from wsl.saliency.alignment import CellCenters, aligned, cell_centers


def conv(kernel, stride, padding, channels=(3, 4)):
    return nn.Conv2d(*channels, kernel, stride=stride, padding=padding)


@pytest.mark.parametrize(
    ("layers", "first", "stride"),
    [
        ([conv(3, 1, 1)], 0, 1),
        ([conv(3, 2, 1)], 0, 2),
        ([conv(7, 2, 0)], 3, 2),
        ([conv(4, 4, 0)], 1.5, 4),
        ([conv(3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 0, 4),
        ([conv(7, 2, 0), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)], 5, 4),
        ([conv(3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.AvgPool2d(2)], 1, 4),
    ],
    ids=["gradient", "strided", "unpadded", "patches", "pooled", "squeezenet's head", "averaged"],
)
def test_centers_are_those_of_the_receptive_fields(layers, first, stride):
    module = nn.Sequential(*layers)
    name = str(len(layers) - 1)
    assert cell_centers(module, [name]) == {name: CellCenters(first, stride)}


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(conv(3, 2, 1), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    cell_centers(module, ["1"])
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not module[1]._forward_hooks


class Squeezed(nn.Module):
    """A layer every cell of which sees the whole input."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 2, 1)

    def forward(self, inputs):
        found = self.conv(inputs)
        return found * found.mean(dim=(2, 3), keepdim=True)


def test_a_cell_that_sees_everything_has_no_center():
    assert cell_centers(nn.Sequential(Squeezed()), ["0"]) == {"0": None}


def test_a_network_for_one_size_has_its_first_layers_measured():
    module = nn.Sequential(conv(3, 2, 1), nn.Flatten(), nn.Linear(4 * 16 * 16, 2))
    assert cell_centers(module, ["0"]) == {"0": CellCenters(0, 2)}


def test_a_cell_is_brought_to_its_center():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 1, 2] = 1
    found = aligned(maps, CellCenters(3, 4), (20, 24))
    assert found.shape == (1, 1, 20, 24)
    assert (found == 1).nonzero().tolist() == [[0, 0, 7, 11]]
    assert found[0, 0, 7, 13] == pytest.approx(0.5)
    assert found.sum() == pytest.approx(16)


def test_without_centers_it_is_plain_interpolation():
    maps = torch.rand(2, 1, 5, 7)
    expected = torch.nn.functional.interpolate(
        maps, size=(20, 28), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(aligned(maps, None, (20, 28)), expected)


def test_what_is_pooled_to_a_fixed_number_of_cells_divides_the_input():
    # VGG pools its last grid to 7 x 7, which at 224 changes nothing.
    module = nn.Sequential(conv(32, 32, 0), nn.AdaptiveAvgPool2d(7))
    assert cell_centers(module, ["1"]) == {"1": None}
    maps = torch.rand(1, 1, 7, 7)
    expected = aligned(maps, CellCenters(15.5, 32), (224, 224))
    torch.testing.assert_close(aligned(maps, None, (224, 224)), expected)
    torch.testing.assert_close(aligned(maps, CellCenters(20, 55), (224, 224)), expected)
