"""Occlusion on networks whose answers are worked out by hand or by brute force."""

import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from method_maps import maps_of
from pydantic import ValidationError
from torch import nn
from toy_networks import awkward_network, state_of

from wsl.data.categories import Categories
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.progress import NoProgress
from wsl.run.config import build_config
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.occlusion import Occlusion, make_fill, occlude
from wsl.saliency.occlusion_grid import MaskGrid
from wsl.saliency.target_classifier import TargetClassifier
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


RED = (255, 0, 51)


def red(image):
    return make_fill(RED, image, PREPROCESSING)


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
    image = torch.randn(3, *SIZE)
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    found = occlude(linear, image, [2], Occlusion(size=size, stride=stride, fill=RED))
    taken = (weights[2] * (image - red(image))).sum(dim=0)
    expected = torch.stack([taken[mask].sum() for mask in found.grid])
    torch.testing.assert_close(found.drops[0].flatten(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.unmasked, linear.module(image[None])[0, 2:3].detach())


@pytest.mark.parametrize("score", ["unnormalized", "probability"])
def test_scores_and_winners_equal_brute_force(network, score):
    image = torch.randn(3, *SIZE)
    options = Occlusion(size=3, stride=2, fill=RED, score=score, batch_size=2)
    found = occlude(network, image, [0, 3], options)
    module = network.module.eval()
    with torch.no_grad():
        expected = brute_force(module, image, 3, 2, red(image))
    scores = expected.softmax(-1) if score == "probability" else expected
    torch.testing.assert_close(found.values, scores[..., [0, 3]].permute(2, 0, 1))
    assert torch.equal(found.winners, expected.argmax(-1))
    lowest = found.lowest(1)
    assert lowest.value == pytest.approx(scores[..., 3].min().item(), abs=1e-6)
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
    plain = Preprocessing(crop_size=(1, 3), mean=(0.0,) * 3, std=(1.0,) * 3)
    classifier = Classifier(module, plain, Categories.numbered(3), torch.device("cpu"))
    found = occlude(classifier, image, [0], Occlusion(size=1, stride=1, fill=(0, 0, 0)))
    assert found.unmasked.tolist() == [5]
    assert found.values.tolist() == [[[0, 5, 5]]]
    assert found.winners.tolist() == [[1, 0, 0]]  # the left pixel gone, it is taken for class 1
    lowest = found.lowest()
    assert (lowest.value, lowest.center, lowest.box, lowest.winner) == (0, (0, 0), (0, 0, 1, 1), 1)


def test_all_batch_sizes_give_the_same(network):
    image = torch.randn(3, *SIZE)
    whole = occlude(network, image, [1], Occlusion(size=3, stride=1, batch_size=100))
    for batch_size in (1, 7):
        parts = occlude(network, image, [1], Occlusion(size=3, stride=1, batch_size=batch_size))
        torch.testing.assert_close(parts.values, whole.values)
        assert torch.equal(parts.winners, whole.winners)


def test_a_batch_of_images_equals_its_members(network):
    x = torch.randn(3, 3, *SIZE)
    method = Occlusion(size=3, stride=2, fill="noise")
    together = maps_of(method, network, x, 2)
    for index in range(3):
        alone = maps_of(method, network, x[index : index + 1], 2)
        assert torch.equal(alone.classes[0], together.classes[index])
        torch.testing.assert_close(alone.maps[0], together.maps[index])


def test_maps_are_the_drops_above_zero_on_the_input(network):
    x = torch.randn(2, 3, *SIZE)
    classes = torch.tensor([[2, -1, 0], [-1, -1, -1]])
    options = Occlusion(size=3, stride=2, fill="gray")
    maps = maps_of(options, network, x, classes).maps
    found = occlude(network, x[0], [2, 0], options)
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
    options = Occlusion(size=3, stride=1, batch_size=8)
    occlude(classifier_of(module, 2), torch.randn(3, *size), [0], options)
    assert max(module.counts) == 8
    assert sum(module.counts) == 1 + size[0] * size[1]
    # Nothing of more than a batch is ever copied, however many positions there are.
    assert max(largest) == 8 * 3 * size[0] * size[1]


def test_progress_counts_the_masks_of_each_image(network):
    class Seen(list):
        def start(self, total, done):
            self.append(("of", total))

        def advance(self, count, failed):
            self.append(count)

    options, seen = Occlusion(size=3, stride=1, batch_size=20), Seen()
    attributions = options.attributions(network, torch.randn(3, 3, *SIZE), seen)
    assert [slot for slot, _ in attributions.of(torch.tensor([[0], [-1], [1]]))] == [0]
    assert seen == [("of", 30), 20, 10] * 2


# ------------------------------------------------------------------------ targets


def test_a_channel_a_neuron_and_a_regression_output():
    module = awkward_network().eval()
    image = torch.randn(3, *SIZE)
    targets = [Filter("1", 5), Neuron("1", 5, (2, 3)), Regression("increase", 1)]
    asked, fill = TargetClassifier.of(classifier_of(module), targets), red(image)
    found = occlude(asked, image, [0, 1, 2], Occlusion(size=3, stride=1, fill=RED))
    with torch.no_grad():
        channel = brute_force(lambda x: module[:2](x)[:, 5].flatten(1), image, 3, 1, fill)
        output = brute_force(module, image, 3, 1, fill)[..., 1]
    torch.testing.assert_close(found.values[0], channel.mean(-1))
    torch.testing.assert_close(found.values[1], channel[..., 2 * SIZE[1] + 3])
    torch.testing.assert_close(found.values[2], output)


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
    "option",
    [{"fill": "grey"}, {"fill": (0, 0, 256)}, {"fill": (0, 0)}, {"score": "logit"},
     {"batch_size": 0}, {"size": 0}],
    ids=["fill", "color", "short color", "score", "batch", "size"],
)  # fmt: skip
def test_wrong_options_are_refused(option):
    with pytest.raises(ValidationError, match=next(iter(option))):
        Occlusion(**option)


