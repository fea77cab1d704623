from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from toy_networks import awkward_network, state_of

from wsl.data.categories import Categories
from wsl.errors import ConfigError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.activation_maximization import (
    ActivationMaximization,
    MaximizedImages,
    maximize_activation,
)
from wsl.saliency.targets import Filter, Neuron

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.1)
SIZE = (6, 5)
PREPROCESSING = Preprocessing(resize_size=6, crop_size=SIZE, mean=MEAN, std=STD)

paper = partial(ActivationMaximization, decay=1e-2, jitter=0, blur=0, scales=1)


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
    ascent = paper(steps=60, step_size=0.5, rule="gradient", decay=0.5)
    found = maximize_activation(linear, [3, 1], ascent)
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    torch.testing.assert_close(found.inputs, weights[[3, 1]])
    bias = linear.module[1].bias.detach()[[3, 1]]
    torch.testing.assert_close(found.history[:, 0], bias)  # the zero image
    rise = weights[[3, 1]].square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found.history[:, -1], bias + rise)


def test_a_channels_and_a_neurons_images_worked_by_hand():
    # One 1 x 1 filter (1, 2, 3): the mean over 30 positions wants 1/30 of it everywhere, the
    # neuron all of it at one place.
    module = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1))
    ascent = paper(steps=40, step_size=0.5, rule="gradient", decay=0.5)
    classifier = classifier_of(module, 1)
    found = maximize_activation(classifier, [Filter("0", 0), Neuron("0", 0, (2, 4))], ascent).inputs
    color = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    torch.testing.assert_close(found[0], (color / 30).expand(3, *SIZE))
    assert torch.equal(found[1] != 0, torch.zeros(3, *SIZE).index_put(
        (torch.arange(3), torch.tensor([2] * 3), torch.tensor([4] * 3)), torch.tensor(1.0)
    ) > 0)  # fmt: skip
    torch.testing.assert_close(found[1, :, 2, 4], color[:, 0, 0])


def test_the_posterior_rises_by_what_lowers_the_others_too(linear):
    weights = linear.module[1].weight.detach().reshape(4, 3, *SIZE)
    ascent = paper(steps=1, step_size=1.0, rule="gradient", decay=0, maximize="posterior")
    found = maximize_activation(linear, [2], ascent)
    share = linear.module[1].bias.detach().softmax(0)
    expected = weights[2] - (share[:, None, None, None] * weights).sum(0)
    torch.testing.assert_close(found.inputs[0], expected)
    assert found.history[0, 0].item() == pytest.approx(share[2].log().item())


def test_a_batch_equals_its_members(network):
    ascent = paper(steps=5, jitter=1, blur=0.5, scales=2, seed=1)
    targets = [0, Filter("0", 3), "class 2"]
    together = maximize_activation(network, targets, ascent)
    assert together.inputs.shape == (3, 3, *SIZE)
    assert together.history.shape == (3, 6)
    for index, target in enumerate(targets):
        alone = maximize_activation(network, [target], ascent)
        torch.testing.assert_close(alone.inputs[0], together.inputs[index])
        torch.testing.assert_close(alone.history[0], together.history[index])


def test_the_score_rises_and_is_the_networks(network):
    found = maximize_activation(network, [1], paper(steps=30, decay=0))
    with torch.no_grad():
        score = network.module.eval()(found.inputs)[0, 1]
    torch.testing.assert_close(found.history[0, -1], score)
    assert found.history[0, -1] > found.history[0, 0] + 0.1


def test_pictures_add_the_training_mean():
    inputs = torch.zeros(2, 3, 1, 2)
    inputs[1, :, 0, 1] = torch.tensor([1.0, -1.0, 9.0])
    models = MaximizedImages(inputs, torch.zeros(2, 1), MEAN, STD)
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
            maximize_activation(network, [0, target], paper(steps=2))
    else:
        with torch.inference_mode():
            maximize_activation(network, [target], paper(steps=2))
    assert state_of(network.module) == before


