"""Averages over classifiers: several networks that tell the same classes apart, used as one.

Each member sees an image in its own preprocessing. A class's probability is the mean of those that
the members give it. The members' maps are averaged where they are laid on the image
(`wsl.saliency.class_maps.ClassMaps.on_image`).

The classes are those of the first member, in its order. Every other member must know each of them,
by its id where both have ids (the 1000 ImageNet classes have, by their WNIDs), else by its name or
first synonym; what it knows beside them is left out before its softmax. A class that a member does
not know is an error: groups of classes bring members of different classes together.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from wsl.data.categories import Categories
from wsl.errors import ModelError, WslError
from wsl.models.classifier import Classifier
from wsl.models.groups import Groups, group_classes, with_wnids
from wsl.models.options import ModelOptions
from wsl.models.sources import load_classifier

_SHOWN = 3


@dataclass(frozen=True, eq=False, repr=False)
class ClassifierAverage:
    """Two or more classifiers whose probabilities and maps are averaged, with equal weights.

    Raises
    ------
    ModelError
        If there are fewer than two, or one does not know a class of the first.

    Examples
    --------
    >>> from wsl import Localizer, load_classifier
    >>> demo = load_classifier("demo", device="cpu")
    >>> Localizer([demo, demo], recipe="fast").classifier  # such as a network of each kind
    <ClassifierAverage demo + demo: 10 classes>
    """

    members: tuple[Classifier, ...]
    """Each with its own preprocessing, and on its own device."""

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise ModelError(
                f"an average must have two or more classifiers, but got {len(self.members)}"
            )
        _ = self._labels  # refuses classes that a member does not know

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.categories)} classes>"

    @property
    def name(self) -> str:
        """The members' names."""
        return " + ".join(member.name for member in self.members)

    @property
    def categories(self) -> Categories:
        """Those of the first member."""
        return self.members[0].categories

    @property
    def device(self) -> torch.device:
        """That of the first member."""
        return self.members[0].device

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the members' fingerprints, in their order."""
        together = "\n".join(member.fingerprint for member in self.members)
        return hashlib.sha256(together.encode()).hexdigest()

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Hold all modules ready for scores and input gradients; see `Classifier.inference`."""
        with ExitStack() as held:
            for member in self.members:
                held.enter_context(member.inference())
            yield

    def average(self, scores: Sequence[Tensor]) -> Tensor:
        """Average the members' probabilities.

        Parameters
        ----------
        scores : sequence of Tensor, shape (N, C of the member)
            Unnormalized, one for each member.

        Returns
        -------
        Tensor, shape (N, C)
            Logarithms of the mean probabilities: scores whose softmax gives these.
        """
        logarithms = [
            own[:, list(labels)].log_softmax(dim=1)
            for own, labels in zip(scores, self._labels, strict=True)
        ]
        return torch.stack(logarithms).logsumexp(dim=0) - math.log(len(logarithms))

    def own_labels(self, member: int, labels: Sequence[int]) -> list[int]:
        """Return a member's own labels of some of the categories."""
        return [self._labels[member][label] for label in labels]

    @cached_property
    def _labels(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_labels(self.members[0], member) for member in self.members)


AnyClassifier = Classifier | ClassifierAverage


def members_of(classifier: AnyClassifier) -> tuple[Classifier, ...]:
    """Return an average's members; of a single classifier that alone."""
    return classifier.members if isinstance(classifier, ClassifierAverage) else (classifier,)


def change_members(
    classifier: AnyClassifier, change: Callable[[Classifier], Classifier]
) -> AnyClassifier:
    """Change a classifier, or each member of an average."""
    if isinstance(classifier, ClassifierAverage):
        return ClassifierAverage(tuple(map(change, classifier.members)))
    return change(classifier)


def group_members(classifier: AnyClassifier, groups: Groups) -> AnyClassifier:
    """Make a classifier of groups of classes; of an average, of each member's own classes."""

    def group(member: Classifier) -> Classifier:
        with naming(classifier, member):
            return group_classes(member, groups)

    return change_members(classifier, group)


def load_members(models: Sequence[ModelOptions], *, device: str = "auto") -> ClassifierAverage:
    """Load the members of an average.

    Parameters
    ----------
    models : sequence of ModelOptions
    device : str
        Of the members whose own device is ``auto``.

    Raises
    ------
    ModelError, CheckpointError
        As `load_classifier`, and as `ClassifierAverage`.
    """
    members = []
    for number, model in enumerate(models):
        own = device if model.device == "auto" else model.device
        try:
            members.append(load_classifier(model.model_copy(update={"device": own})))
        except WslError as error:
            raise type(error)(f"models.{number}: {error}") from error
    return ClassifierAverage(tuple(members))


@contextmanager
def naming(classifier: AnyClassifier, member: Classifier) -> Iterator[None]:
    """Name the member of an average in wsl's own errors."""
    try:
        yield
    except WslError as error:
        if member is classifier or member.name in str(error):
            raise
        raise type(error)(f"{member.name}: {error}") from error


def _labels(first: Classifier, member: Classifier) -> tuple[int, ...]:
    """Find the classes of the first member among another's: its own labels."""
    wanted, known = with_wnids(first.categories), with_wnids(member.categories)
    same_names = wanted.names == known.names and None in (wanted.ids, known.ids)
    if same_names or (wanted.ids is not None and wanted.ids == known.ids):
        return tuple(range(len(wanted)))
    found = [_find(wanted, known, label) for label in range(len(wanted))]
    times = Counter(found)
    missing = [label for label, own in enumerate(found) if own is None or times[own] > 1]
    if missing:
        names = ", ".join(repr(wanted.names[label]) for label in missing[:_SHOWN])
        more = ", …" if len(missing) > _SHOWN else ""
        raise ModelError(
            f"{member.name} must know every class of {first.name}, but not {len(missing):,} of "
            f"{len(wanted):,}: {names}{more}. Name first the classifier that knows fewer classes, "
            "or give groups of classes that both know"
        )
    return tuple(own for own in found if own is not None)


def _find(wanted: Categories, known: Categories, label: int) -> int | None:
    if wanted.ids is not None and known.ids is not None:
        return known.by_id.get(wanted.ids[label])
    name = wanted.names[label]
    keys = [*([wanted.ids[label]] if wanted.ids else []), name, name.split(",")[0].strip()]
    return next((own for key in keys if (own := known.find(key)) is not None), None)
