"""What all saliency methods share: the base of their options, and what they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from wsl.config.options import Options
from wsl.data.categories import Categories
from wsl.data.geometry import Geometry
from wsl.models.classifier import Classifier
from wsl.progress import NoProgress, Progress
from wsl.saliency.modifiers import Modifier, ModifierName, ReductionName, to_map
from wsl.saliency.views import ViewOptions

SILENT = NoProgress()


@dataclass(frozen=True, eq=False)
class Attributions:
    """Scores of a batch of inputs, with the means to attribute them to the inputs."""

    scores: Tensor
    """Shape (N, C). Unnormalized, without a gradient."""
    of: Callable[[Tensor], Iterator[tuple[int, Tensor]]]
    """Function from classes (N, K) of int64, where -1 is none, to an iterator over the slots
    that hold a class for any input: (slot, attribution), the attribution of shape (N, C, H, W), or
    (N, 1, h, w) on a coarser grid, with its sign. Called once, because it frees the graph."""
    details: list[Any] = field(default_factory=list)
    """Filled by `of` where a method finds more than maps; one item per input."""


class SaliencyMethod(Options):
    """A saliency method: how it is computed, and from which views of an image.

    Each method is a subclass with its own options, in the file that computes it; the union of
    all is `wsl.saliency.methods.SaliencyOptions`.
    """

    summary: ClassVar[str]
    progress_unit: ClassVar[str] = "images"  # what it counts, if it takes long on a single image
    reference: ClassVar[str]

    method: str

    views: ViewOptions = Field(default_factory=ViewOptions)
    """What the classifier sees of an image; the maps of several views are averaged."""

    @abstractmethod
    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Score inputs and prepare to attribute the scores of chosen classes to them.

        Parameters
        ----------
        classifier : Classifier
            Held ready by `Classifier.inference` until the attributions are made.
        inputs : Tensor, shape (N, C, H, W)
            On the classifier's device, without a gradient; not changed.
        progress : Progress
            For methods of many forward passes.
        """

    def to_map(
        self,
        attribution: Tensor,
        *,
        modifier: ModifierName | Modifier | None = None,
        reduction: ReductionName | None = None,
    ) -> Tensor:
        """Turn an attribution into a map, by the method's own modifier and reduction by default.

        Methods without these options keep what is positive.
        """
        own: ModifierName = getattr(self, "modifier", "positive")
        over_channels: ReductionName = getattr(self, "reduction", "max")
        return to_map(attribution, modifier=modifier or own, reduction=reduction or over_channels)

    def describe(
        self, detail: Any, slot: int, geometry: Geometry, categories: Categories
    ) -> tuple[str, dict[str, NDArray[np.float32]]]:
        """Say what else was found for a class of one view: a note, and arrays by name."""
        return "", {}


def scores_only(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Compute scores (N, C) without a graph."""
    with torch.no_grad():
        return classifier.scores(inputs)


def saliency_maps(
    method: SaliencyMethod, attributions: Attributions, classes: Tensor, size: tuple[int, int]
) -> Tensor:
    """Turn the attributions of chosen classes into maps.

    Parameters
    ----------
    method : SaliencyMethod
    attributions : Attributions
        Attributions by that method.
    classes : Tensor of int64, shape (N, K)
        -1 for none.
    size : (int, int)
        Height and width of the inputs.

    Returns
    -------
    Tensor of float32, shape (N, K, height, width)
        >= 0; coarser attributions are interpolated. 0 in a slot without a class.
    """
    maps = torch.zeros((*classes.shape, *size), device=attributions.scores.device)
    for slot, attribution in attributions.of(classes):
        map_ = resized(method.to_map(attribution).clamp_min(0), size)
        # Some modifiers make something of the 0 of an input without a class in the slot.
        maps[:, slot] = map_.masked_fill((classes[:, slot] < 0)[:, None, None], 0)
    return maps


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate maps (..., h, w) bilinearly to a size; as they are where they have it."""
    if maps.shape[-2:] == size:
        return maps
    planes = maps.reshape(1, -1, *maps.shape[-2:])
    larger = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    return larger.reshape(*maps.shape[:-2], *size)
