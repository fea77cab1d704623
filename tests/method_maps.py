"""Maps of chosen classes straight from a method, without views, for the tests of saliency."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wsl.models.classifier import Classifier
from wsl.saliency.base import SaliencyMethod, saliency_maps


@dataclass(frozen=True, eq=False)
class Maps:
    """Scores (N, C), classes (N, K), maps (N, K, h, w)."""

    scores: Tensor
    classes: Tensor
    maps: Tensor


def maps_of(
    method: SaliencyMethod, classifier: Classifier, inputs: Tensor, classes: Tensor | int
) -> Maps:
    """Compute maps of the given classes (N, K), or of the first k."""
    with classifier.inference():
        attributions = method.attributions(classifier, inputs)
        if isinstance(classes, int):
            order = attributions.scores.argsort(dim=1, descending=True, stable=True)
            classes = order[:, :classes]
        size = (inputs.shape[2], inputs.shape[3])
        maps = saliency_maps(method, attributions, classes, size)
    return Maps(attributions.scores, classes, maps)
