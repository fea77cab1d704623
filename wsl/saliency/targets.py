"""Targets: what an attribution explains, as one number per input.

::

    3                                   the score of class 3, for each input
    [3, 7, 3]                           another class for each input of the batch
    {3: 1.0, 7: -0.5}                   classes with weights
    Loss(function)                      any function of the network's output
    [(1.0, target), (0.1, target)]      a sum of targets with weights
    Regression("decrease", output=0)    what makes a regressor's output smaller
    Filter("features.3", 17)            a channel of a layer, its mean over the positions
    Neuron("features.3", 17, (4, 9))    one of its positions
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Literal, get_args

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from wsl.config.options import Options
from wsl.errors import ConfigError, choices_hint
from wsl.saliency.layers import LayerOutputs
from wsl.saliency.modifiers import ModifierName

Direction = Literal["increase", "decrease", "maintain"]


class TargetOptions(Options):
    """A channel of a layer, or one neuron, to explain in place of classes."""

    layer: str | None = None
    """The layer's name in the network, such as ``features.3``."""

    channel: NonNegativeInt = 0
    """Channel of the layer."""

    position: tuple[NonNegativeInt, ...] | None = None
    """One neuron of the channel, (row, column); null: the channel's mean over the positions."""

    def build(self) -> Target | None:
        """Make the target; None where classes are explained."""
        if self.layer is None:
            if self != TargetOptions():
                raise ConfigError("target.layer must be given with target.channel and position")
            return None
        if self.position is None:
            return Filter(self.layer, self.channel)
        return Neuron(self.layer, self.channel, self.position)

    @property
    def name(self) -> str:
        """Name for titles."""
        at = "" if self.position is None else f" at {self.position}"
        return f"{self.layer} channel {self.channel}{at}"


class Target(ABC):
    """One number per input, computed from the network's output and the outputs of some layers."""

    layers: tuple[str, ...] = ()
    """Names in ``named_modules()`` of the layers whose outputs the target is made of."""
    modifier: ModifierName | None = None
    """What is done to its gradient where the caller names nothing; None: what the method does."""

    @abstractmethod
    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Compute the numbers.

        Parameters
        ----------
        output : Tensor
            What the network returned for N inputs; first axis N.
        layers : LayerOutputs
            The outputs of `layers`, by name.

        Returns
        -------
        Tensor, shape (N,)
        """

    def parts(self, count: int, size: int) -> list[Target]:
        """Cut the target with a batch of `count` inputs into those of parts of at most `size`."""
        return [self] * math.ceil(count / size)


TargetLike = Target | int | Sequence[Any] | Mapping[int, float] | Tensor | Callable[[Any], Tensor]
"""What `as_target` turns into a target."""


@dataclass(frozen=True)
class ClassScore(Target):
    """Unnormalized score of a class."""

    classes: int | tuple[int, ...]
    """One class for all inputs, or one class for each."""

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Compute the scores; see `Target`."""
        scores = _matrix(output, "a class")
        self._check_count(len(scores))
        classes = [self.classes] * len(scores) if isinstance(self.classes, int) else self.classes
        for index in {*classes}:
            _check_index(index, scores.shape[1], "class")
        indices = torch.tensor(classes, device=scores.device, dtype=torch.int64)
        return scores.gather(1, indices[:, None])[:, 0]

    def parts(self, count: int, size: int) -> list[Target]:
        """Cut the target with the batch; see `Target`."""
        if isinstance(self.classes, int):
            return super().parts(count, size)
        self._check_count(count)
        return [ClassScore(self.classes[at : at + size]) for at in range(0, count, size)]

    def _check_count(self, count: int) -> None:
        if not isinstance(self.classes, int) and len(self.classes) != count:
            raise ValueError(
                f"there must be one class for each of {count} inputs, but got {len(self.classes)}"
            )


@dataclass(frozen=True)
class Loss(Target):
    """Any function of the network's output."""

    function: Callable[[Any], Tensor]
    """Function from the output to one number per input, (N,): a loss with
    ``reduction="none"``. Each number must depend on its own input alone."""

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Call the function; see `Target`."""
        return self.function(output)


@dataclass(frozen=True)
class WeightedSum(Target):
    """Sum of targets with weights; of classes, losses, layers, or mixed."""

    terms: tuple[tuple[float, Target], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a weighted sum must have at least one term, but got none")
        object.__setattr__(self, "layers", tuple(n for _, term in self.terms for n in term.layers))

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Add the terms up; see `Target`."""
        parts = [weight * target.values(output, layers) for weight, target in self.terms]
        return reduce(torch.add, parts)

    def parts(self, count: int, size: int) -> list[Target]:
        """Cut each term with the batch; see `Target`."""
        weights = [weight for weight, _ in self.terms]
        terms = zip(*(target.parts(count, size) for _, target in self.terms), strict=True)
        return [WeightedSum(tuple(zip(weights, part, strict=True))) for part in terms]


