"""The WNIDs of ImageNet's classes and the categories of a classifier."""

from __future__ import annotations

from pathlib import Path

from wsl.data.categories import Categories
from wsl.errors import DataError

# Torchvision's names differ from the challenge's synonyms for 2 classes of 1000.
_NAMES_THAT_AGREE = 0.9


def match_categories(categories: Categories, mapping: Path) -> Categories:
    """Find the WNIDs of a classifier's classes.

    Parameters
    ----------
    categories : Categories
        The classifier's. If they have ids, these are the WNIDs, and the mapping's must be among
        them. If not, the mapping must have one line per class, in the classifier's order.
    mapping : Path
        ``LOC_synset_mapping.txt``; it may be absent if `categories` have ids.

    Returns
    -------
    Categories
        With ids, and the names of `categories`.

    Raises
    ------
    DataError
        If a WNID is not the classifier's, the numbers of classes differ, or fewer than 90 % of the
        classes share a name or synonym (upper and lower case are one).
    """
    if categories.members is not None:  # groups of classes: they know their own members' WNIDs
        return categories
    known = Categories.from_file(mapping) if mapping.is_file() else None
    if known is not None and known.ids is None:
        raise DataError(f"{mapping} must hold a WNID and names on every line")
    if categories.ids is not None:
        unknown = sorted(set(known.ids or ()) - set(categories.ids)) if known else []
        if unknown:
            raise DataError(
                f"{mapping} must name classes of the classifier only, but {unknown[0]} is none of "
                f"them ({len(unknown)} of {len(known or ())} are not)"
            )
        return categories
    if known is None:
        raise DataError(
            "the classifier's categories have no WNIDs, and there is no "
            f"{mapping} to tell them; give a file of WNIDs and names as model.categories"
        )
    if len(known) != len(categories):
        raise DataError(
            f"{mapping} must have one line for each of the classifier's {len(categories)} classes, "
            f"but has {len(known)}"
        )
    _check_names(categories, known, mapping)
    return categories.with_ids(known.ids or ())


def _check_names(categories: Categories, known: Categories, mapping: Path) -> None:
    """Refuse a mapping in another order than the classifier's scores."""
    if categories == Categories.numbered(len(categories)):
        return  # a classifier without names
    differ = [
        (index, own, theirs)
        for index, (own, theirs) in enumerate(zip(categories.names, known.names, strict=True))
        if not _synonyms(own) & _synonyms(theirs)
    ]
    agree = 1 - len(differ) / len(known)
    if agree < _NAMES_THAT_AGREE:
        index, own, theirs = differ[0]
        raise DataError(
            f"{mapping} must list the classifier's classes in their order, but only {agree:.0%} of "
            f"the names agree: class {index} is {own!r} there and {theirs!r} here"
        )


def _synonyms(names: str) -> set[str]:
    return {name.strip().casefold() for name in names.split(",")}
