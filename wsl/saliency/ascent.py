"""Gradient ascent on an input: the mathematics of class models, whatever it is that rises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from wsl.errors import ConfigError
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.objectives import slot_gradients

__all__ = ["Ascent", "StepRule"]

StepRule = Literal["normalized", "plain"]
Value = Callable[[Tensor], Tensor]
"""From inputs (K, C, h, w) to values (K,), each from its own input; differentiable."""


@dataclass(frozen=True)
class Ascent:
    """Maximize value(I) - decay * ||I||^2, from a zero image, by gradient ascent.

    Attributes
    ----------
    steps : int
        In all; at several scales each has an equal share.
    step_size : float
        ``plain``: the gradient is multiplied by it. ``normalized``: how much a step changes a pixel
        (root mean square over the image), in the input's units.
    rule : {'normalized', 'plain'}
        ``plain``: I + step_size * g. It finds the maximum for a step size below 1 / (decay + c / 2)
        (c the value's largest curvature), which differs from network to network and layer to layer.
        ``normalized``: I + (1 - t/steps) * step_size * g / rms(g) at step t. The same step size
        suits all; the steps get shorter as the constant ones would go round the maximum forever.
    decay : float
        Lambda, of the sum of squares over the whole input.
    jitter : int
        Beyond the paper: each value is that of the input rolled by up to so many pixels both ways,
        drawn anew at each step, so that nothing is gained by patterns that fit one place only.
    blur : float
        Beyond the paper: standard deviation in pixels of a Gaussian blur after every
        `blur_every` steps, but for the last tenth; 0 for none.
    blur_every : int
    scales : int
        Beyond the paper: the image begins coarse, and is stretched by `scale_factor` `scales` - 1
        times; the network always sees it stretched to the full size.
    scale_factor : float
    seed : int
        Of the jitter, and of the noise where there is no way up.

    Notes
    -----
    Where a value's gradient is zero everywhere, there is no way up: squeezenet, which ends in a
    ReLU, leaves about a tenth of its classes so at the zero image. The step is then normal noise
    with a standard deviation of `step_size`, the same for all images. The paper's networks had no
    ReLU there.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    steps: int = 200
    step_size: float = 0.05
    rule: StepRule = "normalized"
    decay: float = 1e-2
    jitter: int = 0
    blur: float = 0.0
    blur_every: int = 4
    scales: int = 1
    scale_factor: float = 1.4
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _at_least("decay", self.decay, 0)
        _at_least("jitter", self.jitter, 0)
        _at_least("blur", self.blur, 0)
        _at_least("blur_every", self.blur_every, 1)
        _at_least("scales", self.scales, 1)
        _at_least("scale_factor", self.scale_factor, 1)
        if self.step_size <= 0:
            raise ConfigError(f"step_size must be positive, but got {self.step_size}")
        if self.rule not in get_args(StepRule):
            raise ConfigError(f"rule must be 'normalized' or 'plain', but got {self.rule!r}")

    def __call__(self, value: Value, shape: tuple[int, ...], device: torch.device) -> Found:
        """Ascend.

        Parameters
        ----------
        value : callable
        shape : (K, C, h, w)
            K images, each with its own way: what one of them becomes does not depend on the rest.
        device : torch.device

        Returns
        -------
        Found

        Raises
        ------
        ConfigError
            If the image grows beyond all bounds.
        ModelError
            If the value is not differentiable with respect to the input.
        """
        generator = torch.Generator().manual_seed(self.seed)
        size = (shape[2], shape[3])
        history: list[Tensor] = []
        image = torch.zeros(*shape[:2], *self._size_at(0, size), device=device)
        for step in range(self.steps):
            scale = step * self.scales // self.steps
            image = _stretch(image, self._size_at(scale, size))
            image, values = self._ascend(value, image, size, step, generator)
            history.append(values)
            if self.blur > 0 and (step + 1) % self.blur_every == 0 and step < 0.9 * self.steps:
                image = gaussian_blur(image, self.blur)
        image = _stretch(image, size)
        with torch.no_grad():
            history.append(value(image).detach())
        if not torch.isfinite(image).all():
            raise ConfigError(
                f"the ascent must stay finite, but did not with step_size {self.step_size}; "
                "take a smaller one, or the rule 'normalized'"
            )
        return Found(image, torch.stack(history, dim=1))

    def _ascend(
        self, value: Value, image: Tensor, size: tuple[int, int], step: int, draw: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Take one step; return the image after it and the values before it."""
        leaf = image.detach().requires_grad_()
        full = _stretch(leaf, size)
        values = value(torch.roll(full, self._shift(draw), dims=(2, 3)))
        ((_, rise),) = slot_gradients(values[:, None], full, [0])
        (gradient,) = torch.autograd.grad(full, leaf, rise - 2 * self.decay * full.detach())
        # Drawn at each step, needed or not, so that no image's way depends on another's.
        noise = torch.randn(gradient.shape[1:], generator=draw).to(gradient)
        stuck = (rise == 0).flatten(1).all(dim=1)[:, None, None, None]
        taken = torch.where(stuck, self.step_size * noise, self._step(gradient, step))
        return leaf.detach() + taken, values.detach()

    def _step(self, gradient: Tensor, step: int) -> Tensor:
        if self.rule == "plain":
            return self.step_size * gradient
        rms = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        size = self.step_size * (1 - step / self.steps)
        # A gradient of zeros stays one.
        return size * gradient / rms.clamp(min=torch.finfo(gradient.dtype).tiny)

    def _shift(self, generator: torch.Generator) -> tuple[int, int]:
        if not self.jitter:
            return (0, 0)
        drawn = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=generator)
        return (int(drawn[0]), int(drawn[1]))

    def _size_at(self, scale: int, size: tuple[int, int]) -> tuple[int, int]:
        factor = self.scale_factor ** (self.scales - 1 - scale)
        return (max(round(size[0] / factor), 1), max(round(size[1] / factor), 1))


@dataclass(frozen=True, eq=False)
class Found:
    """Where an ascent ended.

    Attributes
    ----------
    image : Tensor of float32, shape (K, C, h, w)
    history : Tensor of float32, shape (K, steps + 1)
        The values, without the decay, before each step (of the image as it was rolled then) and at
        the end.
    """

    image: Tensor
    history: Tensor


def _stretch(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def _at_least(name: str, value: float, lowest: float) -> None:
    if not value >= lowest:
        raise ConfigError(f"{name} must be at least {lowest}, but got {value}")
