"""Ask any network where it looks: one call for all methods and targets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from wsl.errors import choices_hint
from wsl.models.classifier import Classifier, ready_for_gradients
from wsl.saliency.averages import InputXGradient, IntegratedGradients, SmoothGrad
from wsl.saliency.cam import Cam, GradCam, LayerCam
from wsl.saliency.gradient import Estimator, Gradient, resized
from wsl.saliency.modifiers import (
    Modifier,
    ModifierName,
    ReductionName,
    modifier_of,
    reduction_of,
    to_map,
)
from wsl.saliency.objectives import TargetObjective
from wsl.saliency.rules import Backpropagation, NonRelu, Rule, RuleName
from wsl.saliency.targets import TargetLike, as_target

__all__ = ["ESTIMATORS", "attribute"]

ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "gradient": Gradient,
    "input_x_gradient": InputXGradient,
    "smoothgrad": SmoothGrad,
    "integrated_gradients": IntegratedGradients,
    "cam": Cam,
    "grad_cam": GradCam,
    "layer_cam": LayerCam,
}


def attribute(
    model: Classifier | nn.Module,
    inputs: Tensor,
    target: TargetLike | str,
    *,
    method: str | Estimator = "gradient",
    rule: RuleName | Rule = "gradient",
    non_relu: NonRelu | None = None,
    modifier: ModifierName | Modifier | None = None,
    reduction: ReductionName = "max",
    batch_size: int | None = None,
) -> Tensor:
    """Attribute a target to the pixels of the inputs.

    Parameters
    ----------
    model : Classifier or torch.nn.Module
        Any network that takes a batch of images: classifiers, regressors, others. It runs in
        evaluation mode and is left as it was, also after an exception; one thread at a time.
    inputs : Tensor, shape (N, C, H, W)
        Normalized as the network wants it; gradients are with respect to these values. Not changed.
    target : Target, int, sequence, mapping, callable or str
        See `as_target`; a string is a category of a `Classifier`.
    method : str or Estimator
        A name of `ESTIMATORS`, with the defaults, or one of their objects with options, such as
        ``SmoothGrad(samples=50)`` or ``GradCam(layer="layer3")``.
    rule : {'gradient', 'deconvnet', 'guided_backprop'} or Rule
        The way back through activations: with ``gradient`` the gradient, the deconvnet, or guided
        backpropagation.
    non_relu : {'gradient', 'rule'}, optional
        What other rules than the plain one do at GELU, SiLU and the like; see `Backpropagation`.
    modifier : str or callable, optional
        See `to_map`. By default the target's own, which is ``absolute`` but for regression; of the
        class activation maps ``positive``.
    reduction : {'max', 'mean', 'l2', 'none'}
        Over the channels; class activation maps have one.
    batch_size : int, optional
        Run so many inputs at once; the result is the same. All by default.

    Returns
    -------
    Tensor, shape (N, H, W), or (N, C, H, W) with ``reduction="none"``
        On the network's device. Class activation maps are interpolated to the inputs' size.

    Raises
    ------
    ModelError
        If a layer is unknown, the rule or the method is not defined for the network, or the target
        does not depend on the inputs.
    ValueError
        If an option or the target is wrong.

    Examples
    --------
    >>> module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    >>> _ = nn.init.constant_(module[1].weight, -3.0)
    >>> attribute(module, torch.zeros(1, 3, 2, 2), 1)
    tensor([[[3., 3.],
             [3., 3.]]])
    """
    if inputs.ndim != 4 or not inputs.is_floating_point() or not len(inputs):
        raise ValueError(
            "inputs must have shape (N, C, H, W), with N of at least 1, and a floating-point type, "
            f"but got {inputs.dtype} of shape {tuple(inputs.shape)}"
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
    if isinstance(target, str):
        target = _category(model, target)
    asked = as_target(target)
    estimator = _estimator(method)
    if modifier is None:
        is_cam = isinstance(estimator, Cam | GradCam | LayerCam)
        modifier = "positive" if is_cam else asked.modifier
    modifier, _ = modifier_of(modifier), reduction_of(reduction)
    backward = Backpropagation(rule, non_relu)
    module, forward, held = _network(model)
    maps = []
    with held:
        own = inputs.detach().to(_device(model, inputs))
        size = batch_size or len(own)
        parts = zip(torch.split(own, size), asked.parts(len(own), size), strict=True)
        for part, part_target in parts:
            objective = TargetObjective(module, forward, part_target, backward=backward)
            ((_, attribution),) = estimator(objective, part)
            map_ = to_map(attribution, modifier=modifier, reduction=reduction)
            maps.append(resized(map_, part.shape[2:]))
    return torch.cat(maps)


def _estimator(method: str | Estimator) -> Estimator:
    if not isinstance(method, str):
        return method
    if method not in ESTIMATORS:
        raise ValueError(f"there is no method {method!r}. {choices_hint(method, ESTIMATORS)}")
    return ESTIMATORS[method]()


def _category(model: Classifier | nn.Module, name: str) -> int:
    if not isinstance(model, Classifier):
        raise ValueError(f"only a Classifier knows categories by name, but got target {name!r}")
    return model.categories.index(name)


def _network(
    model: Classifier | nn.Module,
) -> tuple[nn.Module, Callable[[Tensor], Any], AbstractContextManager[None]]:
    if isinstance(model, Classifier):
        return model.module, model.scores, model.inference()
    return model, model, ready_for_gradients(model)


def _device(model: Classifier | nn.Module, inputs: Tensor) -> torch.device:
    if isinstance(model, Classifier):
        return model.device
    parameter = next(model.parameters(), None)
    return inputs.device if parameter is None else parameter.device
