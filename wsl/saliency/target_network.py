"""A target of a network as a classifier of one class, which every saliency method can ask."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.models.classifier import Classifier
from wsl.saliency.layers import find_layer, recording_layer
from wsl.saliency.targets import Target

__all__ = ["as_classifier"]


def as_classifier(classifier: Classifier, target: Target, *, name: str) -> Classifier:
    """Make a classifier whose only score is the target's value.

    Parameters
    ----------
    classifier : Classifier
    target : Target
    name : str
        Of the category.

    Returns
    -------
    Classifier
        Of the same network, whose layers' names begin with ``network.`` in it.

    Raises
    ------
    ModelError
        If there is no such layer.
    """
    for layer in target.layers:
        find_layer(classifier.module, layer)
    return replace(
        classifier,
        module=_TargetNetwork(classifier.module, target),
        categories=Categories((name,)),
        name=f"{name} of {classifier.name}",
    )


class _TargetNetwork(nn.Module):
    """Returns the target's values (N, 1) of a batch."""

    def __init__(self, network: nn.Module, target: Target) -> None:
        super().__init__()
        self.network = network
        self._target = target

    def forward(self, inputs: Tensor) -> Tensor:
        with ExitStack() as stack:
            recorded = {
                name: stack.enter_context(recording_layer(self.network, name))
                for name in self._target.layers
            }
            output = self.network(inputs)
        layers = {name: layer.output for name, layer in recorded.items()}
        return self._target.values(output, layers)[:, None]
