"""The gradient of the class score with respect to the image, by three rules of backpropagation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod
from wsl.saliency.modifiers import ModifierName
from wsl.saliency.rules import Backpropagation, NonRelu


class PixelMethod(SaliencyMethod):
    """What the methods share that give one value per pixel and channel."""

    modifier: ModifierName = "absolute"
    """What is done to each value g: |g|; max(g, 0); -g; 1 / (g + 1e-7); |1 / (g + 1e-7)|. Values
    below 0 that are left after the reduction become 0."""

    reduction: Literal["max", "mean", "l2"] = "max"
    """How the color channels become one: ``max`` as in the paper, ``mean``, or ``l2``, the root of
    the sum of squares."""


class _Backpropagating(PixelMethod):
    """One forward pass; one backward pass per class."""

    @abstractmethod
    def rule(self) -> Backpropagation:
        """Rule of the backward pass."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Score the inputs with a graph; gradients are those of pixels in [0, 1]."""
        leaf = inputs.clone().requires_grad_()
        rule = self.rule()
        with rule.recording(classifier.module):
            scores = classifier.scores(leaf)
        rule.apply(scores)
        return Attributions(
            scores.detach(), lambda classes: pixel_gradients(classifier, scores, classes, leaf)
        )


class Gradient(_Backpropagating):
    """Maximum over the channels of |d score / d pixel|.

    The score is the one before the softmax: the posterior's gradient could be large because other
    classes lose (Simonyan et al. 2013, sec. 2 and 3).
    """

    summary: ClassVar = "Gradient of the class score with respect to the pixels."
    reference: ClassVar = "Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034"

    method: Literal["gradient"] = "gradient"
    """The saliency method."""

    def rule(self) -> Backpropagation:
        """Return the gradient's own rule."""
        return Backpropagation("gradient")


class _Rectifying(_Backpropagating):
    method: Literal["deconvnet", "guided_backprop"]

    non_relu: NonRelu | None = None
    """At activations without a gate (GELU, SiLU, sigmoid): ``gradient`` keeps the derivative,
    ``rule`` applies the rule with the derivative in the gate's place; null refuses networks with
    such activations."""

    def rule(self) -> Backpropagation:
        """Return the rule of the method's name."""
        return Backpropagation(self.method, self.non_relu)


class Deconvnet(_Rectifying):
    """Backpropagation in which each ReLU passes on what is positive of the signal."""

    summary: ClassVar = "Deconvnet: the signal is rectified at each ReLU of the backward pass."
    reference: ClassVar = "Zeiler, Fergus 2014, arXiv:1311.2901"

    method: Literal["deconvnet"] = "deconvnet"
    """The saliency method."""


class GuidedBackprop(_Rectifying):
    """Like the deconvnet, where the forward pass left the ReLU's gate open."""

    summary: ClassVar = "Guided backpropagation: the gradient, rectified at each ReLU."
    reference: ClassVar = "Springenberg et al. 2015, arXiv:1412.6806"

    method: Literal["guided_backprop"] = "guided_backprop"
    """The saliency method."""


def pixel_gradients(
    classifier: Classifier, scores: Tensor, classes: Tensor, inputs: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield each slot's gradient with respect to pixels in [0, 1].

    That is the gradient with respect to the normalized input, divided by the channel's standard
    deviation; the channel that is the largest can be another one then.
    """
    scale = (1 / torch.tensor(classifier.preprocessing.std)).to(inputs)[:, None, None]
    for slot, (gradient,) in slot_gradients(scores, classes, [inputs]):
        yield slot, gradient * scale


def slot_gradients(
    scores: Tensor, classes: Tensor, wrt: Sequence[Tensor]
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Differentiate the scores of chosen classes, one slot after the other.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        Each row depends on its own input alone. The graph is freed with the last slot.
    classes : Tensor of int64, shape (N, K)
        -1 for none.
    wrt : sequence of Tensor, shape (N, ...)

    Yields
    ------
    (int, tuple of Tensor)
        A slot that holds a class for any input, and a gradient of the shape of each of `wrt`; 0 for
        inputs without a class in the slot.
    """
    values = scores.gather(1, classes.clamp_min(0)) * (classes >= 0)
    slots = [int(slot) for slot in (classes >= 0).any(dim=0).nonzero()]
    for slot in slots:
        # The sum over the batch: each input's own score is all that its gradient sees.
        yield slot, gradients(values[:, slot].sum(), wrt, retain_graph=slot != slots[-1])


def gradients(
    value: Tensor, wrt: Sequence[Tensor], *, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    """Differentiate a number.

    Raises
    ------
    ModelError
        If it does not depend on each of `wrt` through differentiable operations.
    """
    found: tuple[Tensor | None, ...] = (None,)
    if value.requires_grad:
        found = torch.autograd.grad(value, wrt, retain_graph=retain_graph, allow_unused=True)
    given = tuple(gradient for gradient in found if gradient is not None)
    if len(given) < len(wrt):
        raise ModelError(
            "the network's output must be differentiable with respect to its input or the "
            "layer, but no gradient leads from one to the other (a detach, no_grad or "
            "rounding in the module, or a layer beside or behind what is explained?)"
        )
    return given