def test_the_probability_of_a_channel_is_refused(network):
    asked = TargetClassifier.of(network, [Filter("1", 0)])
    with pytest.raises(ConfigError, match="probabilities must be those of classes"):
        occlude(asked, torch.randn(3, *SIZE), [0], Occlusion(score="probability"))
    with pytest.raises(ModelError, match=r"no layer '1.weight'"):
        TargetClassifier.of(network, [Filter("1.weight", 0)])


# ------------------------------------------------------------------- what is left behind


@pytest.mark.parametrize("how", ["method", "layer"])
@pytest.mark.parametrize("fails", [False, True], ids=["success", "exception"])
def test_nothing_is_left_behind(network, how, fails):
    network.module[1].weight.grad = torch.ones(8, 3, 3, 3)
    x, options = torch.randn(1, 3, *SIZE), Occlusion(size=3, stride=2)
    before, values = state_of(network.module), x.clone()

    class Stop(NoProgress):
        def advance(self, count, failed):
            if fails:
                raise ArithmeticError("in the middle")

    asked = TargetClassifier.of(network, [Filter("3", 0)]) if how == "layer" else network
    if fails:
        with pytest.raises(ArithmeticError, match="in the middle"):
            occlude(asked, x[0], [0], options, Stop())
    else:
        assert not occlude(asked, x[0], [0], options, Stop()).values.requires_grad
    assert state_of(network.module) == before
    assert torch.equal(x, values)


# ------------------------------------------------------------------------------- captum


@pytest.mark.parametrize("side", [1, 3, 5])
def test_masks_that_tile_the_input_are_captums(side):
    # Of an odd side that is the stride and divides the input, all begin where captum's do.
    module = awkward_network()[1:].eval()
    image = torch.randn(3, 3 * side, 2 * side, generator=torch.Generator().manual_seed(side))
    found = occlude(
        classifier_of(module), image, [1], Occlusion(size=side, stride=side, fill="mean")
    )
    captum = CaptumOcclusion(module).attribute(
        image[None], (3, side, side), strides=(3, side, side), target=1, baselines=0
    )
    expected = captum[0, 0, ::side, ::side].detach()
    torch.testing.assert_close(found.drops[0], expected, rtol=1e-4, atol=1e-6)
    assert list(found.grid) == list(MaskGrid((3 * side, 2 * side), side, side))


# -------------------------------------------------------------------------- configuration


def test_it_is_a_method_of_the_configuration():
    content = {"method": "occlusion", "size": 3, "stride": 2, "fill": [255, 0, 0]}
    found = build_config({"extends": "plain", "saliency": content}).saliency
    assert found == Occlusion(size=3, stride=2, fill=(255, 0, 0))
