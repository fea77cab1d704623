"""Images that a class, a channel or a neuron of the network likes best.

Simonyan et al. 2013 sec. 2, where they are called class models: from a zero image (the training
mean), gradient ascent on the unnormalized score with L2 decay; the training mean is added at the
end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from wsl.config.options import Options
from wsl.errors import ConfigError
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.gradient import gradients
from wsl.saliency.target_classifier import TargetClassifier
from wsl.saliency.targets import ClassScore, TargetLike, as_target

Value = Callable[[Tensor], Tensor]
"""From inputs (K, C, h, w) to values (K,), each from its own input; differentiable."""


class ActivationMaximization(Options):
    """Maximize value(I) - decay * ||I||^2, from a zero image, by gradient ascent.

    By default with what keeps high frequencies down: jitter, blur and several scales. The paper's
    own procedure, as far as it is written down, is ``decay=0.01, jitter=0, blur=0, scales=1``.

    Where a value's gradient is zero everywhere, as at the zero image of networks that end in a ReLU
    for some of their classes, the step is normal noise with a standard deviation of `step_size`,
    the same for all images. The paper's networks had no ReLU there.
    """

    summary: ClassVar = "Image with the highest class score, by gradient ascent (no input image)."
    progress_unit: ClassVar = "steps"
    reference: ClassVar = "Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034"

    method: Literal["activation_maximization"] = "activation_maximization"
    """The saliency method."""

    steps: PositiveInt = 200
    """Steps of gradient ascent in all; at several scales each has an equal share."""

    step_size: PositiveFloat = 0.05
    """``normalized``: how much the first step changes a pixel (root mean square over the image), in
    the units of the normalized input. ``gradient``: what the gradient is multiplied by."""

    rule: Literal["normalized", "gradient"] = "normalized"
    """``gradient``: I + step_size * g. It finds the maximum for a step size below
    1 / (decay + c / 2) (c the value's largest curvature), which differs from network to network and
    layer to layer. ``normalized``: I + (1 - t/steps) * step_size * g / rms(g) at step t. The same
    step size suits all; the steps get shorter as constant ones would circle the maximum forever."""

    decay: NonNegativeFloat = 1e-3
    """Weight of the image's sum of squares, which is subtracted from the score."""

    jitter: NonNegativeInt = 8
    """Beyond the paper: the image is rolled by up to so many pixels both ways, drawn anew at each
    step, so that nothing is gained by patterns that fit one place only."""

    blur: NonNegativeFloat = 0.5
    """Beyond the paper: standard deviation in pixels of a Gaussian blur after every `blur_every`
    steps, but for the last tenth; 0 for none."""

    blur_every: PositiveInt = 4
    """Steps from one blur to the next."""

    scales: PositiveInt = 3
    """Beyond the paper: the image begins coarse and is stretched by `scale_factor` so many times,
    less one; the network always sees it at the full size."""

    scale_factor: float = Field(default=1.4, ge=1)
    """Factor from one scale to the next."""

    seed: int = Field(default=0, ge=0)
    """Seed of the jitter, and of the noise where the score has no gradient."""

    maximize: Literal["score", "posterior"] = "score"
    """``score``: before the softmax, as in the paper. ``posterior``: the logarithm of the class's
    probability, which lowering the other classes raises too."""

    def ascend(
        self,
        value: Value,
        shape: tuple[int, ...],
        device: torch.device,
        progress: Progress = SILENT,
    ) -> tuple[Tensor, Tensor]:
        """Ascend.

        Parameters
        ----------
        value : callable
        shape : (K, C, h, w)
            K images; what one of them becomes does not depend on the others.
        device : torch.device
        progress : Progress
            Counts steps.

        Returns
        -------
        images : Tensor of float32, shape (K, C, h, w)
        history : Tensor of float32, shape (K, steps + 1)
            The values, without the decay, before each step (of the image as it was rolled then)
            and at the end.

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
        progress.start(self.steps, 0)
        for step in range(self.steps):
            scale = step * self.scales // self.steps
            image = _stretch(image, self._size_at(scale, size))
            image, values = self._take_step(value, image, size, step, generator)
            history.append(values)
            if self.blur > 0 and (step + 1) % self.blur_every == 0 and step < 0.9 * self.steps:
                image = gaussian_blur(image, self.blur)
            progress.advance(1, 0)
        image = _stretch(image, size)
        with torch.no_grad():
            history.append(value(image).detach())
        if not torch.isfinite(image).all():
            raise ConfigError(
                f"the ascent must stay finite, but did not with step_size {self.step_size}; "
                "take a smaller one, or the rule 'normalized'"
            )
        return image, torch.stack(history, dim=1)

    def _take_step(
        self, value: Value, image: Tensor, size: tuple[int, int], step: int, draw: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Take one step; return the image after it and the values before it."""
        leaf = image.detach().requires_grad_()
        full = _stretch(leaf, size)
        values = value(torch.roll(full, self._shift(draw), dims=(2, 3)))
        (rise,) = gradients(values.sum(), [full], retain_graph=True)
        (gradient,) = torch.autograd.grad(full, leaf, rise - 2 * self.decay * full.detach())
        # Drawn at each step, needed or not, so that no image depends on another.
        noise = torch.randn(gradient.shape[1:], generator=draw).to(gradient)
        stuck = (rise == 0).flatten(1).all(dim=1)[:, None, None, None]
        taken = torch.where(stuck, self.step_size * noise, self._step(gradient, step))
        return leaf.detach() + taken, values.detach()

    def _step(self, gradient: Tensor, step: int) -> Tensor:
        if self.rule == "gradient":
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
class MaximizedImages:
    """Images that K targets like best."""

    inputs: Tensor
    """Shape (K, C, h, w). As the network takes them: 0 is the training mean. On the CPU."""
    history: Tensor
    """Shape (K, steps + 1). What was maximized, without the decay: before each step and at the
    end."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Standard deviation of the normalization, for `pictures`."""

    def pictures(self, *, stretch: bool = False) -> NDArray[np.uint8]:
        """Add the training mean and draw the images.

        Parameters
        ----------
        stretch : bool
            Whether each image's difference from the mean is scaled so that 99 % of its values are
            inside the range of colors. Otherwise what lies outside is clipped.

        Returns
        -------
        ndarray of uint8, shape (K, h, w, 3)
            RGB.
        """
        mean, std = (torch.tensor(each)[:, None, None] for each in (self.mean, self.std))
        difference = self.inputs * std
        if stretch:
            # At a mean near 0.5 about as much room is above as below.
            reach = np.quantile(difference.abs().flatten(1).numpy(), 0.99, axis=1)
            scale = torch.tensor([0.45 / value if value > 0 else 1.0 for value in reach])
            difference = difference * scale.to(difference)[:, None, None, None]
        pixels = (difference + mean).clamp(0, 1) * 255
        pixels = pixels.expand(-1, 3, -1, -1)  # also of networks of gray images
        return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def maximize_activation(
    classifier: Classifier,
    targets: Sequence[TargetLike | str],
    options: ActivationMaximization | None = None,
    *,
    progress: Progress = SILENT,
) -> MaximizedImages:
    """Find the images that targets like best, all in one batch.

    Parameters
    ----------
    classifier : Classifier
    targets : sequence of K targets
        Classes, by number or name, channels of a layer (`Filter`), neurons, and sums of them; one
        image each, which does not depend on the others.
    options : ActivationMaximization, optional
    progress : Progress
        Counts steps.

    Raises
    ------
    ConfigError
        If there is no target, or the posterior is asked of other targets than classes.
    ModelError
        If there is no such layer.
    """
    options = options or ActivationMaximization()
    if not targets:
        raise ConfigError("there must be at least one target, but got none")
    asked = tuple(
        as_target(classifier.categories.index(target) if isinstance(target, str) else target)
        for target in targets
    )
    posterior = options.maximize == "posterior"
    if posterior and not all(isinstance(target, ClassScore) for target in asked):
        raise ConfigError("the posterior must be that of classes, but a target is no class")
    network = TargetClassifier.of(classifier, asked, posterior=posterior)
    preprocessing = classifier.preprocessing
    shape = (len(asked), len(preprocessing.mean), *preprocessing.crop_size)
    with network.inference():
        # The k-th image is the k-th target's.
        images, history = options.ascend(
            lambda inputs: network.scores(inputs).diagonal(), shape, network.device, progress
        )
    return MaximizedImages(images.cpu(), history.cpu(), preprocessing.mean, preprocessing.std)


def _stretch(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