def test_mistakes_are_refused(network):
    with pytest.raises(ConfigError, match="at least one target, but got none"):
        maximize_activation(network, [])
    posterior = paper(maximize="posterior")
    with pytest.raises(ConfigError, match="posterior must be that of classes"):
        maximize_activation(network, [Filter("0", 0)], posterior)
    with pytest.raises(ModelError, match="no layer 'conv'"):
        maximize_activation(network, [Filter("conv", 0)])


# Gradient ascent on values whose maxima are known.

CPU = torch.device("cpu")
SHAPE = (2, 3, 4, 5)


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def product_with(weights):
    return lambda inputs: (inputs * weights).sum(dim=(1, 2, 3))


def test_the_rule_gradient_follows_the_closed_form(weights):
    # I <- I + a (w - 2 l I) from zero: after t steps (1 - (1 - 2 a l)^t) w / (2 l).
    ascent = paper(steps=7, step_size=0.5, rule="gradient", decay=0.25)
    found = ascent.ascend(product_with(weights), SHAPE, CPU)
    shares = torch.tensor([1 - 0.75**t for t in range(8)])
    torch.testing.assert_close(found[0], shares[-1] * weights / 0.5)
    norms = weights.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found[1], norms[:, None] * shares / 0.5)


def test_the_normalized_rule_ends_at_the_same_maximum_whatever_the_values_scale(weights):
    for scale in (1.0, 1000.0):
        ascent = paper(steps=400, step_size=0.05, decay=0.5 * scale)
        found = ascent.ascend(product_with(scale * weights), SHAPE, CPU)
        torch.testing.assert_close(found[0], weights, atol=2e-3, rtol=0)


def test_a_normalized_step_changes_pixels_by_the_step_size_on_average(weights):
    found = paper(steps=1, step_size=0.3, decay=0).ascend(product_with(weights), SHAPE, CPU)
    rms = found[0].square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(rms, torch.full((2,), 0.3))


def test_history_begins_with_the_zero_image_and_ends_with_the_result(weights):
    value = product_with(weights)
    found = paper(steps=5).ascend(lambda inputs: value(inputs) + 3, SHAPE, CPU)
    assert found[1].shape == (2, 6)
    assert found[1][:, 0].tolist() == [3, 3]
    torch.testing.assert_close(found[1][:, -1], value(found[0]) + 3)
    assert (found[1].diff(dim=1) > 0).all()
    assert not found[0].requires_grad
    assert not found[1].requires_grad


def test_images_do_not_know_of_each_other(weights):
    options = {"steps": 6, "jitter": 2, "blur": 0.5, "blur_every": 2, "scales": 2, "seed": 3}
    flat = torch.tensor([1.0, 0.0])[:, None, None, None]  # the second has no way up
    value = product_with(weights * flat)
    together = paper(**options).ascend(value, SHAPE, CPU)
    for index in range(2):
        alone = paper(**options).ascend(
            product_with((weights * flat)[index : index + 1]), (1, *SHAPE[1:]), CPU
        )
        torch.testing.assert_close(alone[0][0], together[0][index])
        torch.testing.assert_close(alone[1][0], together[1][index])


def test_the_seed_decides_and_only_where_something_is_drawn(weights):
    def image(**options):
        return paper(steps=4, **options).ascend(product_with(weights), SHAPE, CPU)[0]

    assert torch.equal(image(jitter=2, seed=1), image(jitter=2, seed=1))
    assert not torch.equal(image(jitter=2, seed=1), image(jitter=2, seed=2))
    assert torch.equal(image(seed=1), image(seed=2))


def test_jitter_spreads_what_fits_one_place_only():
    weights = torch.zeros(1, 1, 9, 9)
    weights[0, 0, 4, 4] = 1
    still = paper(steps=50).ascend(product_with(weights), (1, 1, 9, 9), CPU)[0]
    moved = paper(steps=50, jitter=1).ascend(product_with(weights), (1, 1, 9, 9), CPU)[0]
    assert (still != 0).sum() == 1
    assert (moved[..., 3:6, 3:6] > 0).all()  # 50 draws of 9 shifts
    assert (moved != 0).sum() == 9


