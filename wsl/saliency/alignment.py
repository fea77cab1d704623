"""Receptive-field alignment: where the cells of a layer's grid are centered on the input.

Strides and padding shift a layer's grid against the input. In networks of the usual kind the first
cell of a grid of stride 16 is centered at pixel 0, not at 7.5 as plain interpolation has it, which
moves every map by half a cell. Here the shift is measured, whatever the network is made of.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsl.saliency.layers import grid_axes, measured_once, observing

__all__ = ["CellCenters", "aligned", "cell_centers"]

# The probe's input: a strip long enough that receptive fields of 500 pixels do not reach its ends.
_HEIGHT, _LENGTH = 64, 768
_MOST_STRIDE = 64  # what is wider has been pooled to a fixed number of cells


@dataclass(frozen=True)
class CellCenters:
    """Centers of a grid's cells along an axis: cell j is centered at ``first + stride * j``.

    Attributes
    ----------
    first : float
        In pixels of the input; the first pixel's center is 0.
    stride : float
    """

    first: float
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

    A column of a long input is made NaN, and the cells that become NaN are those that see it. Over
    all columns of one stride, the middle of these cells is the column's place on the grid.

    Parameters
    ----------
    module : torch.nn.Module
        Copied: the copy runs on the CPU in double precision, whose convolutions take no short cuts
        over windows.
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
        probe = copy.deepcopy(module).cpu().double().eval()
    except Exception:  # a network that holds parts of a graph, say
        return dict.fromkeys(layers)
    inputs = torch.ones(1, channels, _HEIGHT, _LENGTH, dtype=torch.float64)
    clean = _blind_columns(probe, layers, inputs)
    strides = {
        name: round(_LENGTH / len(blind))
        for name, blind in clean.items()
        if len(blind) >= _LENGTH / _MOST_STRIDE and not blind.any()
    }
    centers: dict[str, CellCenters | None] = dict.fromkeys(layers)
    middles: dict[str, list[float]] = {name: [] for name in strides}
    begin, column = _LENGTH // 2, 0
    while middles:
        marked = inputs.clone()
        marked[..., begin + column] = torch.nan
        blind = _blind_columns(probe, list(middles), marked)
        for name in list(middles):
            cells = blind[name].nonzero().flatten().tolist()
            if not cells or cells[0] == 0 or cells[-1] == len(blind[name]) - 1:
                del middles[name]
                continue
            middles[name].append((cells[0] + cells[-1]) / 2)
            if len(middles[name]) == (stride := strides[name]):
                place = sum(middles.pop(name)) / stride
                first = begin + (stride - 1) / 2 - stride * place
                centers[name] = CellCenters(first, float(stride))
        column += 1
    return centers


def _blind_columns(probe: nn.Module, layers: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    """Tell which columns of the layers' grids are NaN: (w,) bool."""
    blind: dict[str, Tensor] = {}

    def observe(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            channels_last = grid_axes(output, (_HEIGHT, _LENGTH)) == (1, 2)
            grid = output.movedim(3, 1) if channels_last else output
            blind[name] = grid.isnan().any(dim=0).any(dim=0).any(dim=0)
        if len(blind) == len(layers):
            raise _AllSeen

    try:
        with observing(probe, layers, observe), torch.no_grad():
            probe(inputs)
    except Exception:  # of the network's own, of any type
        pass  # what comes behind the layers may not take this shape, and does not matter
    return blind


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
        Bilinear between centers; beyond the outermost the border's values go on.
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
