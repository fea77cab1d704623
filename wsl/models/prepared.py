"""A copy of a network that computes the same scores in less time on the CPU.

Two things are done to the copy. Batch norms are folded into the convolutions before them: in
evaluation mode both are linear, and a pass over memory is saved on the way forth and another on
the way back. Weights are laid out channels last, which activations then follow: depthwise
convolutions are 2 to 10 times faster so, and so are their input gradients.

What a copy computes is compared with what the network computes before it is used. Sums are rounded
in another order, so scores differ in their last bits. Gradients do too, but for images for which
that opens or shuts the gate of a ReLU: there they differ by about as much as the network's own do
with another number of threads.
"""

from __future__ import annotations

import copy
from collections import Counter
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["has_hooks", "prepared_copy", "versions"]

# Of the largest score; float32 rounds off some 1e-6 on the way through a network.
_TOLERANCE = 1e-4

# Where torch keeps a module's hooks; there is no public way to list them.
HOOKS = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


def has_hooks(module: nn.Module) -> bool:
    """Tell whether a module or a part of it has hooks: a copy would not call them."""
    return any(vars(part).get(name) for part in module.modules() for name in HOOKS)


def versions(module: nn.Module) -> tuple[tuple[int, int], ...] | None:
    """Identify the weights: the answer is another one when they are written to or replaced.

    Torch counts what is written to each tensor, but not what is written through ``.data``. None
    if there are tensors without a count, which are those made in inference mode.
    """
    tensors = list(chain(module.parameters(), module.buffers()))
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((id(tensor), tensor._version) for tensor in tensors)


def prepared_copy(module: nn.Module, input_size: tuple[int, int]) -> nn.Module | None:
    """Copy a network for fast scores and input gradients on the CPU; the network stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
        Takes (N, 3, h, w).
    input_size : (int, int)
        (h, w) of the inputs on which copy and network are compared.

    Returns
    -------
    torch.nn.Module or None
        In evaluation mode; its parameters ask for no gradients. None where a copy has no use or is
        no equal of the network: without 2-D convolutions, with scripted parts, of a network that
        cannot be copied, or whose scores differ by more than 1e-4 of the largest one.
    """
    parts = list(module.modules())
    if not any(isinstance(part, nn.Conv2d) for part in parts):
        return None
    if any(isinstance(part, torch.jit.ScriptModule) for part in parts):
        return None
    draws = torch.Generator().manual_seed(0)
    probe = torch.randn(2, 3, *input_size, generator=draws)
    try:
        # A network's own code runs here, on a copy. Whatever stops it, there is the network still.
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            own = copy.deepcopy(module).eval().requires_grad_(False)
            expected = _scores(own, probe)
            faster = _folded(own, probe, expected).to(memory_format=torch.channels_last)
            found = _scores(faster, probe)
    except Exception:
        return None
    return faster if _agree(found, expected) else None


def _scores(module: nn.Module, probe: Tensor) -> Any:
    # Times 1, as a network's first layer may work in place, which autograd forbids for leaves.
    return module(probe.clone().requires_grad_() * 1)


def _agree(found: Any, expected: Any) -> bool:
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor):
        return False
    if found.shape != expected.shape or not expected.numel():
        return False
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _folded(module: nn.Module, probe: Tensor, expected: Tensor) -> nn.Module:
    """Fold batch norms into convolutions where the network's code can be traced for that.

    Tracing sees operations, not what is said of their gradients: ``no_grad`` and autograd functions
    of the network's own are lost. So the graphs of both are compared, but for the batch norms.
    """
    if not any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        return module
    try:
        traced = fx.symbolic_trace(module)
    except Exception:  # control flow that depends on the input, of any kind
        return module
    parts = dict(traced.named_modules(remove_duplicate=False))
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        before = _convolution_before(node, parts, calls)
        if before is None:
            continue
        name = str(before.target)
        parts[name] = fuse_conv_bn_eval(parts[name], parts[str(node.target)])
        parent, _, leaf = name.rpartition(".")
        setattr(traced.get_submodule(parent), leaf, parts[name])
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    same = _operations(_scores(traced, probe)) == _operations(expected)
    return traced if same else module


def _operations(scores: Tensor) -> Counter[str]:
    """Count the operations, but batch norms, that gradients go back through."""
    seen: set[Any] = set()
    waiting = [scores.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    names = Counter(node.name() for node in seen)
    return Counter({name: count for name, count in names.items() if "BatchNorm" not in name})


def _convolution_before(
    node: fx.Node, parts: dict[str, nn.Module], calls: Counter[Any]
) -> fx.Node | None:
    """Convolution that a batch norm can be folded into: used once, and by the norm alone."""
    if node.op != "call_module" or type(parts[str(node.target)]) is not nn.BatchNorm2d:
        return None
    before = node.args[0] if node.args else None
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
        return None
    if type(parts[str(before.target)]) is not nn.Conv2d or calls[before.target] != 1:
        return None
    norm = parts[str(node.target)]
    return before if getattr(norm, "running_mean", None) is not None else None
