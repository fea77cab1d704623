"""Rules of the backward pass through activations: gradient, deconvnet, guided backpropagation.

An activation has a *gate* if it hands its input on unchanged where the gate is open and is constant
where it is shut: ReLU, ReLU6, hardtanh, threshold, and a clamp or maximum from 0 up. With the
signal R that arrives from above and the activation's input X, the rules hand down

=============== =========================== =================================================
gradient        R where the gate is open    Simonyan et al. 2013
deconvnet       max(R, 0)                   Zeiler and Fergus 2014: no gate of the forward pass
guided_backprop max(R, 0) where it is open  Springenberg et al. 2015
=============== =========================== =================================================

The rules are applied to the recorded graph, not to modules: each activation that took part is a
node there, whether it was called as a module (also one used many times, or in place) or as a
function.
Nothing is hooked to the network, and what is hooked to the graph goes when the graph goes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsl.errors import ModelError, choices_hint

RuleName = Literal["gradient", "deconvnet", "guided_backprop"]
NonRelu = Literal["gradient", "rule"]
Rule = Callable[[Tensor, Tensor], Tensor]
"""From the signal that arrives at an activation's output, and what its derivative makes of it (the
gradient's answer), to the signal at its input; all of one shape."""

_RULES: dict[str, Rule] = {
    "deconvnet": lambda signal, passed: signal.clamp_min(0),
    # `passed` is the signal where the gate is open and 0 elsewhere.
    "guided_backprop": lambda signal, passed: passed.clamp_min(0),
}

_GATED = ("Relu", "Hardtanh", "Threshold")
_GATED_FROM_0 = {"Clamp": "_saved_min", "ClampMin": "_saved_min"}
_UNGATED = {
    "Celu": "CELU",
    "Elu": "ELU or SELU",
    "Gelu": "GELU",
    "Glu": "GLU",
    "Hardshrink": "hardshrink",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "LeakyRelu": "leaky ReLU",
    "LogSigmoid": "log-sigmoid",
    "Mish": "mish",
    "PreluKernel": "PReLU",
    "RreluWithNoise": "RReLU",
    "Sigmoid": "sigmoid",
    "Silu": "SiLU",
    "Softplus": "softplus",
    "Softshrink": "softshrink",
    "Tanh": "tanh",
}
# Those that can work in place, by their names without the underscore.
_ACTIVATION_FUNCTIONS = frozenset(
    ["clamp", "clamp_min", "clip", "hardtanh", "relu", "relu6", "threshold"]
).union(
    ["celu", "elu", "hardsigmoid", "hardswish", "leaky_relu", "mish", "rrelu", "selu", "sigmoid"],
    ["silu", "tanh"],
)


