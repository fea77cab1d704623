"""A classifier whose scores are the values of targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.models.classifier import Classifier
from wsl.saliency.layers import find_layer, recording
from wsl.saliency.targets import Target


@dataclass(frozen=True, eq=False, repr=False)
class TargetClassifier(Classifier):
    """A classifier whose scores are the values of targets, so that any method can explain them."""

    targets: tuple[Target, ...] = ()
    """Each for all inputs; the scores are (N, K)."""
    outputs: Callable[[Tensor], Any] = lambda inputs: inputs
    """Runs the module; what it returns is given to the targets."""

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        targets: Sequence[Target],
        *,
        names: Sequence[str] = (),
        posterior: bool = False,
    ) -> TargetClassifier:
        """Explain targets of a classifier.

        Parameters
        ----------
        classifier : Classifier
        targets : sequence of Target
        names : sequence of str
            Names of the categories; numbered by default.
        posterior : bool
            Hand the targets the logarithms of the classes' probabilities in place of the scores.

        Raises
        ------
        ModelError
            If there is no such layer.
        """
        for name in (name for target in targets for name in target.layers):
            find_layer(classifier.module, name)

        def outputs(inputs: Tensor) -> Tensor:
            scores = classifier.scores(inputs)
            return scores.log_softmax(dim=1) if posterior else scores

        inherited = {
            each.name: getattr(classifier, each.name) for each in fields(Classifier) if each.init
        }
        categories = Categories(tuple(names)) if names else Categories.numbered(len(targets))
        return cls(
            **{**inherited, "categories": categories}, targets=tuple(targets), outputs=outputs
        )

    def scores(self, inputs: Tensor) -> Tensor:
        """Compute the targets' values, (N, K); differentiable."""
        names = [name for target in self.targets for name in target.layers]
        with recording(self.module, names) as recorded:
            output = self.outputs(inputs)
        values = [target.values(output, recorded) for target in self.targets]
        return torch.stack([_checked(each, len(inputs)) for each in values], dim=1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Refuse: only classes have probabilities."""
        raise ConfigError("probabilities must be those of classes, but a target is no class")


def _checked(values: Any, count: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (count,):
        found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"a target must give one number per input, shape ({count},), but gave {found}; "
            'losses need reduction="none"'
        )
    return values.to(torch.promote_types(values.dtype, torch.float32))
