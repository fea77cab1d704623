"""Receptive-field alignment: where the cells of a layer's grid are centered on the input.

Strides and padding shift a layer's grid against the input. In networks of the usual kind the first
cell of a grid of stride 16 is centered at pixel 0, not at 7.5 as plain interpolation has it, which
moves every map by half a cell. Here the shift is measured, whatever the network is made of.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsl.saliency.layers import grid_axes, measured_once, observing

# The probe's input: a strip so long that receptive fields of 700 pixels do not reach its ends, and
# where they do, one for 3000 (densenet121 has 2071).
_HEIGHTS, _LENGTHS = (32, 64), (768, 3072)
_MOST_STRIDE = 64  # what is wider has been pooled to a fixed number of cells


@dataclass(frozen=True)
class CellCenters:
    """Centers of a grid's cells along an axis: cell j is centered at ``first + stride * j``."""

    first: float
    """Center of cell 0 in pixels of the input; the first pixel's center is 0."""
    stride: float

    @classmethod
    def dividing(cls, cells: int, pixels: int) -> CellCenters:
        """Cells that divide the input among themselves, as plain interpolation has them."""
        stride = pixels / cells
        return cls((stride - 1) / 2, stride)


def cell_centers(
    module: nn.Module, layers: Sequence[str], *, channels: int = 3
) -> dict[str, CellCenters | None]:
    """Measure the centers of the receptive fields of some layers' cells, once per network.

    A column of a long input is made NaN, and the cells that become NaN are those that see it. Their
    middle, averaged over the columns of one stride, is the place of these columns on the grid.

    Parameters
    ----------
    module : torch.nn.Module
        Copied: the copy runs on the CPU.
    layers : sequence of str
        Names as in ``named_modules()``, of layers that return (N, C, h, w) or (N, h, w, C).
    channels : int
        Shape of the network's input.

    Returns
    -------
    dict of str to CellCenters or None
        The same along both axes. None where that cannot be told: a cell sees everything
        (squeeze-and-excitation, attention), or the network takes no input of this shape or cannot
        be copied.
    """
    key = ("cell_centers", tuple(layers))
    return measured_once(module, key, lambda: _measure(module, layers, channels))


def _measure(
    module: nn.Module, layers: Sequence[str], channels: int
) -> dict[str, CellCenters | None]:
    try:
        probe = copy.deepcopy(module).cpu().float().eval()
    except Exception:  # a network that holds parts of a graph, say
        return dict.fromkeys(layers)
    found: dict[str, CellCenters] = {}
    for length in _LENGTHS:
        if left := [name for name in layers if name not in found]:
            found |= _measure_on(probe, left, channels, length)
    return {name: found.get(name) for name in layers}


def _measure_on(
    probe: nn.Module, layers: Sequence[str], channels: int, length: int
) -> dict[str, CellCenters]:
    """Measure the layers whose cells do not see the ends of a strip of a length."""
    for height in _HEIGHTS:  # the first that all layers take
        inputs = torch.ones(1, channels, height, length)
        clean = _blind_columns(probe, layers, inputs)
        if len(clean) == len(layers):
            break
    strides = {
        name: round(length / len(blind))
        for name, blind in clean.items()
        if len(blind) >= length / _MOST_STRIDE and not blind.any()
    }
    begin = length // 2

    @cache
    def seen(column: int) -> dict[str, tuple[int, int]]:
        """First and last cell that see a column, of the layers in which no end does."""
        marked = inputs.clone()
        marked[..., begin + column] = torch.nan
        blind = _blind_columns(probe, list(strides), marked)
        cells = {name: each.nonzero().flatten().tolist() for name, each in blind.items()}
        return {
            name: (each[0], each[-1])
            for name, each in cells.items()
            if each and each[0] > 0 and each[-1] < len(blind[name]) - 1
        }

    found = {}
    for name, stride in strides.items():
        with suppress(KeyError):  # of a layer whose ends see a column
            means = [_mean_cell(name, end, stride, seen) for end in (0, 1)]
            first = begin + (stride - 1) / 2 - stride * sum(means) / 2
            found[name] = CellCenters(first, float(stride))
    return found


def _mean_cell(
    name: str, end: int, stride: int, seen: Callable[[int], dict[str, tuple[int, int]]]
) -> float:
    """Average the first (or last) cell over the columns of one stride.

    It is the next one from one of these columns on, which is searched by halves.
    """
    start, before, after = seen(0)[name][end], 0, stride
    while after - before > 1:
        column = (before + after) // 2
        if seen(column)[name][end] > start:
            after = column
        else:
            before = column
    return start + (stride - after) / stride


def _blind_columns(probe: nn.Module, layers: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    """Tell which columns of the layers' grids are NaN: (w,) bool."""
    blind: dict[str, Tensor] = {}

    def observe(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            channels_last = grid_axes(output, (inputs.shape[2], inputs.shape[3])) == (1, 2)
            grid = output.movedim(3, 1) if channels_last else output
            blind[name] = grid.isnan().any(dim=0).any(dim=0).any(dim=0)
        if len(blind) == len(layers):
            raise _AllSeen

    try:
        with observing(probe, layers, observe), _exact_windows(), torch.no_grad():
            probe(inputs)
    except Exception:  # of the network's own, of any type
        pass  # what comes behind the layers may not take this shape, and does not matter
    return blind


@contextmanager
def _exact_windows() -> Iterator[None]:
    """Run convolutions without oneDNN, which takes short cuts over several windows at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what its own switch sets beside this one
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class _AllSeen(Exception):  # noqa: N818 no error: it ends a forward pass early
    """Every layer has run."""


def aligned(maps: Tensor, centers: CellCenters | None, size: tuple[int, int]) -> Tensor:
    """Interpolate a grid's maps to the input's pixels, each cell at its center.

    Parameters
    ----------
    maps : Tensor, shape (N, C, h, w)
    centers : CellCenters or None
        None: the cells divide the input.
    size : (int, int)
        The input's (height, width).

    Returns
    -------
    Tensor, shape (N, C, height, width)
        Bilinear between centers; beyond the outermost, border values are repeated.
    """
    axes = []
    for pixels, cells in zip(size, maps.shape[-2:], strict=True):
        along = centers
        # What is pooled to a fixed number of cells has other strides in an input of this size.
        if along is None or abs(cells * along.stride - pixels) > 2 * along.stride:
            along = CellCenters.dividing(cells, pixels)
        places = (torch.arange(pixels, device=maps.device) - along.first) / along.stride
        # grid_sample's -1 and 1 are the centers of the first and the last cell.
        axes.append((2 * places / max(cells - 1, 1) - 1).to(maps.dtype))
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)
