"""Class groups: several classes of a classifier as one of the user's own.

A file of groups is YAML, one group per key with a list of classes, or CSV with two columns, the
group and its classes separated by spaces or in several rows, with or without a header::

    dog: [n02085620, n02085782, Maltese]      dog,n02085620 n02085782
    cat: [281, 282]                           cat,n02123045

A class is named by its id (WNID), name, first synonym or number. Classifiers of the 1000 ImageNet
classes need not know the WNIDs themselves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsl.config.yaml import read_yaml
from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.models.classifier import Classifier, logits_of
from wsl.storage import read_text

Groups = Mapping[str, Sequence[str | int]]
"""From the name of each group to its classes."""


def read_groups(path: Path | str) -> dict[str, list[str | int]]:
    """Read a file of groups.

    Parameters
    ----------
    path : Path or str
        ``.csv``, else YAML; see the module for both forms.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "groups.yaml")
    ...     _ = path.write_text("dog: [n02085620, Maltese]")
    ...     read_groups(path)
    {'dog': ['n02085620', 'Maltese']}
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    content: dict[str, Any] = read_yaml(path)
    for name, classes in content.items():
        if not isinstance(classes, list) or not all(isinstance(key, str | int) for key in classes):
            raise ConfigError(
                f"{path}: group {name!r} must be a list of classes, but is {classes!r}"
            )
    return {str(name): list(classes) for name, classes in content.items()}


def _read_csv(path: Path) -> dict[str, list[str | int]]:
    try:
        lines = io.StringIO(read_text(path), newline="")
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"cannot read the groups {path}: {error}") from error
    groups: dict[str, list[str | int]] = {}
    for number, row in enumerate(rows):
        if len(row) != 2:
            raise ConfigError(f"{path} must have two columns, but row {number + 1} has {len(row)}")
        if number == 0 and not any(character.isdecimal() for character in row[1]):
            continue  # a header: WNIDs and numbers have digits
        groups.setdefault(row[0].strip(), []).extend(row[1].split())
    return groups


def group_classes(classifier: Classifier, groups: Groups) -> Classifier:
    """Make a classifier of groups of another's classes.

    A group's score is the logarithm of the sum of the exponentials of its classes' scores, whose
    gradient weights the classes' gradients by their probabilities within the group. After the
    softmax over the groups, a probability is that of the group given that the image shows one of
    them.

    Parameters
    ----------
    classifier : Classifier
    groups : mapping of str to sequence of (str or int)
        Classes by id, name, first synonym or number.

    Returns
    -------
    Classifier
        Its categories are the groups, in their order; layers are named as before, behind
        ``network.``.

    Raises
    ------
    ConfigError
        If there is no group, a group is empty, a class is unknown, or a class is in two groups.

    Examples
    --------
    >>> from wsl import load_classifier
    >>> groups = {"animal": ["fish", "starfish", "butterfly"], "plant": ["tree", "mushroom"]}
    >>> group_classes(load_classifier("demo"), groups).categories.names
    ('animal', 'plant')
    """
    if not groups:
        raise ConfigError("there must be at least one group of classes, but got none")
    known = with_wnids(classifier.categories)
    members: list[list[int]] = []
    taken: dict[int, str] = {}
    for name, keys in groups.items():
        if not keys:
            raise ConfigError(f"group {name!r} must have at least one class, but has none")
        found = [_index(known, key, name) for key in keys]
        for label in found:
            if label in taken:
                raise ConfigError(
                    f"class {known.names[label]!r} must be in one group, but is in "
                    f"{taken[label]!r} and {name!r}"
                )
            taken[label] = name
        members.append(found)
    return replace(
        classifier,
        module=_GroupedNetwork(classifier.module, members),
        categories=Categories(
            tuple(groups), members=tuple(_names(known, each) for each in members)
        ),
        name=f"{classifier.name}, {len(groups)} groups of classes",
    )


def with_wnids(categories: Categories) -> Categories:
    """Add the WNIDs to the names of the 1000 ImageNet classes; other categories stay."""
    if categories.ids is not None or len(categories) != 1000:
        return categories
    first, last = categories.names[0].casefold(), categories.names[-1].casefold()
    if not first.startswith("tench") or not last.startswith("toilet tissue"):
        return categories
    listed = resources.files("wsl.models").joinpath("imagenet_wnids.txt").read_text("ascii")
    return categories.with_ids(listed.split())


def _index(categories: Categories, key: str | int, group: str) -> int:
    try:
        return categories.index(key)
    except ConfigError as error:
        raise ConfigError(f"group {group!r}: {error}") from None


def _names(categories: Categories, labels: Sequence[int]) -> tuple[str, ...]:
    """Return what a dataset may call the classes: their ids and names."""
    ids = categories.ids or ()
    return tuple(
        key for label in labels for key in (*([ids[label]] if ids else []), categories.names[label])
    )


class _GroupedNetwork(nn.Module):
    """From class scores (N, C) to group scores (N, G)."""

    def __init__(self, network: nn.Module, members: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self._members = [torch.tensor(each) for each in members]

    def forward(self, inputs: Tensor) -> Tensor:
        scores = logits_of(self.network(inputs))
        groups = [scores[:, each.to(scores.device)].logsumexp(dim=1) for each in self._members]
        return torch.stack(groups, dim=1)