def test_coarse_scales_come_first():
    seen = []

    def value(inputs):
        seen.append(inputs.detach().clone())
        return (inputs * torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)).sum(dim=(1, 2, 3))

    found = paper(steps=4, scales=3, scale_factor=2).ascend(value, (1, 1, 8, 8), CPU)
    assert [tuple(inputs.shape) for inputs in seen] == [(1, 1, 8, 8)] * 5
    # After the first step the image is a stretched one of 2 x 2: of rank 2 at most.
    assert torch.linalg.matrix_rank(seen[1][0, 0]) <= 2
    assert found[0].shape == (1, 1, 8, 8)


def test_more_scales_than_steps_are_skipped():
    found = paper(steps=2, scales=5).ascend(lambda x: x.sum(dim=(1, 2, 3)), (1, 3, 8, 8), CPU)
    assert found[0].shape == (1, 3, 8, 8)


def test_blur_smooths_but_for_the_last_tenth():
    weights = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def roughness(**options):
        image = paper(steps=5, **options).ascend(product_with(weights), (1, 1, 16, 16), CPU)[0]
        return float(image.diff(dim=-1).square().mean() / image.square().mean())

    assert roughness(blur=1.0, blur_every=1) < 0.5 * roughness()
    assert roughness(blur=1.0, blur_every=6) == roughness()


def test_a_value_without_a_way_up_is_left_by_noise():
    # Zero below 0.1, and its gradient with it; 1 * I above.
    def value(inputs):
        return torch.relu(inputs - 0.1).sum(dim=(1, 2, 3))

    found = paper(steps=40, step_size=0.1).ascend(value, (1, 3, 6, 6), CPU)
    assert found[1][0, 0] == 0
    assert found[1][0, -1] > 10
    # The decay alone, which has a gradient as soon as there is an image, does not count as a way.
    gone = paper(steps=3, step_size=0.1).ascend(
        lambda x: 0 * x.sum(dim=(1, 2, 3)), (1, 3, 32, 32), CPU
    )
    assert gone[0].std().item() == pytest.approx(0.1 * 3**0.5, rel=0.05)


def test_values_without_a_gradient_and_endless_growth_are_refused():
    with pytest.raises(ModelError, match="must be differentiable with respect to its input"):
        paper(steps=2).ascend(lambda x: x.detach().sum(dim=(1, 2, 3)), SHAPE, CPU)
    with pytest.raises(ConfigError, match="must stay finite, but did not with step_size 100"):
        paper(steps=60, step_size=100, rule="gradient").ascend(
            lambda x: (x + 1).square().sum(dim=(1, 2, 3)), SHAPE, CPU
        )


@pytest.mark.parametrize(
    "option",
    [
        {"steps": 0},
        {"step_size": 0.0},
        {"decay": -1.0},
        {"jitter": -1},
        {"blur": float("nan")},
        {"blur_every": 0},
        {"scales": 0},
        {"scale_factor": 0.5},
        {"rule": "adam"},
        {"maximize": "p"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_wrong_options_are_refused(option):
    with pytest.raises(ValidationError, match=next(iter(option))):
        paper(**option)


@settings(max_examples=25)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scales=st.integers(1, 4),
    steps=st.integers(1, 6),
    jitter=st.integers(0, 3),
)
def test_any_size_keeps_its_shape_and_rises(height, width, scales, steps, jitter):
    ascent = paper(steps=steps, scales=scales, jitter=jitter, decay=0)
    found = ascent.ascend(lambda x: x.sum(dim=(1, 2, 3)), (2, 3, height, width), CPU)
    assert found[0].shape == (2, 3, height, width)
    assert (found[1][:, -1] > 0).all()
