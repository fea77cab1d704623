"""From an attribution with a sign and channels to a map: modifiers, then reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from wsl.errors import choices_hint

ModifierName = Literal["absolute", "positive", "negate", "invert", "small_values"]
ReductionName = Literal["max", "mean", "l2", "none"]
Modifier = Callable[[Tensor], Tensor]
"""Element by element, (N, C, h, w) to (N, C, h, w)."""

_EPSILON = 1e-7


def _invert(gradients: Tensor) -> Tensor:
    shifted = gradients + _EPSILON
    # The one value whose inverse is not finite counts as 0 does.
    return 1 / shifted.masked_fill(shifted == 0, _EPSILON)


MODIFIERS: dict[str, Modifier] = {
    "absolute": lambda gradients: gradients.abs(),
    "positive": lambda gradients: gradients.clamp_min(0),
    "negate": lambda gradients: -gradients,
    "invert": _invert,
    "small_values": lambda gradients: _invert(gradients).abs(),
}

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda values: values.amax(dim=-3),
    "mean": lambda values: values.mean(dim=-3),
    "l2": lambda values: values.square().sum(dim=-3).sqrt(),
    "none": lambda values: values,
}


def to_map(
    gradients: Tensor,
    *,
    modifier: ModifierName | Modifier = "absolute",
    reduction: ReductionName = "max",
) -> Tensor:
    r"""Modify an attribution element by element, then reduce its channels.

    Parameters
    ----------
    gradients : Tensor, shape (N, C, h, w)
        Not changed.
    modifier : str or callable
        ``absolute``: \|g\|, what matters, whichever way (Simonyan et al. 2013). ``positive``:
        max(g, 0), where more of the channel raises the score. ``negate``: -g, so that what lowers
        the score has the positive sign. ``invert``: 1 / (g + 1e-7), with the sign of g.
        ``small_values``: \|1 / (g + 1e-7)\|, where the score hardly depends on the channel. The
        last three are keras-vis's gradient modifiers of these names, and ``positive`` is its relu.
    reduction : {'max', 'mean', 'l2', 'none'}
        Over the channels; ``l2`` is the root of the sum of squares, ``none`` keeps them.

    Returns
    -------
    Tensor, shape (N, h, w), or (N, C, h, w) with ``none``
        ``negate``, ``invert`` and callables can give values below 0.

    Raises
    ------
    ValueError
        If a name is unknown, or a callable returns another shape.
    """
    modified = modifier_of(modifier)(gradients)
    if modified.shape != gradients.shape:
        raise ValueError(
            f"a modifier must keep the shape {tuple(gradients.shape)}, "
            f"but returned {tuple(modified.shape)}"
        )
    return reduction_of(reduction)(modified)


def modifier_of(modifier: str | Modifier) -> Modifier:
    """Look a modifier up by its name; a callable is one already."""
    if callable(modifier):
        return modifier
    if modifier not in MODIFIERS:
        raise ValueError(
            f"there is no modifier {modifier!r}. {choices_hint(str(modifier), MODIFIERS)}"
        )
    return MODIFIERS[modifier]


def reduction_of(reduction: str) -> Callable[[Tensor], Tensor]:
    """Look a reduction up by its name."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"there is no reduction {reduction!r}. {choices_hint(str(reduction), REDUCTIONS)}"
        )
    return REDUCTIONS[reduction]
