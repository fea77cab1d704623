"""Ask a classifier where it looks in an image, by any method, for classes, channels or neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from wsl.config import Options
from wsl.data.geometry import Geometry, average_maps
from wsl.errors import ConfigError
from wsl.models.classifier import Classifier
from wsl.saliency.base import choose, mean_over_views, per_image, these, top_k
from wsl.saliency.methods import build_method
from wsl.saliency.occlusion import Occlusion, occlude
from wsl.saliency.options import SaliencyOptions
from wsl.saliency.target_network import as_classifier
from wsl.saliency.targets import Filter, Neuron, Target
from wsl.saliency.views import class_scores, make_views

__all__ = ["Explanation", "Report", "TargetOptions", "explain", "explain_target"]

Report = Callable[[int, int], None]
"""Called with the number of finished and of all masked images of an occlusion experiment."""


class TargetOptions(Options):
    """What is explained in place of classes: a channel of a layer, or one neuron."""

    layer: str | None = None
    """The layer's name in the network, such as ``features.3``."""

    channel: NonNegativeInt = 0
    """Of the layer."""

    position: tuple[NonNegativeInt, ...] | None = None
    """One neuron of the channel, (row, column); null: the channel's mean over the positions."""

    def build(self) -> Target | None:
        """Make the target; None where classes are explained."""
        if self.layer is None:
            if self != TargetOptions():
                raise ConfigError("target.layer must be given with target.channel and position")
            return None
        if self.position is None:
            return Filter(self.layer, self.channel)
        return Neuron(self.layer, self.channel, self.position)

    @property
    def name(self) -> str:
        """For titles."""
        at = "" if self.position is None else f" at {self.position}"
        return f"{self.layer} channel {self.channel}{at}"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a classifier looks in an image for one class or target.

    Attributes
    ----------
    label : int
        Class; 0 for another target.
    title : str
        The class, its score and probability; or the target and its value.
    saliency : ndarray of float32, shape (H, W)
        In the image's pixels, >= 0.
    note : str
        What else was found; empty for most methods.
    arrays : dict of str to ndarray of float32
        What is behind the map, where there is more: of occlusion ``scores``, under each mask.
    """

    label: int
    title: str
    saliency: NDArray[np.float32]
    note: str = ""
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def explain(
    classifier: Classifier,
    image: NDArray[np.uint8],
    saliency: SaliencyOptions,
    *,
    classes: Sequence[int | str] | None = None,
    first: int = 1,
    progress: Report | None = None,
) -> list[Explanation]:
    """Compute the maps of some classes of an image.

    Parameters
    ----------
    classifier : Classifier
    image : ndarray of uint8, shape (H, W, 3)
    saliency : SaliencyOptions
        The method with its options, and the views.
    classes : sequence of int or str, optional
        Ids, names or numbers; by default the classifier's `first`.
    first : int
    progress : callable, optional
        Of occlusion with one view.

    Returns
    -------
    list of Explanation
    """
    views = make_views(image, classifier.preprocessing, saliency.views)
    count = len(views.geometries)
    select = top_k(first)
    if classes is not None:
        select = these(torch.tensor([[classifier.categories.index(name) for name in classes]]))
    scores: torch.Tensor | None = None
    if saliency.method == "occlusion" and count == 1:
        scores = class_scores(classifier, [views])
        labels = choose(select, scores)[0].tolist()
        options = saliency.occlusion.model_dump()
        occlusion = occlude(classifier, views.inputs[0], labels, **options, progress=progress)
        return _occluded(classifier, occlusion, scores[0].cpu(), labels, views.geometries[0])
    method = build_method(saliency)
    if len(views.groups) > 1 or views.for_classes is not None:
        scores = class_scores(classifier, [views])
        select = these(choose(select, scores))
    found = [method(classifier, group, per_image(select, len(group))) for group in views.groups]
    if scores is None:
        scores = mean_over_views(found[0].scores, count)
    maps = [view for group in found for view in group.maps.cpu().numpy()]
    return [
        Explanation(
            label=label,
            title=_title(classifier, scores[0].cpu(), label),
            saliency=average_maps([view[slot] for view in maps], views.geometries),
        )
        for slot, label in enumerate(found[0].classes[0].tolist())
    ]


def explain_target(
    classifier: Classifier,
    image: NDArray[np.uint8],
    saliency: SaliencyOptions,
    target: TargetOptions,
    *,
    progress: Report | None = None,
) -> list[Explanation]:
    """Compute the map of a channel or neuron; like `explain`.

    Raises
    ------
    ConfigError
        If the method explains classes only.
    """
    built = target.build()
    if built is None:
        raise ConfigError("target.layer must name a layer, but is not given")
    if saliency.method == "cam":
        raise ConfigError("method cam explains classes only; grad_cam explains any target")
    if saliency.occlusion.score == "probability":
        raise ConfigError("saliency.occlusion.score must be unnormalized for a channel or neuron")
    asked, saliency = as_classifier(classifier, built, name=target.name), _inside(saliency)
    return explain(asked, image, saliency, classes=[0], progress=progress)


def _inside(saliency: SaliencyOptions) -> SaliencyOptions:
    """Name the layers of activation maps as they are called inside of the target's network."""
    changed: dict[str, Options] = {}
    if saliency.cam.layer is not None:
        layer = f"network.{saliency.cam.layer}"
        changed["cam"] = saliency.cam.model_copy(update={"layer": layer})
    if saliency.layercam_fusion.layers:
        layers = tuple(f"network.{layer}" for layer in saliency.layercam_fusion.layers)
        changed["layercam_fusion"] = saliency.layercam_fusion.model_copy(update={"layers": layers})
    return saliency.model_copy(update=changed)


def _occluded(
    classifier: Classifier,
    found: Occlusion,
    scores: torch.Tensor,
    labels: Sequence[int],
    geometry: Geometry,
) -> list[Explanation]:
    maps = found.grid.interpolate(found.drops.clamp(min=0)).numpy()
    explanations = []
    for slot, label in enumerate(labels):
        lowest = found.lowest(slot)
        y, x = lowest.center
        x0, y0, x1, y1 = geometry.box_to_image((x, y, x + 1, y + 1))
        note = f"lowest, {lowest.value:.3g}, under the mask at x {(x0 + x1) / 2:.0f}, "
        note += f"y {(y0 + y1) / 2:.0f}"
        if lowest.winner is not None and len(classifier.categories) > 1:
            winner = classifier.categories.names[lowest.winner].split(",")[0]
            note += f", and taken for {winner}" if lowest.winner != label else ", and still first"
        explanations.append(
            Explanation(
                label=label,
                title=_title(classifier, scores, label),
                saliency=geometry.to_image(maps[slot]),
                note=note,
                arrays={"scores": found.values[slot].numpy()},
            )
        )
    return explanations


def _title(classifier: Classifier, scores: torch.Tensor, label: int) -> str:
    name = classifier.categories.names[label]
    if len(scores) == 1:
        return f"{name}: {float(scores[0]):.3g}"
    probability = float(scores.double().softmax(dim=0)[label])
    return f"{name}: score {float(scores[label]):.2f}, probability {probability:.3f}"
