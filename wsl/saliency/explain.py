"""Explanations of images: views, then scores, chosen classes and their saliency maps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from wsl.errors import ConfigError
from wsl.models.average import AnyClassifier, ClassifierAverage, members_of
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT, SaliencyMethod
from wsl.saliency.class_maps import class_maps
from wsl.saliency.layers import measured_once
from wsl.saliency.target_classifier import TargetClassifier
from wsl.saliency.targets import TargetOptions
from wsl.saliency.views import ViewOptions, Views, make_views

log = logging.getLogger(__name__)


def cut_views(
    classifier: AnyClassifier, image: NDArray[np.uint8], options: Sequence[ViewOptions]
) -> Views:
    """Cut an image into the inputs of a classifier, or of each classifier of an average.

    Parameters
    ----------
    classifier : Classifier or ClassifierAverage
    image : ndarray of uint8, shape (H, W, 3)
    options : sequence of ViewOptions
        One for each classifier, as `fitting_views` returned it.
    """
    members = [
        make_views(image, member.preprocessing, own)
        for member, own in zip(members_of(classifier), options, strict=True)
    ]
    return Views.of_members(members) if isinstance(classifier, ClassifierAverage) else members[0]


def fitting_views(classifier: Classifier, views: ViewOptions) -> ViewOptions:
    """Resolve input sizes to pixels, without those that the network does not take.

    Transformers and hybrids with a table of positions take one size, that of their weights. What is
    left out is logged.
    """
    own = classifier.preprocessing.crop_size
    asked = views.sides(classifier.preprocessing)
    sides = tuple(side for side in asked if (side, side) == own or _takes(classifier, side))
    if len(sides) < len(asked):
        measured_once(classifier.module, ("told", asked), lambda: _tell(classifier, asked, sides))
    classify_at = views.classify_at if sides else "input_sizes"
    return views.model_copy(update={"input_sizes": sides, "classify_at": classify_at})


def _tell(classifier: Classifier, asked: Sequence[int], sides: Sequence[int]) -> bool:
    own = classifier.preprocessing.crop_size
    log.warning(
        "%s takes no inputs of %s pixels: maps are computed at %s",
        classifier.name,
        " or ".join(str(side) for side in asked if side not in sides),
        " and ".join(map(str, sides)) or f"{own[0]} x {own[1]}",
    )
    return True


def _takes(classifier: Classifier, side: int) -> bool:
    """Tell whether the network takes square inputs of a size, from one forward pass."""

    def measure() -> bool:
        channels = len(classifier.preprocessing.mean)
        try:
            with classifier.inference(), torch.no_grad():
                classifier.run(torch.zeros(1, channels, side, side))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the network's own, of any type
            log.debug("%s at %d pixels: %s", classifier.name, side, error)
            return False
        return True

    return measured_once(classifier.module, ("takes", side), measure)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The saliency of an image for one class or target."""

    label: int
    """Class; 0 for another target."""
    title: str
    """The class, its score and probability; or the target and its value."""
    saliency: NDArray[np.float32]
    """Shape (H, W). In the image's pixels, >= 0."""
    note: str = ""
    """What else was found; empty for most methods."""
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """What is behind the map, where there is more: of occlusion ``scores``, under each mask."""


def explain(
    classifier: AnyClassifier,
    image: NDArray[np.uint8],
    saliency: SaliencyMethod,
    *,
    classes: Sequence[int | str] | None = None,
    first: int = 1,
    progress: Progress = SILENT,
) -> list[Explanation]:
    """Compute the maps of some classes of an image, in its own pixels.

    Parameters
    ----------
    classifier : Classifier or ClassifierAverage
    image : ndarray of uint8, shape (H, W, 3)
    saliency : SaliencyMethod
        The method with its options, and the views.
    classes : sequence of int or str, optional
        Ids, names or numbers; by default the classifier's `first`.
    first : int
    progress : Progress
        For methods of many forward passes.

    Returns
    -------
    list of Explanation
        In the order of the classes' ranks.
    """
    options = [fitting_views(member, saliency.views) for member in members_of(classifier)]
    views = cut_views(classifier, image, options)
    wanted = [classifier.categories.index(name) for name in classes or ()]
    (found,) = class_maps(
        classifier,
        saliency,
        [views],
        [wanted],
        first=first if classes is None else 0,
        progress=progress,
    )
    explanations = []
    for slot, label in enumerate(found.classes):
        more: tuple[str, dict[str, NDArray[np.float32]]] = ("", {})
        if len(found.details) == 1:
            more = saliency.describe(
                found.details[0], slot, views.geometries[0], classifier.categories
            )
        name, score = classifier.categories.names[label], found.scores[slot]
        title = f"{name}: score {score:.2f}, probability {found.probabilities[slot]:.3f}"
        if isinstance(classifier, TargetClassifier):
            title = f"{name}: {score:.3g}"
        on_image = found.on_image(slot, views.geometries)
        explanations.append(Explanation(label, title, on_image, *more))
    return explanations


def explain_target(
    classifier: AnyClassifier,
    image: NDArray[np.uint8],
    saliency: SaliencyMethod,
    target: TargetOptions,
    *,
    progress: Progress = SILENT,
) -> list[Explanation]:
    """Compute the map of a channel or neuron; like `explain`.

    Raises
    ------
    ConfigError
        If no layer is named, or the classifier is an average.
    """
    if isinstance(classifier, ClassifierAverage):
        raise ConfigError(f"a target is of one network, but {classifier.name} is an average")
    built = target.build()
    if built is None:
        raise ConfigError("target.layer must name a layer, but is not given")
    asked = TargetClassifier.of(classifier, [built], names=[target.name])
    return explain(asked, image, saliency, progress=progress)
