"""Layers inside a network: by name, their outputs, and the grid that an output lies on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from wsl.errors import ModelError, choices_hint

__all__ = [
    "Recorded",
    "as_grid",
    "find_layer",
    "grid_layers",
    "last_grid_layer",
    "recording_layer",
    "recording_layers",
]

_LEAST_CELLS = 7
_MAX_PREFIX = 8  # class, distillation and register tokens in front of those of the positions


class Recorded:
    """Output of a layer, once the network has run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._outputs: list[Any] = []

    def add(self, output: Any) -> None:
        """Note the output of one call of the layer."""
        self._outputs.append(output)

    @property
    def output(self) -> Tensor:
        """The layer's output.

        Raises
        ------
        ModelError
            If the layer was not called once, or returned something else than a tensor.
        """
        (output,) = self.parts(1)
        return output

    def parts(self, count: int) -> list[Tensor]:
        """Return the outputs where the network saw the batch in so many parts.

        Raises
        ------
        ModelError
            If the layer was not called once for each, or returned something else than a tensor.
        """
        if len(self._outputs) != count:
            calls = len(self._outputs) / count
            times = f"{calls:g} times" if calls else "not at all"
            raise ModelError(
                f"layer {self.name} must run once in a forward pass, but ran {times}; "
                "name the module around it, or one before or after it"
            )
        for output in self._outputs:
            if not isinstance(output, Tensor):
                found = type(output).__name__
                raise ModelError(f"layer {self.name} must return a tensor, but returned a {found}")
        return list(self._outputs)


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """Look a layer up by its name in ``named_modules()``.

    Raises
    ------
    ModelError
        If there is none; the message lists the near ones.
    """
    layers: dict[str, nn.Module] = dict(module.named_modules())
    if name not in layers or not name:
        names = [known for known in layers if known]
        raise ModelError(f"the network has no layer {name!r}. {choices_hint(name, names)}")
    return layers[name]


@contextmanager
def recording_layer(module: nn.Module, name: str, *, as_leaf: bool = False) -> Iterator[Recorded]:
    """Record a layer's output in the forward pass inside.

    Parameters
    ----------
    module : torch.nn.Module
    name : str
        As in ``named_modules()``.
    as_leaf : bool
        Start the graph at the output: what comes before it is not recorded.

    Yields
    ------
    Recorded
        Its tensor is a part of the graph. The rest of the network works on a copy of it, so that
        a layer that works in place cannot change it.
    """
    layer = find_layer(module, name)
    recorded = Recorded(name)

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            recorded.add(output)
            return None
        kept = output.detach().requires_grad_() if as_leaf else output
        recorded.add(kept)
        return kept.clone()

    handle = layer.register_forward_hook(hook)
    try:
        yield recorded
    finally:
        handle.remove()


@contextmanager
def recording_layers(module: nn.Module, names: Sequence[str]) -> Iterator[list[Recorded]]:
    """Record several layers' outputs in one forward pass; see `recording_layer`."""
    with ExitStack() as stack:
        yield [stack.enter_context(recording_layer(module, name)) for name in names]


