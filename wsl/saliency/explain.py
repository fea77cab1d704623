"""From images to scores, chosen classes and their saliency maps: the one place for all callers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsl.data.geometry import Geometry, average_maps
from wsl.errors import ConfigError
from wsl.models.average import AnyClassifier, ClassifierAverage, members_of, naming
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod, saliency_maps, scores_only
from wsl.saliency.layers import measured_once
from wsl.saliency.target_classifier import TargetClassifier
from wsl.saliency.targets import TargetOptions
from wsl.saliency.views import ViewOptions, Views, make_views

log = logging.getLogger(__name__)

# Two inputs of the usual size: the largest activation of most networks is 2 to 5 MB an input there,
# and glibc keeps freed blocks of up to 32 MB. Four take a tenth more time, and more memory.
_PART_PIXELS = 2 * 224 * 224


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The chosen classes of an image in the order of their ranks, with their saliency maps."""

    classes: tuple[int, ...]
    ranks: tuple[int, ...]
    """Places in the classifier's order, from 1; of equal scores the smaller index comes first."""
    scores: tuple[float, ...]
    """Unnormalized, averaged over the views; of an average of classifiers the logarithms of the
    probabilities."""
    probabilities: tuple[float, ...]
    """After the softmax of the averaged scores; their mean over the classifiers of an average."""
    input_maps: tuple[NDArray[np.float32], ...]
    """Shape (K, h, w). Saliency of each view, of its own size."""
    details: tuple[Any, ...] = ()
    """What else the method found in each view; empty for most."""
    members: tuple[int, ...] = ()
    """How many of the views each classifier of an average has; none of a single classifier."""

    def on_image(
        self, slot: int, geometries: Sequence[Geometry], size: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Lay the map of a class on the image.

        Parameters
        ----------
        slot : int
            The class's place in `classes`.
        geometries : sequence of V Geometry
        size : (int, int), optional
            By default the image's own.

        Returns
        -------
        ndarray of float32, shape (H, W)
            The mean over the views. Of an average of classifiers, each one's mean less its minimum
            and divided by its maximum, averaged over the classifiers; a flat map counts as 0.
        """
        maps = [view[slot] for view in self.input_maps]
        if not self.members:
            return average_maps(maps, geometries, size=size)
        starts = [0, *accumulate(self.members)]
        own = [
            average_maps(maps[start:end], geometries[start:end], size=size)
            for start, end in pairwise(starts)
        ]
        mean = np.mean([_stretched(map_) for map_ in own], axis=0, dtype=np.float32)
        return np.asarray(mean)


def _stretched(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a map to [0, 1]; a flat one to 0. What is not finite stays so."""
    above = map_ - map_.min()
    top = above.max()
    return above if top == 0 else np.asarray(above / top, dtype=np.float32)


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


def images_at_once(classifier: AnyClassifier, views: Sequence[ViewOptions]) -> int | None:
    """How many images `class_maps` explains at a time; None: all that it is given."""
    inputs = []
    for member, own in zip(members_of(classifier), views, strict=True):
        sides = own.sides(member.preprocessing)
        sizes = [(side, side) for side in sides] or [member.preprocessing.crop_size]
        inputs += [own.count // len(sizes) * height * width for height, width in sizes]
    return _part_size(classifier, max(inputs))


def _part_size(classifier: AnyClassifier, pixels: int) -> int | None:
    """Count them by the pixels of an image's inputs of one size."""
    return max(1, round(_PART_PIXELS / pixels)) if classifier.device.type == "cpu" else None


def class_maps(
    classifier: AnyClassifier,
    method: SaliencyMethod,
    views: Sequence[Views],
    classes: Sequence[Sequence[int]],
    *,
    first: int | Sequence[int],
    progress: Progress = SILENT,
) -> list[ClassMaps]:
    """Score images, choose classes, and compute the maps of these classes.

    One forward pass serves the choice of classes and all their maps, unless the views hold inputs
    of another size for the choice. On the CPU it is that of a few images at a time, whose graphs
    are freed before the next: memory does not grow with the number of images, and activations fit
    into blocks of memory that the process keeps, which halves the time.

    Parameters
    ----------
    classifier : Classifier or ClassifierAverage
        Left as it was, also after an exception. One thread at a time. The graphs of all members of
        an average are held until the classes are chosen.
    method : SaliencyMethod
    views : sequence of Views
        One per image; all cut by the same options (`cut_views`).
    classes : sequence of (sequence of int)
        Classes of each image to explain whatever their rank.
    first : int or sequence of int
        How many of the classes of highest score to explain beside them, for all images or each;
        0 for none.
    progress : Progress
        For methods of many forward passes, of a single image.

    Returns
    -------
    list of ClassMaps
        One per image.
    """
    if not views:
        return []
    firsts = [first] * len(views) if isinstance(first, int) else first
    pixels = max(len(group) * group.shape[-2] * group.shape[-1] for group in views[0].groups)
    size = _part_size(classifier, pixels) or len(views)
    with classifier.inference():
        return [
            found
            for at in range(0, len(views), size)
            for found in _explain_part(
                classifier,
                method,
                views[at : at + size],
                classes[at : at + size],
                firsts[at : at + size],
                progress=progress,
            )
        ]


def _explain_part(
    classifier: AnyClassifier,
    method: SaliencyMethod,
    views: Sequence[Views],
    classes: Sequence[Sequence[int]],
    firsts: Sequence[int],
    *,
    progress: Progress,
) -> Iterator[ClassMaps]:
    """Explain a few images, whose graphs are all held until their classes are chosen.

    Where each has one class, which is given, each graph is freed before the next is made.
    """
    given = not any(firsts) and all(len(labels) == 1 for labels in classes)
    average = classifier if isinstance(classifier, ClassifierAverage) else None
    parts = []
    for number, member in enumerate(members_of(classifier)):
        own = [image.members[number] if image.members else image for image in views]
        known = [average.own_labels(number, each) for each in classes] if average else classes
        with naming(classifier, member):
            parts.append(_Part(member, method, own, known if given else None, progress))
    means = average.average([part.scores for part in parts]) if average else parts[0].scores
    ranked = [
        _ranked(mean, wanted, first)
        for mean, wanted, first in zip(means, classes, firsts, strict=True)
    ]
    chosen = [labels for labels, _ in ranked]
    maps: list[list[NDArray[np.float32]]] = [[] for _ in views]
    details: list[list[Any]] = [[] for _ in views]
    for number, part in enumerate(parts):
        of_member = [average.own_labels(number, each) for each in chosen] if average else chosen
        with naming(classifier, part.classifier):
            for index, (found, more) in enumerate(part.maps(of_member)):
                maps[index] += found
                details[index] += more
    for (labels, ranks), mean, of_image, more in zip(ranked, means, maps, details, strict=True):
        probabilities = mean.softmax(dim=0)
        yield ClassMaps(
            classes=tuple(labels),
            ranks=tuple(ranks),
            scores=tuple(float(mean[label]) for label in labels),
            probabilities=tuple(float(probabilities[label]) for label in labels),
            input_maps=tuple(of_image),
            details=tuple(more),
            members=tuple(len(own.geometries) for own in views[0].members),
        )


class _Part:
    """A few images' scores by one classifier, (N, C), and the graphs that their maps come from.

    Where classes are given, their maps are made at once.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: SaliencyMethod,
        views: Sequence[Views],
        classes: Sequence[Sequence[int]] | None,
        progress: Progress,
    ) -> None:
        self.classifier, self._method = classifier, method
        self._held: deque[tuple[Attributions, tuple[int, int]]] = deque()
        self._made: list[_Made] = [([], []) for _ in views]
        scores = []
        for group in zip(*(image.groups for image in views), strict=True):
            inputs = torch.cat(group)
            attributions = method.attributions(classifier, _moved(inputs, classifier), progress)
            scores.append(attributions.scores)
            self._held.append((attributions, (inputs.shape[-2], inputs.shape[-1])))
            del attributions  # and with it the graph, once its maps are made
            if classes is not None:
                self._make(classes)
        for_classes = [image.for_classes for image in views if image.for_classes is not None]
        if for_classes:
            reused = [each for each, group in zip(scores, views[0].groups, strict=True)
                      if group is for_classes[0]]  # fmt: skip
            scores = reused or [scores_only(classifier, torch.cat(for_classes))]
        self.scores = _means(scores, len(views))

    def maps(self, classes: Sequence[Sequence[int]]) -> list[_Made]:
        """Compute the maps (K, h, w) of each image's views, and what else was found; once."""
        while self._held:
            self._make(classes)
        return self._made

    def _make(self, classes: Sequence[Sequence[int]]) -> None:
        """Compute the maps of inputs of one size, and free their graph."""
        attributions, size = self._held.popleft()
        count = len(attributions.scores) // len(classes)
        rows = _padded(classes).to(self.classifier.device).repeat_interleave(count, dim=0)
        found = saliency_maps(self._method, attributions, rows, size).cpu().numpy()
        for index, labels in enumerate(classes):
            own = slice(index * count, (index + 1) * count)
            self._made[index][0].extend(found[own, : len(labels)])
            self._made[index][1].extend(attributions.details[own])


_Made = tuple[list[NDArray[np.float32]], list[Any]]


def _moved(inputs: Tensor, classifier: Classifier) -> Tensor:
    """Copy inputs to the device, from pinned memory to a GPU, which goes on working meanwhile."""
    if classifier.device.type == "cuda":
        inputs = inputs.pin_memory()
    return inputs.to(classifier.device, non_blocking=True)


def _means(scores: Sequence[Tensor], images: int) -> Tensor:
    """Average groups of scores (N * V, C) over all views of each image: (N, C) of float64."""
    by_image = [each.double().reshape(images, -1, each.shape[1]) for each in scores]
    return torch.cat(by_image, dim=1).mean(dim=1).cpu()


def _ranked(scores: Tensor, wanted: Sequence[int], first: int) -> tuple[list[int], list[int]]:
    """Choose an image's first classes and those wanted; return them and their ranks, by rank."""
    # A stable sort gives every class its own rank, which topk leaves open for equal scores.
    order = scores.argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(1, len(order) + 1)
    chosen = sorted({*order[:first].tolist(), *wanted}, key=lambda label: int(ranks[label]))
    return chosen, [int(ranks[label]) for label in chosen]


def _padded(classes: Sequence[Sequence[int]]) -> Tensor:
    """Make a matrix of the images' classes, -1 for none."""
    width = max(map(len, classes))
    return torch.tensor(
        [[*labels, *[-1] * (width - len(labels))] for labels in classes], dtype=torch.int64
    )


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
