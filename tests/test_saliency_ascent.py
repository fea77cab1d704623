"""Gradient ascent on values whose maxima are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsl.errors import ConfigError, ModelError
from wsl.saliency.ascent import Ascent

CPU = torch.device("cpu")
SHAPE = (2, 3, 4, 5)


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def linear(weights):
    return lambda inputs: (inputs * weights).sum(dim=(1, 2, 3))


def test_the_plain_rule_follows_the_closed_form(weights):
    # I <- I + a (w - 2 l I) from zero: after t steps (1 - (1 - 2 a l)^t) w / (2 l).
    ascent = Ascent(steps=7, step_size=0.5, rule="plain", decay=0.25)
    found = ascent(linear(weights), SHAPE, CPU)
    shares = torch.tensor([1 - 0.75**t for t in range(8)])
    torch.testing.assert_close(found.image, shares[-1] * weights / 0.5)
    norms = weights.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found.history, norms[:, None] * shares / 0.5)


def test_the_normalized_rule_ends_at_the_same_maximum_whatever_the_values_scale(weights):
    for scale in (1.0, 1000.0):
        ascent = Ascent(steps=400, step_size=0.05, decay=0.5 * scale)
        found = ascent(linear(scale * weights), SHAPE, CPU)
        torch.testing.assert_close(found.image, weights, atol=2e-3, rtol=0)


def test_a_normalized_step_changes_pixels_by_the_step_size_on_average(weights):
    found = Ascent(steps=1, step_size=0.3, decay=0)(linear(weights), SHAPE, CPU)
    rms = found.image.square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(rms, torch.full((2,), 0.3))


def test_history_begins_with_the_zero_image_and_ends_with_the_result(weights):
    value = linear(weights)
    found = Ascent(steps=5)(lambda inputs: value(inputs) + 3, SHAPE, CPU)
    assert found.history.shape == (2, 6)
    assert found.history[:, 0].tolist() == [3, 3]
    torch.testing.assert_close(found.history[:, -1], value(found.image) + 3)
    assert (found.history.diff(dim=1) > 0).all()
    assert not found.image.requires_grad
    assert not found.history.requires_grad


def test_images_do_not_know_of_each_other(weights):
    options = {"steps": 6, "jitter": 2, "blur": 0.5, "blur_every": 2, "scales": 2, "seed": 3}
    flat = torch.tensor([1.0, 0.0])[:, None, None, None]  # the second has no way up
    value = linear(weights * flat)
    together = Ascent(**options)(value, SHAPE, CPU)
    for index in range(2):
        alone = Ascent(**options)(linear((weights * flat)[index : index + 1]), (1, *SHAPE[1:]), CPU)
        torch.testing.assert_close(alone.image[0], together.image[index])
        torch.testing.assert_close(alone.history[0], together.history[index])


def test_the_seed_decides_and_only_where_something_is_drawn(weights):
    def image(**options):
        return Ascent(steps=4, **options)(linear(weights), SHAPE, CPU).image

    assert torch.equal(image(jitter=2, seed=1), image(jitter=2, seed=1))
    assert not torch.equal(image(jitter=2, seed=1), image(jitter=2, seed=2))
    assert torch.equal(image(seed=1), image(seed=2))


def test_jitter_spreads_what_fits_one_place_only():
    weights = torch.zeros(1, 1, 9, 9)
    weights[0, 0, 4, 4] = 1
    still = Ascent(steps=50)(linear(weights), (1, 1, 9, 9), CPU).image
    moved = Ascent(steps=50, jitter=1)(linear(weights), (1, 1, 9, 9), CPU).image
    assert (still != 0).sum() == 1
    assert (moved[..., 3:6, 3:6] > 0).all()  # 50 draws of 9 shifts
    assert (moved != 0).sum() == 9


def test_coarse_scales_come_first():
    seen = []

    def value(inputs):
        seen.append(inputs.detach().clone())
        return (inputs * torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)).sum(dim=(1, 2, 3))

    found = Ascent(steps=4, scales=3, scale_factor=2)(value, (1, 1, 8, 8), CPU)
    assert [tuple(inputs.shape) for inputs in seen] == [(1, 1, 8, 8)] * 5
    # After the first step the image is a stretched one of 2 x 2: of rank 2 at most.
    assert torch.linalg.matrix_rank(seen[1][0, 0]) <= 2
    assert found.image.shape == (1, 1, 8, 8)


def test_more_scales_than_steps_are_skipped():
    found = Ascent(steps=2, scales=5)(lambda x: x.sum(dim=(1, 2, 3)), (1, 3, 8, 8), CPU)
    assert found.image.shape == (1, 3, 8, 8)


def test_blur_smooths_but_for_the_last_tenth():
    weights = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def roughness(**options):
        image = Ascent(steps=5, **options)(linear(weights), (1, 1, 16, 16), CPU).image
        return float(image.diff(dim=-1).square().mean() / image.square().mean())

    assert roughness(blur=1.0, blur_every=1) < 0.5 * roughness()
    assert roughness(blur=1.0, blur_every=6) == roughness()


def test_a_value_without_a_way_up_is_left_by_noise():
    # Zero below 0.1, and its gradient with it; 1 * I above.
    def value(inputs):
        return torch.relu(inputs - 0.1).sum(dim=(1, 2, 3))

    found = Ascent(steps=40, step_size=0.1)(value, (1, 3, 6, 6), CPU)
    assert found.history[0, 0] == 0
    assert found.history[0, -1] > 10
    # The decay alone, which has a gradient as soon as there is an image, does not count as a way.
    gone = Ascent(steps=3, step_size=0.1)(lambda x: 0 * x.sum(dim=(1, 2, 3)), (1, 3, 32, 32), CPU)
    assert gone.image.std().item() == pytest.approx(0.1 * 3**0.5, rel=0.05)


def test_values_without_a_gradient_and_endless_growth_are_refused():
    with pytest.raises(ModelError, match="must be differentiable with respect to its input"):
        Ascent(steps=2)(lambda x: x.detach().sum(dim=(1, 2, 3)), SHAPE, CPU)
    with pytest.raises(ConfigError, match="must stay finite, but did not with step_size 100"):
        Ascent(steps=60, step_size=100, rule="plain")(
            lambda x: (x + 1).square().sum(dim=(1, 2, 3)), SHAPE, CPU
        )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, but got 0"),
        ({"step_size": 0.0}, "step_size must be positive, but got 0"),
        ({"decay": -1.0}, "decay must be at least 0, but got -1"),
        ({"jitter": -1}, "jitter must be at least 0"),
        ({"blur": float("nan")}, "blur must be at least 0, but got nan"),
        ({"blur_every": 0}, "blur_every must be at least 1"),
        ({"scales": 0}, "scales must be at least 1"),
        ({"scale_factor": 0.5}, "scale_factor must be at least 1"),
        ({"rule": "adam"}, "rule must be 'normalized' or 'plain', but got 'adam'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        Ascent(**option)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scales=st.integers(1, 4),
    steps=st.integers(1, 6),
    jitter=st.integers(0, 3),
)
def test_any_size_keeps_its_shape_and_rises(height, width, scales, steps, jitter):
    ascent = Ascent(steps=steps, scales=scales, jitter=jitter, decay=0)
    found = ascent(lambda x: x.sum(dim=(1, 2, 3)), (2, 3, height, width), CPU)
    assert found.image.shape == (2, 3, height, width)
    assert (found.history[:, -1] > 0).all()
