"""The class saliency map: the gradient of the class score with respect to the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from wsl.models.classifier import Classifier
from wsl.saliency.base import SaliencyMaps, Select
from wsl.saliency.modifiers import (
    Modifier,
    ModifierName,
    ReductionName,
    modifier_of,
    reduction_of,
    to_map,
)
from wsl.saliency.objectives import ClassObjective, Objective
from wsl.saliency.rules import Backpropagation, NonRelu, Rule, RuleName

__all__ = ["Estimator", "Gradient", "class_maps", "gradient_saliency", "resized"]


class Estimator(Protocol):
    """A method that attributes an objective's numbers to the inputs; its options are its fields."""

    def __call__(self, objective: Objective, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each of the objective's slots with its attribution.

        Parameters
        ----------
        objective : Objective
        inputs : Tensor, shape (N, C, H, W)
            Detached, and not changed.

        Yields
        ------
        (int, Tensor of shape (N, C, H, W), or (N, 1, h, w) of a layer's grid)
            With its sign.
        """


class Gradient:
    """The gradient itself, by the objective's rule; one forward pass for all slots.

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman. Deep inside convolutional networks: visualising image
    classification models and saliency maps. arXiv:1312.6034, 2013, sec. 3.
    """

    def __call__(self, objective: Objective, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot's gradient; see `Estimator`."""
        leaf = inputs.clone().requires_grad_()
        yield from objective.gradients(objective.values(leaf), leaf)


def gradient_saliency(
    classifier: Classifier,
    inputs: Tensor,
    select: Select,
    *,
    modifier: ModifierName | Modifier = "absolute",
    reduction: Literal["max", "mean", "l2"] = "max",
    rule: RuleName | Rule = "gradient",
    non_relu: NonRelu | None = None,
    wrt: Literal["pixel", "input"] = "pixel",
) -> SaliencyMaps:
    """Compute the maps of Simonyan et al. 2013, sec. 3: channel-max of |d score / d pixel|.

    Parameters
    ----------
    classifier : Classifier
    inputs : Tensor of float32, shape (N, 3, h, w)
        Normalized as the classifier's preprocessing says.
    select : Select
        Chooses K classes per input from the scores.
    modifier : str or callable
        See `to_map`; the paper takes the absolute value. Values below 0 that it leaves become 0.
    reduction : {'max', 'mean', 'l2'}
        Over the color channels; the paper takes the maximum.
    rule : {'gradient', 'deconvnet', 'guided_backprop'} or Rule
        The way back through activations: the gradient, the deconvnet, or guided backpropagation.
    non_relu : {'gradient', 'rule'}, optional
        See `Backpropagation`.
    wrt : {'pixel', 'input'}
        ``pixel``: with respect to the image's values in [0, 1], which is the gradient with respect
        to the normalized input divided by the channel's standard deviation; the channel that is
        the largest can be another one then. ``input``: with respect to `inputs` themselves.

    Returns
    -------
    SaliencyMaps
        On the classifier's device.

    Notes
    -----
    One forward pass serves all K classes. The score is the one before the softmax: the posterior's
    gradient could be large because other classes lose (sec. 2 of the paper).

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman. Deep inside convolutional networks: visualising image
    classification models and saliency maps. arXiv:1312.6034, 2013.
    """
    return class_maps(
        classifier,
        inputs,
        select,
        estimator=Gradient(),
        backward=Backpropagation(rule, non_relu),
        modifier=modifier,
        reduction=reduction,
        wrt=wrt,
        prepared=True,
    )


def class_maps(
    classifier: Classifier,
    inputs: Tensor,
    select: Select,
    *,
    estimator: Estimator,
    backward: Backpropagation | None = None,
    modifier: ModifierName | Modifier = "absolute",
    reduction: ReductionName = "max",
    wrt: Literal["pixel", "input"] = "input",
    prepared: bool = False,
) -> SaliencyMaps:
    """Compute the maps of selected classes by any estimator: the form of `SaliencyMethod`.

    Parameters
    ----------
    classifier : Classifier
    inputs : Tensor of float32, shape (N, 3, h, w)
        Normalized as the classifier's preprocessing says.
    select : Select
        Chooses K classes per input from the scores.
    estimator : Estimator
    backward : Backpropagation, optional
        The plain rule without it.
    modifier, reduction
        See `to_map`. Values below 0 that are left become 0: maps are >= 0.
    wrt : {'pixel', 'input'}
        What gradients are with respect to; see `gradient_saliency`.
    prepared : bool
        Ask the classifier's faster copy (`Classifier.prepared`). Not for estimators that name
        layers: the copy has none of the network's.

    Returns
    -------
    SaliencyMaps
        On the classifier's device, of the inputs' size: coarser ones are interpolated.
    """
    if wrt not in ("pixel", "input"):
        raise ValueError(f"wrt must be 'pixel' or 'input', but got {wrt!r}")
    if reduction == "none":
        raise ValueError("reduction must be 'max', 'mean' or 'l2' for maps, but got 'none'")
    modifier, _ = modifier_of(modifier), reduction_of(reduction)
    if prepared:
        classifier = classifier.prepared()
    objective = ClassObjective(classifier, select, backward=backward or Backpropagation(), wrt=wrt)
    found: dict[int, Tensor] = {}
    with classifier.inference():
        own = inputs.detach().to(classifier.device, torch.float32)
        for slot, attribution in estimator(objective, own):
            map_ = to_map(attribution, modifier=modifier, reduction=reduction).clamp_min(0)
            found[slot] = resized(map_, own.shape[2:])
        classes = objective.classes
        maps = torch.zeros((*classes.shape, *own.shape[2:]), device=classifier.device)
        for slot, map_ in found.items():
            # Some modifiers make something of the 0 of an input without a class in the slot.
            maps[:, slot] = map_.masked_fill((classes[:, slot] < 0)[:, None, None], 0)
    return SaliencyMaps(scores=objective.scores, classes=classes, maps=maps)


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate maps (..., h, w) bilinearly to a size; as they are where they have it."""
    if maps.shape[-2:] == size:
        return maps
    planes = maps.reshape(1, -1, *maps.shape[-2:])
    larger = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    return larger.reshape(*maps.shape[:-2], *size)
