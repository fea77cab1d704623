"""Explain any target of any network: one call for all methods."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.errors import choices_hint
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.base import SaliencyMethod, resized
from wsl.saliency.methods import METHODS
from wsl.saliency.modifiers import Modifier, ModifierName, ReductionName
from wsl.saliency.target_classifier import TargetClassifier
from wsl.saliency.targets import ClassScore, Target, TargetLike, as_target


def attribute(
    model: Classifier | nn.Module,
    inputs: Tensor,
    target: TargetLike | str,
    *,
    method: str | SaliencyMethod = "gradient",
    modifier: ModifierName | Modifier | None = None,
    reduction: ReductionName | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Attribute a target to the pixels of the inputs.

    Parameters
    ----------
    model : Classifier or torch.nn.Module
        Any network that takes a batch of images: classifiers, regressors, others. It runs in
        evaluation mode and is left as it was, also after an exception; one thread at a time.
    inputs : Tensor, shape (N, C, H, W)
        Normalized as the network wants it; not changed. Gradients are with respect to these values;
        of a `Classifier`, where the method says so, with respect to pixels in [0, 1].
    target : Target, int, sequence, mapping, callable or str
        See `as_target`; a string is a category of a `Classifier`.
    method : str or SaliencyMethod
        A method's name, with the defaults, or its options, such as
        ``SmoothGrad(samples=50)``.
    modifier : str or callable, optional
        See `to_map`. By default the target's own, or the method's.
    reduction : {'max', 'mean', 'l2', 'none'}, optional
        Over the channels; by default the method's.
    batch_size : int, optional
        Run so many inputs at once; the result is the same. All by default.

    Returns
    -------
    Tensor, shape (N, H, W), or (N, C, H, W) with ``reduction="none"``
        On the network's device. Coarser attributions are interpolated to the inputs' size.

    Raises
    ------
    ModelError
        If a layer is unknown, the method is not defined for the network, or the target does not
        depend on the inputs.
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
        if not isinstance(model, Classifier):
            raise ValueError(
                f"only a Classifier knows categories by name, but got target {target!r}"
            )
        target = model.categories.index(target)
    asked, options = as_target(target), _options(method)
    own = inputs.detach().to(_device(model, inputs))
    size = batch_size or len(own)
    parts = zip(torch.split(own, size), asked.parts(len(own), size), strict=True)
    maps = []
    for part, part_target in parts:
        targets, slots = [part_target], [0] * len(part)
        if isinstance(part_target, ClassScore) and not isinstance(part_target.classes, int):
            distinct = sorted(set(part_target.classes))
            targets = [ClassScore(class_) for class_ in distinct]
            slots = [distinct.index(class_) for class_ in part_target.classes]
        network = _network(model, part, targets)
        with network.inference():
            attributions = options.attributions(network, part)
            for _, attribution in attributions.of(torch.tensor(slots, device=part.device)[:, None]):
                map_ = options.to_map(
                    attribution, modifier=modifier or asked.modifier, reduction=reduction
                )
                maps.append(resized(map_, part.shape[2:]))
    return torch.cat(maps)


def _options(method: str | SaliencyMethod) -> SaliencyMethod:
    if isinstance(method, SaliencyMethod):
        return method
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}. {choices_hint(method, METHODS)}")
    return METHODS[method](method=method)


def _network(
    model: Classifier | nn.Module, inputs: Tensor, targets: list[Target]
) -> TargetClassifier:
    if isinstance(model, Classifier):
        return TargetClassifier.of(model, targets)
    channels, *size = inputs.shape[1:]
    raw = Preprocessing(crop_size=(size[0], size[1]), mean=(0.0,) * channels, std=(1.0,) * channels)
    return TargetClassifier(
        model,
        raw,
        Categories.numbered(len(targets)),
        inputs.device,
        targets=tuple(targets),
        # A copy, as a first layer that works in place writes into what it is given.
        outputs=lambda given: model(given.clone()),
    )


def _device(model: Classifier | nn.Module, inputs: Tensor) -> torch.device:
    if isinstance(model, Classifier):
        return model.device
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), inputs.device)
