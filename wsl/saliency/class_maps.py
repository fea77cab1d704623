"""Scores, chosen classes and their saliency maps from the views of images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsl.data.geometry import Geometry, average_maps
from wsl.models.average import AnyClassifier, ClassifierAverage, members_of, naming
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod, saliency_maps, scores_only
from wsl.saliency.views import ViewOptions, Views

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
