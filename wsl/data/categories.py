"""A classifier's categories, and how the classes of datasets find their place among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wsl.data.parsing import read_text, whole_number
from wsl.errors import ConfigError, DataError, choices_hint


@dataclass(frozen=True)
class Categories:
    """The classes that a classifier tells apart, in the order of its scores."""

    names: tuple[str, ...]
    """Names as people read them, such as ``"tench"`` or ``"tench, Tinca tinca"`` (synonyms follow a
    comma). Names may repeat (ImageNet has two cranes)."""
    ids: tuple[str, ...] | None = None
    """The dataset's own identifiers, such as the WNID ``"n01440764"``; unique."""
    members: tuple[tuple[str, ...], ...] | None = None
    """Ids and names of the classes that each category stands for, where it is a group of classes;
    `find` and `index` know them, too."""

    def __post_init__(self) -> None:
        if self.ids is not None:
            if len(self.ids) != len(self.names):
                raise ValueError(
                    f"there must be one id per name, but got {len(self.ids)} ids "
                    f"and {len(self.names)} names"
                )
            if len(set(self.ids)) != len(self.ids):
                raise ValueError("category ids must be unique")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_file(cls, path: Path | str) -> Categories:
        """Read categories from a text file with one class per line.

        A line is ``n01440764 tench, Tinca tinca`` (as in ``LOC_synset_mapping.txt``: WNID, then
        names) on every line, or a name alone. Blank lines at the end are allowed.

        Raises
        ------
        DataError
            If the file cannot be read, is empty, or a WNID appears twice.
        """
        path = Path(path)
        names = [line.strip() for line in read_text(path).rstrip().splitlines()]
        if not names or not all(names):
            raise DataError(f"{path} must hold one class per line, but has an empty line or none")
        split = [name.split(maxsplit=1) for name in names]
        if all(len(parts) == 2 and _is_wnid(parts[0]) for parts in split):
            ids = tuple(parts[0] for parts in split)
            if len(set(ids)) != len(ids):
                twice = next(wnid for wnid in ids if ids.count(wnid) > 1)
                raise DataError(f"{path} must name each WNID once, but names {twice} twice")
            return cls(tuple(parts[1] for parts in split), ids)
        return cls(tuple(names))

    @classmethod
    def numbered(cls, count: int) -> Categories:
        """Make categories without names: ``class 0``, ``class 1`` and so on."""
        return cls(tuple(f"class {index}" for index in range(count)))

    def with_ids(self, ids: Sequence[str]) -> Categories:
        """Return the same categories with identifiers."""
        return Categories(self.names, tuple(ids))

    @cached_property
    def _index(self) -> dict[str, list[int]]:
        index: dict[str, list[int]] = {}
        for position, name in enumerate(self.names):
            keys = {name, name.split(",")[0].strip()}
            if self.ids is not None:
                keys.add(self.ids[position])
            if self.members is not None:
                keys |= set(self.members[position])
            for key in keys:
                index.setdefault(key.casefold().replace("_", " "), []).append(position)
        return index

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Index of the category of each id; of groups, that of each member's id and name."""
        index = {id_: label for label, id_ in enumerate(self.ids or ())}
        for label, members in enumerate(self.members or ()):
            index |= dict.fromkeys(members, label)
        return index

    def find(self, key: str) -> int | None:
        """Index of the class with this id, name or first synonym; None if there is none.

        Case does not matter and ``_`` stands for a space. A name that two classes share finds
        nothing: use the id.
        """
        found = self._index.get(key.casefold().replace("_", " "), [])
        return found[0] if len(found) == 1 else None

    def match(self, names: Sequence[str], *, source: str) -> tuple[int, ...]:
        """Index of the class of each of a dataset's classes, as `find`; -1 where there is none.

        Raises
        ------
        DataError
            If there is none for any of them.
        """
        labels = tuple(-1 if (label := self.find(name)) is None else label for name in names)
        if not any(label >= 0 for label in labels):
            raise DataError(
                f"the classifier knows none of the {len(names)} classes of {source} "
                f"({_few(names)}); its own {len(self)} are {_few(self.names)}"
            )
        return labels

    def index(self, key: str | int) -> int:
        """Index of the class with this id, name, first synonym or number.

        Raises
        ------
        ConfigError
            If no class is meant by `key`, or more than one.
        """
        if isinstance(key, int) or key.isdecimal():
            number = key if isinstance(key, int) else whole_number(key)
            if number is None or not 0 <= number < len(self):
                raise ConfigError(f"class {str(key)[:40]} must be in 0 to {len(self) - 1}")
            return number
        found = self._index.get(key.casefold().replace("_", " "), [])
        if len(found) > 1:
            raise ConfigError(
                f"class name {key!r} stands for several classes: {', '.join(map(str, found))}; "
                "give the number"
            )
        if not found:
            raise ConfigError(f"there is no class {key!r}. {choices_hint(key, self._index)}")
        return found[0]


def _is_wnid(word: str) -> bool:
    return len(word) == 9 and word[0] == "n" and word[1:].isdecimal()


def _few(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:4]) + (", …" if len(names) > 4 else "")
