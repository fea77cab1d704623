"""The classes that an export names, and their numbers in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from wsl.data.categories import Categories
from wsl.errors import ConfigError
from wsl.storage import read_text


class ClassList:
    """The classes that an export names, in its order.

    Parameters
    ----------
    categories : Categories
        The classifier's.
    labels : sequence of int
        Indices into the categories.

    Attributes
    ----------
    labels : tuple of int
    names : tuple of str
        Their names; see `class_names`.
    """

    def __init__(self, categories: Categories, labels: Sequence[int]) -> None:
        self.labels = tuple(labels)
        self._categories = categories
        self._names = class_names(categories)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name per class of the list."""
        return tuple(self._names[label] for label in self.labels)

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {label: position for position, label in enumerate(self.labels)}

    @property
    def renumbered(self) -> bool:
        """Whether positions differ from the classifier's indices."""
        return self.labels != tuple(range(len(self._names)))

    def position(self, label: int) -> int:
        """Place of a class in the list, from 0."""
        return self._positions[label]

    def name(self, label: int) -> str:
        """Name of a class, in the list or not."""
        return self._names[label]

    def id(self, label: int) -> str | None:
        """Return the dataset's own identifier of a class, such as a WNID."""
        return None if self._categories.ids is None else self._categories.ids[label]


def class_names(categories: Categories) -> tuple[str, ...]:
    """One name per category, all different, found again by `Categories.find` where possible.

    The first of these that no other category shares: the first synonym, the whole name, the id;
    else the name and the category's number.

    Examples
    --------
    >>> class_names(Categories(("tench, Tinca tinca", "crane", "crane"), ("n1", "n2", "n3")))
    ('tench', 'n2', 'n3')
    """
    names = []
    for index, name in enumerate(categories.names):
        candidates = [name.split(",")[0].strip(), name]
        if categories.ids is not None:
            candidates.append(categories.ids[index])
        unique = (text for text in candidates if text and categories.find(text) == index)
        names.append(next(unique, f"{name} {index}"))
    return tuple(names)


def read_class_list(
    chosen: str | Path | Sequence[str | int], categories: Categories
) -> tuple[int, ...] | None:
    """Labels of the option `class_list`; None where they are those that occur.

    Raises
    ------
    ConfigError
        If a file cannot be read, an entry is not a class, or a class is repeated.
    """
    if chosen == "occurring":
        return None
    if chosen == "all":
        return tuple(range(len(categories)))
    if isinstance(chosen, Path):
        try:
            lines = read_text(chosen).splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the class list {chosen}: {error}") from error
        chosen = [line.strip() for line in lines if line.strip()]
    labels = tuple(categories.index(name) for name in chosen)
    twice = [name for name, label in zip(chosen, labels, strict=True) if labels.count(label) > 1]
    if twice or not labels:
        shown = f"{twice[0]!r} is repeated" if twice else "it is empty"
        raise ConfigError(f"class_list must name each class once, and at least one, but {shown}")
    return labels