@dataclass(frozen=True)
class Backpropagation:
    """Rule of the backward pass through a network's activations.

    Notes
    -----
    A ReLU written as arithmetic, such as ``x * (x > 0)``, is not recognized: its derivative stays.
    """

    rule: RuleName | Rule = "gradient"
    """One of ``gradient``, ``deconvnet``, ``guided_backprop``. A callable is a rule of one's
    own."""
    non_relu: NonRelu | None = None
    """One of ``gradient``, ``rule``. What to do at activations without a gate, for which the rules
    are not defined (GELU, SiLU, sigmoid, leaky ReLU, ...), and at functions that hide their
    backward pass (custom autograd functions): ``gradient`` keeps the derivative there; ``rule``
    applies the rule all the same, with the derivative in the gate's place (hidden ones keep the
    derivative). None refuses them."""

    def __post_init__(self) -> None:
        names = get_args(RuleName)
        if not callable(self.rule) and self.rule not in names:
            raise ValueError(
                f"there is no rule {self.rule!r}. {choices_hint(str(self.rule), names)}"
            )
        if self.non_relu not in (None, *get_args(NonRelu)):
            raise ValueError(
                f"non_relu must be 'gradient', 'rule' or None, but got {self.non_relu!r}"
            )

    def recording(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Context for the forward pass whose graph the rule will be applied to.

        Raises
        ------
        ModelError
            If a part of the module is scripted: its operations cannot be told apart in the graph.
        """
        if self.rule == "gradient":
            return nullcontext()
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                raise ModelError(
                    f"the rule {self._name} cannot see into scripted modules, but "
                    f"{name or 'the network'} is one; build the network without torch.jit"
                )
        return _ActivationsOnViews()

    def apply(self, values: Tensor) -> None:
        """Make each backward pass from `values` follow the rule.

        Parameters
        ----------
        values : Tensor
            Computed under `recording`.

        Raises
        ------
        ModelError
            If there are activations without a gate, or functions that hide their backward pass, and
            `non_relu` is None.
        """
        if self.rule == "gradient":
            return
        nodes = list(graph_nodes(values))
        if self.non_relu is None:
            self._refuse_unknown(nodes)
        rule = self.rule if callable(self.rule) else _RULES[self.rule]
        for node in nodes:
            if _is_gated(node) or (self.non_relu == "rule" and node_name(node) in _UNGATED):
                node.register_hook(_replacing(rule))

    def _refuse_unknown(self, nodes: list[Any]) -> None:
        found = {_UNGATED[name] for node in nodes if (name := node_name(node)) in _UNGATED}
        if found:
            raise ModelError(
                f"the rule {self._name} is defined for activations with a gate, such as ReLU, but "
                f"the network has {', '.join(sorted(found))}; "
                "non_relu='gradient' keeps the derivative there, "
                "non_relu='rule' applies the rule with the derivative in the gate's place"
            )
        hidden = {node.name() for node in nodes if _hides(node)}
        if hidden:
            raise ModelError(
                f"the rule {self._name} cannot see into {', '.join(sorted(hidden))}, which have "
                "a backward pass of their own; non_relu='gradient' leaves them as they are"
            )

    @property
    def _name(self) -> str:
        return "given" if callable(self.rule) else self.rule


def graph_nodes(values: Tensor) -> Iterator[Any]:
    """Yield each node of the graph that `values` were computed by, once."""
    seen = set()
    waiting = [values.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(following for following, _ in node.next_functions)


def node_name(node: Any) -> str:
    """Operation of a graph's node, such as ``Relu`` of ``ReluBackward0``."""
    return re.sub(r"Backward\d*$", "", node.name())


def _is_gated(node: Any) -> bool:
    name = node_name(node)
    if name in _GATED_FROM_0:
        return _is_zero(getattr(node, _GATED_FROM_0[name]))
    if name == "Maximum":
        inputs = (node._saved_self, node._saved_other)
        pairs = zip(inputs, node.next_functions, strict=True)
        return any(behind is None and _is_zero(constant) for constant, (behind, _) in pairs)
    return name in _GATED


def _is_zero(bound: Any) -> bool:
    """Tell a bound of 0 from those that guard against other things, such as a division by 0."""
    if isinstance(bound, Tensor):
        return not bool(bound.any())
    return bound is not None and bound == 0


def _hides(node: Any) -> bool:
    return isinstance(node, torch.autograd.function.BackwardCFunction) or "jit" in node.name()


def _replacing(rule: Rule) -> Callable[[Any, Any], tuple[Tensor | None, ...]]:
    """Make the hook of a node that hands down the rule's answer instead of the derivative's."""

    def hook(passed: tuple[Tensor | None, ...], signals: tuple[Tensor, ...]) -> Any:
        # Constants beside the input, such as a clamp's bounds, have no signal.
        return tuple(None if given is None else rule(signals[0], given) for given in passed)

    return hook


class _ActivationsOnViews(TorchFunctionMode):
    """Compute in-place activations of views beside them, then copy the result in.

    What is done to a view in place is wrapped, in the graph, into a node of the view's base that
    does not say what it was. The tensors hold the same values either way.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        beside = _out_of_place(func, args, kwargs)
        view = args[0] if args else next(iter(kwargs.values()), None)
        if beside is None or not isinstance(view, Tensor):
            return func(*args, **kwargs)
        if not (view.requires_grad and view._is_view()):
            return func(*args, **kwargs)
        # The backward pass of some functions needs their input, which is about to be overwritten.
        own = view.clone()
        if args:
            return view.copy_(beside(own, *args[1:], **kwargs))
        return view.copy_(beside(**{k: own if v is view else v for k, v in kwargs.items()}))


def _out_of_place(func: Any, args: Any, kwargs: dict[str, Any]) -> Callable[..., Tensor] | None:
    """Find what computes an activation's in-place call beside its input; None for other calls."""
    name = getattr(func, "__name__", "")
    if name.rstrip("_") not in _ACTIVATION_FUNCTIONS:
        return None
    if name.endswith("_"):
        found: Callable[..., Tensor] = getattr(torch, name[:-1], None) or getattr(F, name[:-1])
        return found
    try:
        signature = inspect.signature(func)
    except ValueError:  # a function of torch's core, none of which has a parameter `inplace`
        return None
    if not signature.bind(*args, **kwargs).arguments.get("inplace", False):
        return None
    before = list(signature.parameters).index("inplace")  # the last parameter of them all
    return lambda *a, **k: func(*a[:before], **{**k, "inplace": False})
