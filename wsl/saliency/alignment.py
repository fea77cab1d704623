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

from wsl.saliency.layers import measured_once, observing

__all__ = ["CellCenters", "aligned", "cell_centers"]

# The probe's input: a strip long enough that receptive fields of 500 pixels do not reach its ends.
_HEIGHT, _LENGTH = 64, 768


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
        Names as in ``named_modules()``, of layers that return (N, C, h, w).
    channels : int
        Of the network's input.

    Returns
    -------
    dict of str to CellCenters or None
        The same along both axes. None where that cannot be told: a cell sees everything
        (squeeze-and-excitation, attention), or the network takes no input of this shape.
    """
    key = ("cell_centers", tuple(layers))
    return measured_once(module, key, lambda: _measure(module, layers, channels))


def _measure(
    module: nn.Module, layers: Sequence[str], channels: int
) -> dict[str, CellCenters | None]:
    probe = copy.deepcopy(module).cpu().double().eval()
    inputs = torch.ones(1, channels, _HEIGHT, _LENGTH, dtype=torch.float64)
    clean = _blind_columns(probe, layers, inputs)
    strides = {
        name: round(_LENGTH / len(blind))
        for name, blind in clean.items()
        if len(blind) > 1 and not blind.any()
    }
    if not strides:
        return dict.fromkeys(layers)
    columns = range(_LENGTH // 2, _LENGTH // 2 + max(strides.values()))
    seen = []
    for column in columns:
        marked = inputs.clone()
        marked[..., column] = torch.nan
        seen.append(_blind_columns(probe, list(strides), marked))
    return {
        name: _fitted([each[name] for each in seen], columns, strides[name])
        if name in strides
        else None
        for name in layers
    }


def _blind_columns(probe: nn.Module, layers: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    """Tell which columns of the layers' grids are NaN: (w,) bool."""
    blind: dict[str, Tensor] = {}

    def observe(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            blind[name] = output.isnan().any(dim=0).any(dim=0).any(dim=0)
        if len(blind) == len(layers):
            raise _AllSeen

    try:
        with observing(probe, layers, observe), torch.no_grad():
            probe(inputs)
    except (_AllSeen, RuntimeError, ValueError):
        pass  # what comes behind the layers may not take this shape, and does not matter
    return blind


class _AllSeen(Exception):  # noqa: N818 no error: it ends a forward pass early
    """Every layer has run."""


def _fitted(seen: Sequence[Tensor], columns: range, stride: int) -> CellCenters | None:
    middles = []
    for blind in seen[:stride]:
        cells = blind.nonzero().flatten().tolist()
        if not cells or cells[0] == 0 or cells[-1] == len(blind) - 1:
            return None
        middles.append((cells[0] + cells[-1]) / 2)
    place = sum(middles) / len(middles)
    return CellCenters(sum(columns[:stride]) / stride - stride * place, float(stride))


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
        along = centers or CellCenters.dividing(cells, pixels)
        places = (torch.arange(pixels, device=maps.device) - along.first) / along.stride
        # grid_sample's -1 and 1 are the centers of the first and the last cell.
        axes.append((2 * places / max(cells - 1, 1) - 1).to(maps.dtype))
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)
