"""Layers inside a network: by name, their outputs, and the grid that an output lies on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from wsl.errors import ModelError, choices_hint
from wsl.models.classifier import Classifier, logits_of

_LEAST_CELLS = 7
_MAX_PREFIX = 8  # class, distillation and register tokens in front of those of the positions

Found = TypeVar("Found")
_measured: WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = WeakKeyDictionary()


def measured_once(module: nn.Module, key: Hashable, measure: Callable[[], Found]) -> Found:
    """Measure something about a network on the first call, and remember it as long as it lives.

    Parameters
    ----------
    module : torch.nn.Module
        Measured anew when one of its layers has been replaced.
    key : hashable
        What is measured, and on which input size.
    measure : callable
    """
    structure = tuple((name, id(part)) for name, part in module.named_modules())
    known = _measured.get(module, {})
    if known.get("structure") != structure:
        known = _measured[module] = {"structure": structure}
    if key not in known:
        known[key] = measure()
    found: Found = known[key]
    return found


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
def observing(
    module: nn.Module, names: Sequence[str], observe: Callable[[str, Any], Any]
) -> Iterator[None]:
    """Call ``observe(name, output)`` whenever one of the layers has run inside.

    What it returns, unless None, takes the output's place in the forward pass.
    """

    def hook(name: str, _: nn.Module, __: Any, output: Any) -> Any:
        return observe(name, output)

    layers = dict(module.named_modules())
    handles = []
    try:
        for name in names:
            layer = layers.get(name) or find_layer(module, name)
            handles.append(layer.register_forward_hook(partial(hook, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class LayerOutputs:
    """Outputs of some layers, by name, once the network has run."""

    def __init__(self) -> None:
        self._outputs: dict[str, list[Any]] = {}

    def add(self, name: str, output: Any) -> None:
        """Note the output of one call of a layer."""
        self._outputs.setdefault(name, []).append(output)

    def __getitem__(self, name: str) -> Tensor:
        """Return the layer's output.

        Raises
        ------
        ModelError
            If the layer was not called once, or returned something else than a tensor.
        """
        outputs = self._outputs.get(name, [])
        if len(outputs) != 1:
            times = f"{len(outputs)} times" if outputs else "not at all"
            raise ModelError(
                f"layer {name} must run once in a forward pass, but ran {times}; "
                "name the module around it, or one before or after it"
            )
        if not isinstance(outputs[0], Tensor):
            found = type(outputs[0]).__name__
            raise ModelError(f"layer {name} must return a tensor, but returned a {found}")
        return outputs[0]


@contextmanager
def recording(
    module: nn.Module, names: Sequence[str], *, as_leaf: bool = False
) -> Iterator[LayerOutputs]:
    """Record layers' outputs in the forward pass inside.

    Parameters
    ----------
    module : torch.nn.Module
    names : sequence of str
        As in ``named_modules()``.
    as_leaf : bool
        Start the graph at the outputs: what comes before them is not recorded.

    Yields
    ------
    LayerOutputs
        Its tensors are parts of the graph. The rest of the network works on copies of them, so that
        a layer that works in place cannot change them.
    """
    recorded = LayerOutputs()

    def observe(name: str, output: Any) -> Any:
        if not isinstance(output, Tensor):
            recorded.add(name, output)
            return None
        kept = output.detach().requires_grad_() if as_leaf else output
        recorded.add(name, kept)
        return kept.clone()

    with observing(module, list(dict.fromkeys(names)), observe):
        yield recorded


def grid_layers(
    classifier: Classifier, shape: tuple[int, ...], *, count: int = 3
) -> tuple[str, ...]:
    """Name the last layer of each of the network's coarsest grids, the finest grid first.

    Of a grid's layers, those that return no negative values go first; without one (SiLU, GELU,
    residual streams, tokens) it is the last of any sign.

    Parameters
    ----------
    classifier : Classifier
    shape : (int, int, int)
        (C, H, W) of an input.
    count : int
        How many grids. Grids of fewer than 7 x 7 cells do not count, nor do layers that run
        several times, nor those with as many channels as there are classes, which are the scores
        before their average.

    Raises
    ------
    ModelError
        If there is no such layer.
    """
    outputs = _survey(classifier, shape)
    calls = Counter(output.name for output in outputs)
    last: dict[tuple[int, int], dict[bool, str]] = {}
    for output in outputs:
        if (
            min(output.grid) >= _LEAST_CELLS
            and output.is_read
            and output.channels != len(classifier.categories)
            and calls[output.name] == 1
        ):
            last.setdefault(output.grid, {})[output.rectified] = output.name
    if not last:
        raise ModelError(
            f"no layer of the network returns a grid of at least {_LEAST_CELLS} x {_LEAST_CELLS} "
            "positions or tokens: use method gradient, or name the layers"
        )
    coarsest = sorted(last, key=lambda grid: grid[0] * grid[1])[:count]
    return tuple(last[grid].get(True) or last[grid][False] for grid in reversed(coarsest))


def last_grid_layer(classifier: Classifier, shape: tuple[int, ...]) -> str:
    """Name the last layer whose output has positions on which the scores depend.

    Parameters
    ----------
    classifier : Classifier
    shape : (int, int, int)
        (C, H, W) of an input.

    Returns
    -------
    str
        Of modules that return the same output, the outermost. Of a transformer that reads its
        scores from a class token, the layer before the last attention.

    Raises
    ------
    ModelError
        If there is no such layer.
    """
    outputs = _survey(classifier, shape)
    width = outputs[-1].channels if outputs else 0
    for output in reversed(outputs):
        # Of tokens not those of queries, keys and values, or inside of the perceptrons.
        if output.is_read and (not output.is_tokens or output.channels == width):
            return output.name
    raise ModelError(
        "no layer of the network returns positions, a tensor (N, C, h, w) or tokens (N, T, C)"
    )


@dataclass(frozen=True)
class _Output:
    """A layer's output that has positions; `is_read` if a score depends on them."""

    name: str
    grid: tuple[int, int]
    channels: int
    is_tokens: bool
    rectified: bool
    is_read: bool = True


