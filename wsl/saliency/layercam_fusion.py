"""Class activation at several layers, fused with the gradient: coarse and sure with fine and noisy.

Late layers know which object it is and see it on a coarse grid; earlier ones and the gradient see
its parts and outline, and much else. Each map is brought to the input's pixels by the centers of
its cells (`alignment`) and to a maximum of 1; a root evens out their peaks; their sum is high
where several agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from wsl.errors import ModelError
from wsl.saliency.alignment import CellCenters, aligned, cell_centers
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.layers import as_grid, grid_layers, recording_layers
from wsl.saliency.objectives import Objective

__all__ = ["LayerCamFusion"]


class LayerCamFusion:
    """Sum of the roots of LayerCAMs of several layers and of the smoothed gradient.

    One forward pass for all slots, and one way back for each.

    Parameters
    ----------
    layers : sequence of str
        Names as in ``named_modules()``. None given: the last layer of each of the network's three
        coarsest grids of at least 7 x 7 cells, which one forward pass of one input finds.
    gradient : bool
        Whether the input's gradient is a member: the largest channel's magnitude, less its
        minimum, smoothed.
    smoothing : float
        Standard deviation of the Gaussian laid over the gradient, as a share of the input's side.
    power : float
        Exponent of each member before they are added, in (0, 1].

    References
    ----------
    P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei. LayerCAM: exploring hierarchical class
    activation maps for localization. IEEE TIP 2021.
    """

    def __init__(
        self,
        *,
        layers: Sequence[str] = (),
        gradient: bool = True,
        smoothing: float = 0.027,
        power: float = 0.5,
    ) -> None:
        self.layers = tuple(layers)
        self.gradient = gradient
        self.smoothing = smoothing
        self.power = power
        self._centers: dict[str, CellCenters | None] = {}

    def __call__(self, objective: Objective, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot's map (N, 1, H, W), in [0, 1]."""
        layers = self.layers or grid_layers(objective.module, objective.outputs, inputs)
        self._measure(objective.module, layers)
        own = inputs.clone().requires_grad_()
        with recording_layers(objective.module, layers) as recorded:
            values = objective.values(own)
        # Of each layer, an output for each part of the batch that the network saw on its own.
        count = objective.part_count(own)
        named = [(layer.name, part) for layer in recorded for part in layer.parts(count)]
        asked = [own] * self.gradient + [part for _, part in named]
        slots = objective.slots()
        for slot in slots:
            found = torch.autograd.grad(
                values[:, slot].sum(), asked, retain_graph=slot != slots[-1], allow_unused=True
            )
            fused = own.new_zeros(1)
            if self.gradient:
                fused = fused + self._gradient_map(_slopes(found[0], "the input"))
            cams: dict[str, list[Tensor]] = {}
            for (name, part), given in zip(named, found[-len(named) :], strict=True):
                slopes = _slopes(given, f"layer {name}")
                cams.setdefault(name, []).append(_layer_cam(part.detach(), slopes, own, name))
            for name, each in cams.items():
                whole = aligned(torch.cat(each), self._centers[name], _size(own))
                fused = fused + _unit(whole) ** self.power
            yield slot, _unit(fused - fused.amin(dim=(2, 3), keepdim=True))

    def _measure(self, module: nn.Module, layers: Sequence[str]) -> None:
        """Measure the layers' cells, once."""
        unknown = [name for name in layers if name not in self._centers]
        if unknown:
            self._centers |= cell_centers(module, unknown)

    def _gradient_map(self, gradients: Tensor) -> Tensor:
        magnitude = gradients.abs().amax(dim=1, keepdim=True)
        magnitude = magnitude - magnitude.amin(dim=(2, 3), keepdim=True)
        side = max(gradients.shape[2:])
        if self.smoothing:
            magnitude = gaussian_blur(_unit(magnitude), self.smoothing * side)
        return _unit(magnitude) ** self.power


def _layer_cam(outputs: Tensor, slopes: Tensor, inputs: Tensor, name: str) -> Tensor:
    """Channels weighted at each position by their slope where that is positive: (N, 1, h, w)."""
    cells, weights = (
        as_grid(each, _size(inputs), layer=name).float() for each in (outputs, slopes)
    )
    return (weights.clamp_min(0) * cells).sum(dim=1, keepdim=True).clamp_min(0)


def _size(inputs: Tensor) -> tuple[int, int]:
    return inputs.shape[-2], inputs.shape[-1]


def _slopes(slopes: Tensor | None, what: str) -> Tensor:
    """Return the gradient of a member, which must be there.

    Raises
    ------
    ModelError
        If the score does not depend on it.
    """
    if slopes is None:
        raise ModelError(f"the class scores must depend on {what}, but do not: name another layer")
    return slopes


def _unit(maps: Tensor) -> Tensor:
    """Divide maps (N, 1, h, w) by their maxima; a map of zeros stays."""
    top = maps.amax(dim=(2, 3), keepdim=True)
    return maps / top.clamp_min(torch.finfo(maps.dtype).tiny)
