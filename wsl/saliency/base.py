"""The vocabulary of all saliency methods: how classes are chosen and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wsl.models.classifier import Classifier

__all__ = [
    "SaliencyMaps",
    "SaliencyMethod",
    "Select",
    "choose",
    "mean_over_views",
    "per_image",
    "these",
    "top_k",
    "top_k_and",
]

Select = Callable[[Tensor], Tensor]
"""From scores (N, C) to classes (N, K) of int64; -1 stands for no class in that slot."""


@dataclass(frozen=True, eq=False)
class SaliencyMaps:
    """What a saliency method found for a batch of inputs.

    Attributes
    ----------
    scores : Tensor of float32, shape (N, C)
        Unnormalized, without a gradient.
    classes : Tensor of int64, shape (N, K)
        The class of each map; -1 where a slot has none.
    maps : Tensor of float32, shape (N, K, h, w)
        >= 0, in pixels of the input; 0 in a slot without a class.
    """

    scores: Tensor
    classes: Tensor
    maps: Tensor


class SaliencyMethod(Protocol):
    """A way to ask a classifier where it looks; options are bound beforehand."""

    def __call__(self, classifier: Classifier, inputs: Tensor, select: Select) -> SaliencyMaps:
        """Compute the maps of the selected classes of inputs (N, 3, h, w).

        `select` sees the scores of the whole batch, once. The classifier and the caller's tensors
        are left as they were, also after an exception.
        """


def choose(select: Select, scores: Tensor) -> Tensor:
    """Let a selector choose and check what it chose.

    Parameters
    ----------
    select : Select
    scores : Tensor, shape (N, C)

    Returns
    -------
    Tensor of int64, shape (N, K), on the scores' device

    Raises
    ------
    ValueError
        If the selector's answer has another shape or type, or names a class that there is not.
    """
    detached = scores.detach()
    classes = select(detached).to(detached.device)
    if classes.ndim != 2 or len(classes) != len(detached) or classes.dtype != torch.int64:
        raise ValueError(
            f"select must return int64 classes of shape ({len(detached)}, K), "
            f"but returned {classes.dtype} of shape {tuple(classes.shape)}"
        )
    if classes.numel() and not (-1 <= int(classes.min()) <= int(classes.max()) < scores.shape[1]):
        raise ValueError(
            f"classes must be in 0 to {scores.shape[1] - 1}, or -1 for none, "
            f"but got {int(classes.min())} to {int(classes.max())}"
        )
    return classes


def top_k(k: int) -> Select:
    """Select the k classes of highest score, the highest first; all classes if there are fewer.

    Of equal scores the class of lower index comes first.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, but got {k}")

    def select(scores: Tensor) -> Tensor:
        # Not topk, which leaves the order of ties open.
        return scores.argsort(dim=1, descending=True, stable=True)[:, :k]

    return select


def these(classes: Tensor) -> Select:
    """Select the given classes.

    Parameters
    ----------
    classes : Tensor of int64, shape (N, K)
        One row per image of the batch; -1 leaves a slot empty.
    """

    def select(scores: Tensor) -> Tensor:
        if len(classes) != len(scores):
            raise ValueError(
                f"there must be classes for {len(scores)} images, but got {len(classes)}"
            )
        return classes.to(scores.device)

    return select


def top_k_and(labels: Tensor, k: int) -> Select:
    """Select the k classes of highest score and then one given class per image.

    Parameters
    ----------
    labels : Tensor of int64, shape (N,)
        -1 where an image has none.
    k : int

    Returns
    -------
    Select
        Of k + 1 slots. The last one is empty (-1) where the given class is among the others.
    """
    best = top_k(k)

    def select(scores: Tensor) -> Tensor:
        given = these(labels[:, None])(scores)
        top = best(scores)
        already = (top == given).any(dim=1, keepdim=True)
        return torch.cat([top, given.masked_fill(already, -1)], dim=1)

    return select


def mean_over_views(scores: Tensor, views: int) -> Tensor:
    """Average scores (N * V, C) over the V consecutive views of each image: (N, C)."""
    if views < 1 or len(scores) % views:
        raise ValueError(
            f"the batch must hold all views of each image, but {len(scores)} inputs are no "
            f"multiple of {views} views"
        )
    return scores.reshape(len(scores) // views, views, -1).mean(dim=1)


def per_image(select: Select, views: int) -> Select:
    """Select one set of classes per image, from the mean scores of its views.

    Parameters
    ----------
    select : Select
        Sees (N, C) mean scores, one row per image.
    views : int
        V; the batch holds N * V inputs, the views of one image next to each other.

    Returns
    -------
    Select
        From scores (N * V, C) to classes (N * V, K), the same for all views of an image.
    """

    def for_views(scores: Tensor) -> Tensor:
        return select(mean_over_views(scores, views)).repeat_interleave(views, dim=0)

    return for_views