def grid_layers(
    module: nn.Module, forward: Callable[[Tensor], Any], inputs: Tensor, *, count: int = 3
) -> tuple[str, ...]:
    """Name the last layer of each of the network's coarsest grids, the finest grid first.

    Parameters
    ----------
    module : torch.nn.Module
    forward : callable
        Runs the module.
    inputs : Tensor, shape (N, C, H, W)
        Only the first is run, without a graph.
    count : int
        How many grids. Grids of fewer than 7 x 7 cells do not count, nor do layers that return
        negative values or run several times, nor those with as many channels as there are
        classes, which are the scores before their average.

    Raises
    ------
    ModelError
        If there is no such layer.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    outputs: list[tuple[tuple[int, int], int, str]] = []

    def note(name: str, output: Tensor) -> None:
        axes = _grid_axes(output, size) if output.ndim == 4 else None
        if axes and bool((output >= 0).all()):
            grid = (output.shape[axes[0]], output.shape[axes[1]])
            outputs.append((grid, output.shape[1 if axes == (2, 3) else 3], name))

    scores = _watched(module, forward, inputs, note)
    calls = Counter(name for _, _, name in outputs)
    # Of several layers with one grid the last stays.
    found = {
        grid: name
        for grid, channels, name in outputs
        if min(grid) >= _LEAST_CELLS and channels != scores.shape[-1] and calls[name] == 1
    }
    if not found:
        raise ModelError(
            "no layer of the network returns activations >= 0 on a grid of at least "
            f"{_LEAST_CELLS} x {_LEAST_CELLS} positions; name the layers"
        )
    coarsest = sorted(found, key=lambda grid: grid[0] * grid[1])[:count]
    return tuple(found[grid] for grid in reversed(coarsest))


def last_grid_layer(module: nn.Module, forward: Callable[[Tensor], Any], inputs: Tensor) -> str:
    """Name the last layer whose output has positions: (N, C, h, w) with more than one.

    Parameters
    ----------
    module : torch.nn.Module
    forward : callable
        Runs the module.
    inputs : Tensor, shape (N, C, H, W)
        Only the first is run, without a graph.

    Returns
    -------
    str
        Of modules that return the same output, the outermost.

    Raises
    ------
    ModelError
        If there is no such layer, or the network goes on to work on tokens after it.
    """
    last, tokens = "", ""
    size = (inputs.shape[-2], inputs.shape[-1])

    def note(name: str, output: Tensor) -> None:
        nonlocal last, tokens
        if output.ndim == 4 and _grid_axes(output, size):
            last, tokens = name, ""
        elif output.ndim == 3 and _token_grid(output.shape[1], size):
            tokens = name

    _watched(module, forward, inputs, note)
    if tokens:
        raise ModelError(
            "the network works on tokens, so the layer must be named: one that returns (N, T, C), "
            "before the last attention block mixes the positions into the class token, such as "
            "encoder.layers.encoder_layer_11.ln_1 (torchvision) or blocks.11.norm1 (timm)"
        )
    if not last:
        raise ModelError(
            "no layer of the network returns positions, a tensor (N, C, h, w) with h * w > 1"
        )
    return last


def _watched(
    module: nn.Module,
    forward: Callable[[Tensor], Any],
    inputs: Tensor,
    note: Callable[[str, Tensor], None],
) -> Any:
    """Run the first input without a graph; note each layer's tensor output as it comes."""
    handles = []

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                note(name, output)

        return hook

    try:
        for name, layer in module.named_modules():
            if name:
                handles.append(layer.register_forward_hook(hook_of(name)))
        with torch.no_grad():
            return forward(inputs[:1])
    finally:
        for handle in handles:
            handle.remove()


def as_grid(output: Tensor, input_size: tuple[int, int], *, layer: str) -> Tensor:
    """View a layer's output as a grid of positions.

    Parameters
    ----------
    output : Tensor
        (N, C, h, w); (N, h, w, C), told from the former by the input's shape; or tokens (N, T, C),
        of which the last h * w are positions in reading order and those before (class token,
        registers) are left out.
    input_size : (int, int)
        Height and width of the network's input, whose shape the grid has.
    layer : str
        Name for the message.

    Returns
    -------
    Tensor, shape (N, C, h, w)

    Raises
    ------
    ModelError
        If the output is nothing of these.
    """
    if output.ndim == 4 and (axes := _grid_axes(output, input_size)):
        return output if axes == (2, 3) else output.permute(0, 3, 1, 2)
    if output.ndim == 3 and (grid := _token_grid(output.shape[1], input_size)):
        positions = output[:, output.shape[1] - grid[0] * grid[1] :]
        return positions.transpose(1, 2).reshape(len(output), -1, *grid)
    raise ModelError(
        f"layer {layer} must return a grid of the input's shape, (N, C, h, w) or (N, h, w, C), or "
        f"tokens (N, T, C) of such a grid, but returned {tuple(output.shape)} for an input of "
        f"{input_size[0]} x {input_size[1]}"
    )


def _grid_axes(output: Tensor, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Find the axes of height and width in a tensor of four: those of the input's shape."""
    height, width = input_size
    for axes in ((2, 3), (1, 2)):
        h, w = output.shape[axes[0]], output.shape[axes[1]]
        # To a row or column, as strides round.
        if h * w > 1 and abs(h * width - w * height) <= max(height, width):
            return axes
    return None


def _token_grid(count: int, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Find the grid of the input's shape that the last of `count` tokens make."""
    height, width = input_size
    for positions in range(count, max(count - _MAX_PREFIX, 3) - 1, -1):
        h = round((positions * height / width) ** 0.5)
        if h and positions % h == 0 and h * width == (positions // h) * height:
            return (h, positions // h)
    return None
