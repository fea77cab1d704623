"""The class saliency map: the gradient of the class score with respect to the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from wsl.errors import ModelError, choices_hint
from wsl.models.classifier import Classifier
from wsl.saliency.base import SaliencyMaps, Select, choose

__all__ = ["Reduction", "gradient_saliency", "input_gradients"]

Reduction = Literal["max", "mean", "l2"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda magnitudes: magnitudes.amax(dim=-3),
    "mean": lambda magnitudes: magnitudes.mean(dim=-3),
    "l2": lambda magnitudes: magnitudes.square().sum(dim=-3).sqrt(),
}


def gradient_saliency(
    classifier: Classifier,
    inputs: Tensor,
    select: Select,
    *,
    reduction: Reduction = "max",
    wrt: Literal["pixel", "input"] = "pixel",
) -> SaliencyMaps:
    """Compute the maps of Simonyan et al. 2013, sec. 3: channel-max of |d score / d pixel|.

    Parameters
    ----------
    classifier : Classifier
    inputs : Tensor of float32, shape (N, 3, h, w)
        Normalised as the classifier's preprocessing says.
    select : Select
        Chooses K classes per input from the scores.
    reduction : {'max', 'mean', 'l2'}
        Over the colour channels, of the gradient's absolute value; the paper takes the maximum.
    wrt : {'pixel', 'input'}
        ``pixel``: with respect to the image's values in [0, 1], which is the gradient with respect
        to the normalised input divided by the channel's standard deviation; the channel that is
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
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f"there is no reduction {reduction!r}. {choices_hint(reduction, _REDUCTIONS)}"
        )
    if wrt not in ("pixel", "input"):
        raise ValueError(f"wrt must be 'pixel' or 'input', but got {wrt!r}")
    scale = torch.ones(3) if wrt == "input" else 1 / torch.tensor(classifier.preprocessing.std)
    scale = scale.to(classifier.device)[:, None, None]
    with classifier.inference():
        own = inputs.detach().to(classifier.device, torch.float32).clone().requires_grad_()
        scores = classifier.scores(own)
        classes = choose(select, scores)
        maps = own.new_zeros((*classes.shape, *own.shape[2:]), requires_grad=False)
        for slot, gradients in input_gradients(scores, own, classes):
            maps[:, slot] = _REDUCTIONS[reduction](gradients.mul_(scale).abs_())
    return SaliencyMaps(scores=scores.detach(), classes=classes, maps=maps)


def input_gradients(
    scores: Tensor, inputs: Tensor, classes: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of chosen scores with respect to the inputs, one slot after the other.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        Computed from `inputs`, each row from its own input alone (true in evaluation mode).
    inputs : Tensor, shape (N, 3, h, w)
        Requires a gradient.
    classes : Tensor of int64, shape (N, K)
        -1 for none.

    Yields
    ------
    (int, Tensor of shape (N, 3, h, w))
        Slot and gradients; 0 for inputs without a class in the slot. Slots without any class are
        left out.

    Raises
    ------
    ModelError
        If the scores do not depend on the inputs through differentiable operations.
    """
    if not scores.requires_grad:
        raise ModelError(
            "the classifier's scores must be differentiable with respect to its input, but no "
            "gradient leads from them to it (a detach, no_grad or rounding in the module?)"
        )
    given = classes >= 0
    slots = given.any(dim=0).nonzero().flatten().tolist()
    for slot in slots:
        rows = given[:, slot]
        # The sum over the batch: each input's own score is all that its gradient sees.
        chosen = scores[rows, classes[rows, slot]].sum()
        (gradients,) = torch.autograd.grad(chosen, inputs, retain_graph=slot != slots[-1])
        yield slot, gradients
