"""Which settings to try next: every combination, or one key after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsl.tune.space import Choices, SearchSpace

Evaluate = Callable[[Sequence[Choices]], Sequence[float]]
"""From choices to their estimates, the larger the better; what was tried before costs nothing."""

AS_CONFIGURED: Choices = {}


def grid_search(space: SearchSpace, evaluate: Evaluate) -> Choices:
    """Try the configuration as it is given, and every combination of the values.

    Returns
    -------
    Choices
        The best; of equals the first, the given configuration being before all combinations.
    """
    tried = [AS_CONFIGURED, *space.combinations()]
    return tried[_first_best(evaluate(tried))]


def coordinate_descent(space: SearchSpace, evaluate: Evaluate, *, passes: int) -> Choices:
    """Improve one key after the other, beginning with the configuration as it is given.

    For each key of the space in its order, all its values are tried with the best of the other
    keys so far. A value is taken if it is better than what there was, so that of equals the
    earlier stays. It ends when a pass over all keys changes nothing, or after `passes`.

    Returns
    -------
    Choices
        The best, with the keys that were changed.
    """
    best: dict[str, Any] = dict(AS_CONFIGURED)
    for _ in range(passes):
        before = dict(best)
        for key, values in space.values.items():
            tried = [best, *({**best, key: value} for value in values)]
            best = dict(tried[_first_best(evaluate(tried))])
        if best == before:
            break
    return best


def _first_best(estimates: Sequence[float]) -> int:
    return max(range(len(estimates)), key=lambda index: (estimates[index], -index))
