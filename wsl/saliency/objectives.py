"""Objectives: K numbers per input, and their gradients.

All gradient methods ask an objective. `ClassObjective` is the form of runs: the scores of classes
that are chosen from the scores of the inputs. `TargetObjective` is a target of any network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.prepared import has_hooks
from wsl.saliency.base import Select, choose
from wsl.saliency.layers import recording_layer
from wsl.saliency.rules import Backpropagation
from wsl.saliency.targets import Target

__all__ = ["ClassObjective", "Objective", "TargetObjective", "slot_gradients"]

# Four inputs of the usual size. The largest activation of most networks is 2 to 5 MB an input
# there, and glibc keeps freed blocks of up to 32 MB.
_PART_PIXELS = 4 * 224 * 224


class Objective(ABC):
    """K numbers per input, computed by a network.

    Attributes
    ----------
    module : torch.nn.Module
    backward : Backpropagation
        The way back through the network's activations.
    """

    def __init__(self, module: nn.Module, backward: Backpropagation) -> None:
        self.module = module
        self.backward = backward

    @abstractmethod
    def prepare(self, inputs: Tensor) -> None:
        """Fix what is asked, from the inputs themselves, before variants of them are asked."""

    @abstractmethod
    def outputs(self, inputs: Tensor) -> Any:
        """Run the network."""

    def part_count(self, inputs: Tensor) -> int:
        """Count the parts, one after the other, in which the network sees these inputs."""
        return 1

    @abstractmethod
    def slots(self) -> list[int]:
        """Which of the K numbers are of any input; known once values are."""

    @abstractmethod
    def _values(self, inputs: Tensor) -> Tensor: ...

    def values(self, inputs: Tensor) -> Tensor:
        """Compute the numbers, (N, K), each from its own input; differentiable by the rule."""
        with self.backward.recording(self.module):
            values = self._values(inputs)
        self.backward.lay_on(values)
        return values

    def gradients(
        self, values: Tensor, wrt: Tensor | Sequence[Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot with the gradient of its numbers; see `slot_gradients`."""
        return slot_gradients(values, wrt, self.slots())


class ClassObjective(Objective):
    """Unnormalized scores of the classes that a selector chooses.

    On the CPU the network sees a batch in parts of a few inputs, whose ways back are gone one after
    the other. A part's activations fit into blocks of memory that the process keeps, where those of
    a whole batch are fetched anew from the system, page by page, at every layer and for every
    class: parts take half the time (eval/results/speed.md). Networks with hooks see the batch
    whole.

    Attributes
    ----------
    scores : Tensor, shape (N, C)
        Of the inputs that were asked first, without a gradient.
    classes : Tensor of int64, shape (N, K)
        What was chosen from these scores; -1 for none.
    """

    def __init__(
        self,
        classifier: Classifier,
        select: Select,
        *,
        backward: Backpropagation,
        wrt: Literal["pixel", "input"] = "input",
    ) -> None:
        super().__init__(classifier.module, backward)
        self.scores: Tensor
        self.classes: Tensor
        self._classifier = classifier
        self._select: Select | None = select
        self._scale: Tensor | None = None
        self._whole = classifier.device.type != "cpu" or has_hooks(classifier.module)
        if wrt == "pixel":
            scale = 1 / torch.tensor(classifier.preprocessing.std)
            self._scale = scale.to(classifier.device)[:, None, None]

    def prepare(self, inputs: Tensor) -> None:
        """Choose the classes."""
        with torch.no_grad():
            self._values(inputs)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Compute the scores of all classes."""
        parts = torch.split(inputs, self._part_size(inputs))
        return torch.cat([self._classifier.scores(part) for part in parts])

    def part_count(self, inputs: Tensor) -> int:
        """Count the parts, one after the other, in which the network sees these inputs."""
        return max(1, -(-len(inputs) // self._part_size(inputs)))  # an empty batch is one part

    def slots(self) -> list[int]:
        """Slots that hold a class for any input."""
        return [int(slot) for slot in (self.classes >= 0).any(dim=0).nonzero()]

    def gradients(
        self, values: Tensor, wrt: Tensor | Sequence[Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot's gradient, of pixels in [0, 1] where that was asked."""
        for slot, gradients in slot_gradients(values, wrt, self.slots()):
            yield slot, gradients if self._scale is None else gradients * self._scale

    def _part_size(self, inputs: Tensor) -> int:
        if self._whole:
            return max(1, len(inputs))
        return max(1, round(_PART_PIXELS / (inputs.shape[-2] * inputs.shape[-1])))

    def _values(self, inputs: Tensor) -> Tensor:
        scores = self.outputs(inputs)
        if self._select is not None:
            self.scores = scores.detach()
            self.classes = choose(self._select, scores)
            self._select = None
        values = scores.gather(1, self.classes.clamp_min(0))
        return values * (self.classes >= 0)


class TargetObjective(Objective):
    """One target, of any network: K is 1."""

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor], Any],
        target: Target,
        *,
        backward: Backpropagation,
    ) -> None:
        super().__init__(module, backward)
        self._forward = forward
        self._target = target

    def prepare(self, inputs: Tensor) -> None:
        """Do nothing: a target is fixed."""

    def outputs(self, inputs: Tensor) -> Any:
        """Run the network on a copy: its first layer may work in place."""
        return self._forward(inputs.clone())

    def slots(self) -> list[int]:
        """Return the only one."""
        return [0]

    def _values(self, inputs: Tensor) -> Tensor:
        with ExitStack() as stack:
            recorded = {
                name: stack.enter_context(recording_layer(self.module, name))
                for name in dict.fromkeys(self._target.layers)
            }
            output = self.outputs(inputs)
        layers = {name: layer.output for name, layer in recorded.items()}
        values = self._target.values(output, layers)
        if not isinstance(values, Tensor) or values.shape != (len(inputs),):
            found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"a target must give one number per input, shape ({len(inputs)},), but gave "
                f'{found}; losses need reduction="none"'
            )
        return values[:, None]


def slot_gradients(
    values: Tensor, wrt: Tensor | Sequence[Tensor], slots: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of some columns of `values`, one after the other.

    Parameters
    ----------
    values : Tensor, shape (N, K)
        Each row depends on its own row of `wrt` alone.
    wrt : Tensor, shape (N, ...), or sequence of Tensor
        Requires a gradient. A sequence holds parts of the batch, in order.
    slots : sequence of int
        Columns.

    Yields
    ------
    (int, Tensor of the shape of `wrt`, or of its parts joined)

    Raises
    ------
    ModelError
        If the values do not depend on `wrt` through differentiable operations.
    """
    parts = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    for slot in slots:
        gradients: Sequence[Tensor | None] = [None]
        if values.requires_grad:
            # The sum over the batch: each input's own number is all that its gradient sees.
            gradients = torch.autograd.grad(
                values[:, slot].sum(), parts, retain_graph=slot != slots[-1], allow_unused=True
            )
        found = [gradient for gradient in gradients if gradient is not None]
        if len(found) < len(parts):
            raise ModelError(
                "the network's output must be differentiable with respect to its input or the "
                "layer, but no gradient leads from one to the other (a detach, no_grad or "
                "rounding in the module, or a layer beside or behind what is explained?)"
            )
        yield slot, found[0] if len(found) == 1 else torch.cat(found)
