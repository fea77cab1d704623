import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from method_maps import maps_of
from pydantic import ValidationError
from torch import nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attribution import attribute
from wsl.saliency.averages import InputXGradient, IntegratedGradients, SmoothGrad
from wsl.saliency.gradient import Gradient

SIZE = (6, 5)


class Squares(nn.Module):
    """Score c is the sum of (c + 1) x ** 2: the gradient is 2 (c + 1) x."""

    def forward(self, x):
        return x.square().sum(dim=(1, 2, 3))[:, None] * torch.arange(1, 4)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)
    ).eval()


def signed(g: torch.Tensor) -> torch.Tensor:
    return g


def raw(module, x, target, method, **options) -> torch.Tensor:
    return attribute(module, x, target, method=method, modifier=signed, reduction="none", **options)


def test_input_x_gradient_equals_captums(network):
    x = torch.randn(3, 3, *SIZE)
    expected = CaptumInputXGradient(network).attribute(x.clone().requires_grad_(), target=2)
    torch.testing.assert_close(raw(network, x, 2, "input_x_gradient"), expected.detach())
    torch.testing.assert_close(raw(Squares(), x, 1, InputXGradient()), 4 * x**2)


def noise_of(samples: int, seed: int, x: torch.Tensor, share: float) -> torch.Tensor:
    """Draw the noise as documented: once per sample, scaled by each input's range."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randn(x.shape[1:], generator=generator) for _ in range(samples)])
    ranges = x.flatten(1).amax(1) - x.flatten(1).amin(1)
    return share * ranges[:, None, None, None, None] * drawn


@pytest.mark.parametrize("statistic", ["mean", "squared", "variance"])
def test_smoothgrad_of_squares_worked_by_hand(statistic):
    x = torch.randn(2, 3, *SIZE)
    noise = noise_of(7, 3, x, 0.2)  # (2, 7, 3, 6, 5)
    gradients = 4 * (x[:, None] + noise)
    expected = {
        "mean": gradients.mean(dim=1),
        "squared": gradients.square().mean(dim=1),
        "variance": gradients.var(dim=1, unbiased=False),
    }[statistic]
    method = SmoothGrad(samples=7, noise=0.2, statistic=statistic, seed=3)
    torch.testing.assert_close(raw(Squares(), x, 1, method), expected, rtol=1e-4, atol=1e-5)


def test_smoothgrad_without_noise_or_curvature_is_the_gradient(network):
    x = torch.randn(2, 3, *SIZE)
    plain = raw(network, x, 1, "gradient")
    torch.testing.assert_close(raw(network, x, 1, SmoothGrad(samples=3, noise=0)), plain)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(90, 3))
    method = SmoothGrad(samples=5, noise=0.5)
    torch.testing.assert_close(raw(linear, x, 1, method), raw(linear, x, 1, "gradient"))
    variance = raw(linear, x, 1, SmoothGrad(samples=5, noise=0.5, statistic="variance"))
    assert variance.abs().max() < 1e-10


def test_smoothgrad_follows_its_seed_alone(network):
    x = torch.randn(4, 3, *SIZE)
    method = SmoothGrad(samples=4, seed=1)
    together = raw(network, x, 1, method)
    torch.manual_seed(99)
    assert torch.equal(raw(network, x, 1, method), together)
    assert not torch.equal(raw(network, x, 1, SmoothGrad(samples=4, seed=2)), together)
    state = torch.get_rng_state()
    raw(network, x, 1, method)
    assert torch.equal(torch.get_rng_state(), state)
    for index in range(4):
        alone = raw(network, x[index : index + 1], 1, method)[0]
        torch.testing.assert_close(alone, together[index], rtol=1e-5, atol=1e-7)


def test_integrated_gradients_of_squares_are_exact_with_one_step():
    # The gradient is linear on the path, so the midpoint is all that the integral needs.
    x = torch.randn(2, 3, *SIZE)
    preprocessing = Preprocessing(crop_size=SIZE, mean=(0.5,) * 3, std=(1.0,) * 3)
    squares = Classifier(Squares(), preprocessing, Categories.numbered(3), torch.device("cpu"))
    method = IntegratedGradients(steps=1, baseline="black", tolerance=1e-4)
    expected = 3 * (x**2 - 0.5**2)
    torch.testing.assert_close(raw(squares, x, 2, method), expected, rtol=1e-4, atol=1e-5)


def test_completeness_is_checked(network):
    x = torch.randn(3, 3, *SIZE)
    found = raw(network, x, 1, IntegratedGradients(steps=300, tolerance=0.02))
    with torch.no_grad():
        rise = network(x)[:, 1] - network(torch.zeros_like(x))[:, 1]
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), rise, rtol=1e-2, atol=1e-3)
    step = nn.Sequential(nn.Flatten(), nn.Linear(90, 2), nn.Hardtanh(-0.01, 0.01))
    message = r"must sum up to the score's difference .* to 0.25 of it, .* raise the 1 steps"
    with pytest.raises(ModelError, match=message):
        raw(step, x, 1, IntegratedGradients(steps=1, tolerance=0.25))


@pytest.mark.parametrize(
    ("method", "option"),
    [
        (SmoothGrad, {"samples": 0}),
        (SmoothGrad, {"noise": -1}),
        (SmoothGrad, {"statistic": "median"}),
        (IntegratedGradients, {"steps": 0}),
        (IntegratedGradients, {"tolerance": 0}),
    ],
    ids=["samples", "noise", "statistic", "steps", "tolerance"],
)
def test_wrong_options_are_refused(method, option):
    with pytest.raises(ValidationError, match=next(iter(option))):
        method(**option)


STD, MEAN = (0.5, 0.25, 0.1), (0.4, 0.5, 0.6)


@pytest.fixture
def classifier(network) -> Classifier:
    preprocessing = Preprocessing(resize_size=6, crop_size=SIZE, std=STD, mean=MEAN)
    return Classifier(network, preprocessing, Categories.numbered(4), torch.device("cpu"))


CLASSES = torch.tensor([[2, -1], [0, 3]])


@pytest.mark.parametrize("method", [SmoothGrad(samples=3), IntegratedGradients()], ids=str)
def test_scores_are_those_of_the_clean_inputs(classifier, method):
    x = torch.randn(2, 3, *SIZE)
    found = maps_of(method, classifier, x, CLASSES)
    with torch.no_grad():
        torch.testing.assert_close(found.scores, classifier.scores(x))
    assert not found.maps[0, 1].any()
    assert (found.maps[CLASSES >= 0].amax(dim=(1, 2)) > 0).all()


def test_smoothgrad_of_pixels_divides_by_the_deviation(classifier):
    x = torch.randn(2, 3, *SIZE)
    method = SmoothGrad(samples=3, statistic="squared")
    found = maps_of(method, classifier, x, CLASSES)
    gradients = raw(classifier.module, x, [2, 0], method) / torch.tensor(STD)[:, None, None] ** 2
    torch.testing.assert_close(found.maps[:, 0], gradients.amax(dim=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_integrated_gradients_equal_captums_from_black_and_from_the_mean(classifier, baseline):
    x = torch.randn(3, 3, *SIZE)
    black = (-torch.tensor(MEAN) / torch.tensor(STD))[None, :, None, None]
    expected = CaptumIntegratedGradients(classifier.module).attribute(
        x, black if baseline == "black" else 0.0, target=[0, 3, 1], n_steps=20
    )
    found = raw(classifier, x, [0, 3, 1], IntegratedGradients(steps=20, baseline=baseline))
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("modifier", ["negate", "invert", "small_values"])
def test_maps_of_runs_are_not_negative_and_empty_without_a_class(classifier, modifier):
    x = torch.randn(2, 3, *SIZE)
    method = Gradient(modifier=modifier, reduction="mean")
    found = maps_of(method, classifier, x, CLASSES)
    assert (found.maps >= 0).all()
    assert not found.maps[0, 1].any()
    expected = attribute(classifier, x, [2, 0], method=method).clamp(min=0)
    torch.testing.assert_close(found.maps[:, 0], expected)