@dataclass(frozen=True)
class Regression(Target):
    """An output of a regressor, and which change of it is asked for."""

    direction: Direction = "increase"
    """``increase`` and ``decrease``: where a larger pixel value makes the output larger, or smaller
    (the modifier is ``positive``). ``maintain``: where pixels can change and the output stays
    (``small_values``)."""
    output: int = 0
    """Index of the output; 0 of a network with one."""

    _MODIFIERS: ClassVar[dict[str, ModifierName]] = {
        "increase": "positive",
        "decrease": "positive",
        "maintain": "small_values",
    }

    def __post_init__(self) -> None:
        if self.direction not in self._MODIFIERS:
            hint = choices_hint(str(self.direction), get_args(Direction))
            raise ValueError(f"there is no direction {self.direction!r}. {hint}")
        object.__setattr__(self, "modifier", self._MODIFIERS[self.direction])

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Take the output, negated for ``decrease``; see `Target`."""
        outputs = output[:, None] if isinstance(output, Tensor) and output.ndim == 1 else output
        outputs = _matrix(outputs, "a regression output")
        _check_index(self.output, outputs.shape[1], "output")
        value = outputs[:, self.output]
        return -value if self.direction == "decrease" else value


@dataclass(frozen=True)
class Filter(Target):
    """A channel of a layer: its mean over the positions."""

    layer: str
    """Name as in ``named_modules()``. The output is (N, C, h, w), (N, C), or tokens (N, T, C)."""
    channel: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", (self.layer,))

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Average the channel; see `Target`."""
        channel = _channel(layers[self.layer], self.channel, self.layer)
        return channel.reshape(len(channel), -1).mean(dim=1)


@dataclass(frozen=True)
class Neuron(Target):
    """One neuron of a layer: a channel at a position."""

    layer: str
    """Name as in ``named_modules()``."""
    channel: int
    position: tuple[int, ...] = ()
    """(row, column) in a layer (N, C, h, w); (token,) in (N, T, C); () in (N, C)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", (self.layer,))

    def values(self, output: Any, layers: LayerOutputs) -> Tensor:
        """Take the neuron's output; see `Target`."""
        channel = _channel(layers[self.layer], self.channel, self.layer)
        size = tuple(channel.shape[1:])
        if len(size) != len(self.position) or any(
            not 0 <= at < side for at, side in zip(self.position, size, strict=True)
        ):
            raise ValueError(
                f"the position in layer {self.layer} must be inside of {size}, "
                f"but got {self.position}"
            )
        for at in self.position:
            channel = channel.select(1, at)
        return channel


def as_target(target: TargetLike) -> Target:
    """Make a target from its short forms.

    Parameters
    ----------
    target : Target, int, sequence, mapping or callable
        A class; classes, one per input; ``{class: weight}``; (weight, target) pairs; or a function
        of the output.

    Raises
    ------
    ValueError
        If it is nothing of these.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, int) and not isinstance(target, bool):
        return ClassScore(target)
    if isinstance(target, Mapping):
        return WeightedSum(tuple((float(w), ClassScore(index)) for index, w in target.items()))
    if isinstance(target, Tensor) and target.dtype == torch.int64 and target.ndim <= 1:
        return as_target(target.tolist())
    if isinstance(target, Sequence) and not isinstance(target, str):
        if all(isinstance(index, int) for index in target):
            return ClassScore(tuple(target))
        if all(isinstance(term, tuple) and len(term) == 2 for term in target):
            return WeightedSum(tuple((float(weight), as_target(term)) for weight, term in target))
    if callable(target):
        return Loss(target)
    raise ValueError(
        "a target must be a class, classes (one per input), {class: weight}, (weight, target) "
        f"pairs, a function of the output, or a Target, but got {target!r}"
    )


def _matrix(output: Any, what: str) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"{what} can be a target where the network returns (N, C), but it returned {found}; "
            "a Loss takes any output"
        )
    return output


def _channel(output: Tensor, channel: int, layer: str) -> Tensor:
    """Take a channel of (N, C, ...) or a feature of tokens (N, T, C): (N, ...)."""
    axis = 2 if output.ndim == 3 else 1
    _check_index(channel, output.shape[axis], f"channel of layer {layer}")
    return output.select(axis, channel)


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ValueError(f"the {what} must be in 0 to {count - 1}, but got {index}")
