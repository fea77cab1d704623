"""Ask a network for the values of several targets, as methods with a way of their own do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsl.errors import ConfigError
from wsl.models.classifier import Classifier, ready_for_gradients
from wsl.saliency.layers import find_layer, recording_layer
from wsl.saliency.targets import ClassScore, Target, TargetLike, as_target

__all__ = ["Probe", "Reading"]

Reading = Literal["unnormalized", "probability", "log-probability"]

_READINGS: dict[Reading, Callable[[Tensor], Tensor]] = {
    "unnormalized": lambda scores: scores,
    "probability": lambda scores: scores.softmax(dim=1),
    "log-probability": lambda scores: scores.log_softmax(dim=1),
}


class Probe:
    """A network and K targets.

    Parameters
    ----------
    model : Classifier or torch.nn.Module
        Any classifier or regressor.
    targets : sequence of target
        Each for all inputs; see `wsl.saliency.targets.as_target`. A string is a category of a
        `Classifier`.
    reading : {'unnormalized', 'probability', 'log-probability'}
        Class scores before the softmax, after it, or its logarithm.

    Raises
    ------
    ConfigError
        If there is no target, or probabilities are asked of other targets than classes.
    ModelError
        If there is no such layer.
    """

    def __init__(
        self,
        model: Classifier | nn.Module,
        targets: Sequence[TargetLike | str],
        *,
        reading: Reading = "unnormalized",
    ) -> None:
        self.targets = [_target(model, target) for target in targets]
        if not self.targets:
            raise ConfigError("there must be at least one target, but got none")
        if reading != "unnormalized" and not all(map(_is_class, self.targets)):
            raise ConfigError("probabilities must be of classes, but a target is no class")
        self._model = model
        self._module = model.module if isinstance(model, Classifier) else model
        self._reading = _READINGS[reading]
        self._layers = dict.fromkeys(name for target in self.targets for name in target.layers)
        for name in self._layers:
            find_layer(self._module, name)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        if isinstance(self._model, Classifier):
            return self._model.device
        tensors = chain(self._module.parameters(), self._module.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @property
    def knows_classes(self) -> bool:
        """Whether the network's output is known to be one score per class."""
        return isinstance(self._model, Classifier) or any(map(_is_class, self.targets))

    def ready(self) -> AbstractContextManager[None]:
        """Hold the network ready; see `ready_for_gradients`."""
        return ready_for_gradients(self._module)

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Any]:
        """Compute the targets' values.

        Parameters
        ----------
        inputs : Tensor, shape (N, C, h, w)
            On the network's device; not changed, also by networks that work in place.

        Returns
        -------
        Tensor of float32, shape (N, K)
        Any
            The network's output.
        """
        with ExitStack() as stack:
            recorded = {
                name: stack.enter_context(recording_layer(self._module, name))
                for name in self._layers
            }
            if isinstance(self._model, Classifier):
                output: Any = self._model.scores(inputs)
            else:
                output = self._module(inputs.clone())
        layers = {name: layer.output for name, layer in recorded.items()}
        # What is no matrix of scores is left to the target, which says what is wrong.
        is_matrix = isinstance(output, Tensor) and output.ndim == 2
        read = self._reading(output) if is_matrix else output
        columns = [_column(target.values(read, layers), len(inputs)) for target in self.targets]
        return torch.stack(columns, dim=1), output


def _target(model: Classifier | nn.Module, target: TargetLike | str) -> Target:
    if not isinstance(target, str):
        return as_target(target)
    if not isinstance(model, Classifier):
        raise ConfigError(f"only a Classifier knows categories by name, but got target {target!r}")
    return as_target(model.categories.index(target))


def _is_class(target: Target) -> bool:
    return isinstance(target, ClassScore)


def _column(values: Any, count: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (count,):
        found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConfigError(
            f"a target must give one number per input, shape ({count},), but gave {found}"
        )
    return values.float()
