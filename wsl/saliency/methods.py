"""From the name of a saliency method to the method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from wsl.saliency.base import SaliencyMethod
from wsl.saliency.gradient import gradient_saliency
from wsl.saliency.options import SaliencyOptions

__all__ = ["build_method"]

_BUILDERS: dict[str, Callable[[SaliencyOptions], SaliencyMethod]] = {
    "gradient": lambda options: partial(gradient_saliency, reduction=options.reduction),
}


def build_method(options: SaliencyOptions) -> SaliencyMethod:
    """Bind a method's options; the views are the caller's part."""
    return _BUILDERS[options.method](options)