def _survey(classifier: Classifier, shape: tuple[int, ...]) -> tuple[_Output, ...]:
    """Find all outputs with positions, in the order of the forward pass, once for each shape.

    None of them is held on to: slopes are seen by hooks, as the backward pass comes to them.
    """

    def measure() -> tuple[_Output, ...]:
        found: list[_Output] = []
        read: set[int] = set()
        size = (shape[1], shape[2])

        def observe(name: str, output: Any) -> None:
            # Windows are parts of an input; tables of positions do not depend on it.
            if not isinstance(output, Tensor) or output.ndim not in (3, 4):
                return
            if len(output) != 1 or not output.requires_grad:
                return
            for each in _positions(name, output, size):
                output.register_hook(partial(note, len(found)))  # type: ignore[no-untyped-call]
                found.append(each)

        def note(number: int, slope: Tensor) -> None:
            if as_grid(slope, size, layer="").any():
                read.add(number)

        names = [
            name
            for name, part in classifier.module.named_modules()
            # Attention's weights are square, as a grid is.
            if name and not isinstance(part, nn.Softmax | nn.Dropout)
        ]
        # Not one of the user's images, so that every process of a run finds the same layers.
        noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
        leaf = noise.to(classifier.device).requires_grad_()
        with observing(classifier.module, names, observe), torch.enable_grad():
            scores = logits_of(classifier.run(leaf))
        if isinstance(scores, Tensor) and scores.requires_grad:
            # A sum with weights: that of all scores may not depend on anything.
            weights = torch.linspace(1, 2, scores.numel(), device=scores.device)
            total = (scores * weights.reshape(scores.shape)).sum()
            torch.autograd.grad(total, leaf, allow_unused=True)
        # With a last layer of zeros, as some networks begin, nothing has an effect.
        return tuple(
            replace(each, is_read=not read or number in read) for number, each in enumerate(found)
        )

    return measured_once(classifier.module, ("survey", shape), measure)


def _positions(name: str, output: Tensor, size: tuple[int, int]) -> Iterator[_Output]:
    if output.ndim == 4 and (axes := grid_axes(output, size)):
        grid = (output.shape[axes[0]], output.shape[axes[1]])
        channels = output.shape[1 if axes == (2, 3) else 3]
        if axes == (1, 2) and 2 * grid[0] > size[0]:  # attention over tokens, its heads last
            return
        yield _Output(name, grid, channels, False, bool((output >= 0).all()))
    elif output.ndim == 3 and (tokens := token_grid(output.shape[1], size)):
        yield _Output(name, tokens, output.shape[2], True, bool((output >= 0).all()))


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
    if output.ndim == 4 and (axes := grid_axes(output, input_size)):
        return output if axes == (2, 3) else output.permute(0, 3, 1, 2)
    if output.ndim == 3 and (grid := token_grid(output.shape[1], input_size)):
        positions = output[:, output.shape[1] - grid[0] * grid[1] :]
        return positions.transpose(1, 2).reshape(len(output), -1, *grid)
    raise ModelError(
        f"layer {layer} must return a grid of the input's shape, (N, C, h, w) or (N, h, w, C), or "
        f"tokens (N, T, C) of such a grid, but returned {tuple(output.shape)} for an input of "
        f"{input_size[0]} x {input_size[1]}"
    )


def grid_axes(output: Tensor, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Find the axes of height and width in a tensor of four: those of the input's shape."""
    height, width = input_size
    for axes in ((2, 3), (1, 2)):
        h, w = output.shape[axes[0]], output.shape[axes[1]]
        # To a row or column, as strides round.
        if h * w > 1 and abs(h * width - w * height) <= max(height, width):
            return axes
    return None


def token_grid(count: int, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Find the grid of the input's shape that the last of `count` tokens make."""
    height, width = input_size
    for positions in range(count, max(count - _MAX_PREFIX, 3) - 1, -1):
        h = round((positions * height / width) ** 0.5)
        if h and positions % h == 0 and h * width == (positions // h) * height:
            return (h, positions // h)
    return None
