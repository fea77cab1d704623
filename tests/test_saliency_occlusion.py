"""Occlusion on networks whose answers are worked out by hand or by brute force."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_networks import awkward_network, state_of

from wsl.data.categories import Categories
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.base import these, top_k
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.methods import build_method
from wsl.saliency.occlusion import make_fill, occlude, occlusion_saliency
from wsl.saliency.occlusion_grid import MaskGrid
from wsl.saliency.options import SaliencyOptions
from wsl.saliency.targets import Filter, Neuron, Regression

SIZE = (6, 5)
PREPROCESSING = Preprocessing(
    resize_size=6, crop_size=SIZE, mean=(0.5, 0.25, 0.75), std=(0.5, 0.25, 0.1)
)


def classifier_of(module: nn.Module, classes: int = 4) -> Classifier:
    return Classifier(module, PREPROCESSING, Categories.numbered(classes), torch.device("cpu"))


@pytest.fixture
def network() -> Classifier:
    return classifier_of(awkward_network())


@pytest.fixture
def linear() -> Classifier:
    torch.manual_seed(0)
    return classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(90, 4)))


def brute_force(module, image, size, stride, fill):
    """Scores (rows, columns, C) with each mask drawn into a copy of the image of its own."""
    height, width = image.shape[1:]
    found = []
    for y in range((height - 1) % stride // 2, height, stride):
        for x in range((width - 1) % stride // 2, width, stride):
            masked = image.clone()
            for i in range(y - size // 2, y - size // 2 + size):
                for j in range(x - size // 2, x - size // 2 + size):
                    if 0 <= i < height and 0 <= j < width:
                        masked[:, i, j] = fill[:, i, j]
            found.append(module(masked[None])[0])
    rows, columns = -(-height // stride), -(-width // stride)
    return torch.stack(found).reshape(rows, columns, -1)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 2), (9, 1), (1, 3)])
def test_a_linear_models_drop_is_what_the_mask_takes(linear, size, stride):
    image, fill = torch.randn(3, *SIZE), torch.randn(3, *SIZE)
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    found = occlude(linear, image, [2], size=size, stride=stride, fill=fill)
    taken = (weights[2] * (image - fill)).sum(dim=0)
    expected = torch.stack([taken[mask].sum() for mask in found.grid])
    torch.testing.assert_close(found.drops[0].flatten(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.unmasked, linear.module(image[None])[0, 2:3].detach())


@pytest.mark.parametrize("score", ["unnormalized", "probability"])
def test_scores_and_winners_equal_brute_force(network, score):
    image, fill = torch.randn(3, *SIZE), torch.randn(3, *SIZE)
    found = occlude(network, image, [0, 3], size=3, stride=2, fill=fill, score=score, batch_size=2)
    module = network.module.eval()
    with torch.no_grad():
        expected = brute_force(module, image, 3, 2, fill)
    scores = expected.softmax(-1) if score == "probability" else expected
    torch.testing.assert_close(found.values, scores[..., [0, 3]].permute(2, 0, 1))
    assert torch.equal(found.winners, expected.argmax(-1))
    lowest = found.lowest(1)
    assert lowest.value == pytest.approx(scores[..., 3].min().item())
    row, column = divmod(int(scores[..., 3].argmin()), 3)
    assert lowest.center == (2 * row, 2 * column)
    assert lowest.winner == expected[row, column].argmax()


def test_the_notebook_effect_worked_by_hand():
    # Class 0 is the left pixel, class 1 the right one, class 2 a constant 2.
    module = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].weight[0, 0] = module[1].weight[1, 2] = 1
        module[1].bias.copy_(torch.tensor([0.0, 0.0, 2.0]))
    image = torch.tensor([5.0, 0.0, 3.0]).expand(3, 1, 3)
    found = occlude(module, image, [0], size=1, fill=torch.zeros(3, 1, 1))
    assert found.unmasked.tolist() == [5]
    assert found.values.tolist() == [[[0, 5, 5]]]
    assert found.winners.tolist() == [[1, 0, 0]]  # the left pixel gone, it is taken for class 1
    lowest = found.lowest()
    assert (lowest.value, lowest.center, lowest.box, lowest.winner) == (0, (0, 0), (0, 0, 1, 1), 1)


@pytest.mark.parametrize("anchor", ["center", "corner"])
def test_all_batch_sizes_give_the_same(network, anchor):
    image = torch.randn(3, *SIZE)
    options = {"size": 3, "stride": 1, "anchor": anchor}
    whole = occlude(network, image, [1], batch_size=100, **options)
    for batch_size in (1, 7):
        parts = occlude(network, image, [1], batch_size=batch_size, **options)
        torch.testing.assert_close(parts.values, whole.values)
        assert torch.equal(parts.winners, whole.winners)


def test_a_batch_of_images_equals_its_members(network):
    x = torch.randn(3, 3, *SIZE)
    together = occlusion_saliency(network, x, top_k(2), size=3, stride=2, fill="noise")
    for index in range(3):
        alone = occlusion_saliency(
            network, x[index : index + 1], top_k(2), size=3, stride=2, fill="noise"
        )
        assert torch.equal(alone.classes[0], together.classes[index])
        torch.testing.assert_close(alone.maps[0], together.maps[index])


def test_maps_are_the_drops_above_zero_on_the_input(network):
    x = torch.randn(2, 3, *SIZE)
    classes = torch.tensor([[2, -1, 0], [-1, -1, -1]])
    maps = occlusion_saliency(network, x, these(classes), size=3, stride=2, fill="gray").maps
    found = occlude(network, x[0], [2, 0], size=3, stride=2, fill="gray")
    expected = found.grid.interpolate(found.drops.clamp(min=0))
    torch.testing.assert_close(maps[0, [0, 2]], expected)
    assert (found.drops < 0).any()
    assert not maps[0, 1].any()
    assert not maps[1].any()
    assert maps.shape == (2, 3, *SIZE)


class Counting(nn.Module):
    """Notes how many inputs each pass gets."""

    def __init__(self, module):
        super().__init__()
        self.module, self.counts = module, []

    def forward(self, x):
        self.counts.append(len(x))
        return self.module(x)


@pytest.mark.parametrize("size", [(6, 5), (40, 50)])
def test_masked_images_are_streamed_in_batches(size, monkeypatch):
    module = Counting(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))
    largest = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(
        torch.Tensor,
        "clone",
        lambda self, **more: largest.append(self.numel()) or clone(self, **more),
    )
    occlude(module, torch.randn(3, *size), [0], size=3, fill=torch.zeros(3, 1, 1), batch_size=8)
    assert max(module.counts) == 8
    assert sum(module.counts) == 1 + size[0] * size[1]
    # Nothing of more than a batch is ever copied, however many positions there are.
    assert max(largest) == 8 * 3 * size[0] * size[1]


def test_progress_counts_all_masks_of_all_images(network):
    seen = []
    occlude(
        network,
        torch.randn(3, *SIZE),
        [0],
        size=3,
        batch_size=20,
        progress=lambda *at: seen.append(at),
    )
    assert seen == [(20, 30), (30, 30)]
    seen.clear()
    classes = these(torch.tensor([[0], [-1], [1]]))
    occlusion_saliency(
        network,
        torch.randn(3, 3, *SIZE),
        classes,
        size=3,
        stride=1,
        batch_size=20,
        progress=lambda *at: seen.append(at),
    )
    assert seen == [(20, 60), (30, 60), (50, 60), (60, 60)]


# ------------------------------------------------------------------------ targets


def test_a_channel_a_neuron_and_a_regression_output():
    module = awkward_network().eval()
    image, fill = torch.randn(3, *SIZE), torch.randn(3, *SIZE)
    targets = [Filter("1", 5), Neuron("1", 5, (2, 3)), Regression("increase", 1)]
    found = occlude(module, image, targets, size=3, fill=fill)
    assert found.winners is None  # nothing says that the outputs are classes
    with torch.no_grad():
        channel = brute_force(lambda x: module[:2](x)[:, 5].flatten(1), image, 3, 1, fill)
        output = brute_force(module, image, 3, 1, fill)[..., 1]
    torch.testing.assert_close(found.values[0], channel.mean(-1))
    torch.testing.assert_close(found.values[1], channel[..., 2 * SIZE[1] + 3])
    torch.testing.assert_close(found.values[2], output)


def test_classes_go_by_name_with_a_classifier_only(network):
    image = torch.randn(3, *SIZE)
    by_name = occlude(network, image, ["class 2"], size=3)
    assert torch.equal(by_name.values, occlude(network, image, [2], size=3).values)
    with pytest.raises(ConfigError, match="only a Classifier knows categories by name"):
        occlude(network.module, image, ["class 2"], size=3, fill="noise")


# --------------------------------------------------------------------------- fills


def test_fills_worked_by_hand():
    image = torch.randn(3, *SIZE)
    gray = make_fill("gray", image, PREPROCESSING)
    level = 128 / 255
    expected = torch.tensor([(level - 0.5) / 0.5, (level - 0.25) / 0.25, (level - 0.75) / 0.1])
    torch.testing.assert_close(gray, expected[:, None, None].expand(3, *SIZE))
    assert not make_fill("mean", image, PREPROCESSING).any()
    red = make_fill((255, 0, 0), image, PREPROCESSING)
    torch.testing.assert_close(red[:, 3, 3], torch.tensor([1.0, -1.0, -7.5]))
    blurred = make_fill("blurred", image, PREPROCESSING, blur=1.5)
    torch.testing.assert_close(blurred, gaussian_blur(image[None], 1.5)[0])


def test_noise_is_seeded_and_the_same_for_all_images():
    image = torch.randn(3, 60, 50)
    noise = make_fill("noise", image, PREPROCESSING, seed=4)
    assert torch.equal(noise, make_fill("noise", torch.zeros(3, 60, 50), PREPROCESSING, seed=4))
    assert not torch.equal(noise, make_fill("noise", image, PREPROCESSING, seed=5))
    assert noise.mean().abs() < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "gray"}, "there is no fill 'gray'. Did you mean gray"),
        ({"fill": (0, 0, 256)}, r"three numbers from 0 to 255, but got \(0, 0, 256\)"),
        ({"fill": (0, 0)}, "a color must be three numbers"),
        ({"score": "logit"}, "score must be 'unnormalized' or 'probability', but got 'logit'"),
        ({"batch_size": 0}, "batch_size must be at least 1, but got 0"),
        ({"size": 0}, "mask size, stride and input size must be at least 1"),
    ],
    ids=["fill", "color", "short color", "score", "batch", "size"],
)
def test_wrong_options_are_refused(network, options, message):
    options = {"size": 3, "stride": 1, **options}
    with pytest.raises(ValueError, match=message):
        occlude(network, torch.randn(3, *SIZE), [0], **options)
    with pytest.raises(ValueError, match=message):
        occlusion_saliency(network, torch.randn(1, 3, *SIZE), top_k(1), **options)


def test_wrong_targets_are_refused(network):
    image = torch.randn(3, *SIZE)
    with pytest.raises(ConfigError, match="at least one target, but got none"):
        occlude(network, image, [], size=3)
    with pytest.raises(ConfigError, match="probabilities must be of classes"):
        occlude(network, image, [Filter("1", 0)], size=3, score="probability")
    with pytest.raises(ModelError, match=r"no layer '1.weight'"):
        occlude(network, image, [Filter("1.weight", 0)], size=3)
    with pytest.raises(ConfigError, match="fill of a bare module must be a tensor"):
        occlude(network.module, image, [0], size=3, fill="gray")
    with pytest.raises(ConfigError, match=r"shape \(1,\), but gave \(4,\)"):
        occlude(network, image, [lambda output: output[0]], size=3)


# ------------------------------------------------------------------- what is left behind


@pytest.mark.parametrize("how", ["method", "module", "layer"])
@pytest.mark.parametrize("fails", [False, True], ids=["success", "exception"])
def test_nothing_is_left_behind(network, how, fails):
    network.module[1].weight.grad = torch.ones(8, 3, 3, 3)
    x = torch.randn(1, 3, *SIZE)
    before, values = state_of(network.module), x.clone()

    def stop(done, total):
        if fails:
            raise ArithmeticError("in the middle")

    def ask():
        if how == "method":
            return occlusion_saliency(network, x, top_k(1), size=3, stride=2, progress=stop).maps
        target, fill = (Filter("3", 0) if how == "layer" else 0), torch.zeros(3, 1, 1)
        return occlude(network.module, x[0], [target], size=3, fill=fill, progress=stop).values

    if fails:
        with pytest.raises(ArithmeticError, match="in the middle"):
            ask()
    else:
        assert not ask().requires_grad
    assert state_of(network.module) == before
    assert torch.equal(x, values)


# ------------------------------------------------------------------------------- captum


@settings(deadline=None, max_examples=15)
@given(size=st.integers(1, 6), data=st.data())
def test_the_average_over_masks_from_the_corner_is_captums_map(size, data):
    stride = data.draw(st.integers(1, size))
    module = awkward_network()[1:].eval()
    image = torch.randn(3, 7, 9, generator=torch.Generator().manual_seed(size))
    found = occlude(
        module, image, [1], size=size, stride=stride, fill=torch.zeros(3, 1, 1), anchor="corner"
    )
    captum = CaptumOcclusion(module).attribute(
        image[None], (3, size, size), strides=(3, stride, stride), target=1, baselines=0
    )
    average = found.grid.average(found.drops[0])
    torch.testing.assert_close(average, captum[0, 0].detach(), rtol=1e-4, atol=1e-6)


def test_centered_masks_that_are_not_clipped_are_those_from_the_corner():
    # On 9 x 9 centers lie on 1, 4, 7 (size 3, stride 3), so that nothing is clipped.
    assert list(MaskGrid((9, 9), 3, 3)) == list(MaskGrid((9, 9), 3, 3, "corner"))


# -------------------------------------------------------------------------- configuration


def test_it_is_a_method_of_the_configuration(network):
    options = SaliencyOptions.model_validate(
        {"method": "occlusion", "occlusion": {"size": 3, "stride": 2, "fill": [255, 0, 0]}}
    )
    x = torch.randn(1, 3, *SIZE)
    found = build_method(options)(network, x, top_k(1)).maps
    expected = occlusion_saliency(network, x, top_k(1), size=3, stride=2, fill=(255, 0, 0)).maps
    assert torch.equal(found, expected)
    assert not np.array_equal(found, build_method(SaliencyOptions())(network, x, top_k(1)).maps)
