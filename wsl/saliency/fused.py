"""Class activation at several layers, fused with the gradient: coarse and sure with fine and noisy.

Late layers know which object it is and see it on a coarse grid; earlier ones and the gradient see
its parts and outline, and much else. Each map is brought to the input's pixels by the centres of
its cells (`registration`) and to a maximum of 1; a root evens out their peaks; their sum is high
where several agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from wsl.errors import ModelError
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.layers import as_grid, grid_layers, recording_layers
from wsl.saliency.objectives import Objective
from wsl.saliency.registration import CellCentres, cell_centres, registered

__all__ = ["Fused"]


class Fused:
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
        self._centres: dict[str, CellCentres | None] = {}

    def __call__(self, objective: Objective, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot's map (N, 1, H, W), in [0, 1]."""
        layers = self.layers or grid_layers(objective.module, objective.outputs, inputs)
        self._measure(objective.module, layers)
        own = inputs.clone().requires_grad_()
        with recording_layers(objective.module, layers) as recorded:
            values = objective.values(own)
        # Of each layer, an output for each part of the batch that the network saw on its own.
        count = objective.part_count(own)
        outputs = {layer.name: layer.parts(count) for layer in recorded}
        activations = {name: torch.cat(parts).detach() for name, parts in outputs.items()}
        asked = [own] * self.gradient + [part for parts in outputs.values() for part in parts]
        slots = objective.slots()
        for slot in slots:
            found = list(
                torch.autograd.grad(
                    values[:, slot].sum(), asked, retain_graph=slot != slots[-1], allow_unused=True
                )
            )
            fused = own.new_zeros(1)
            if self.gradient:
                fused = fused + self._gradient_map(_joined([found.pop(0)], "the input"))
            for name, cells in activations.items():
                slopes = _joined([found.pop(0) for _ in range(count)], f"layer {name}")
                fused = fused + self._layer_map(name, cells, slopes, own.shape[2:])
            yield slot, _unit(fused - fused.amin(dim=(2, 3), keepdim=True))

    def _measure(self, module: nn.Module, layers: Sequence[str]) -> None:
        """Measure the layers' cells, once."""
        unknown = [name for name in layers if name not in self._centres]
        if unknown:
            self._centres |= cell_centres(module, unknown)

    def _gradient_map(self, gradients: Tensor) -> Tensor:
        magnitude = gradients.abs().amax(dim=1, keepdim=True)
        magnitude = magnitude - magnitude.amin(dim=(2, 3), keepdim=True)
        side = max(gradients.shape[2:])
        if self.smoothing:
            magnitude = gaussian_blur(_unit(magnitude), self.smoothing * side)
        return _unit(magnitude) ** self.power

    def _layer_map(self, name: str, outputs: Tensor, slopes: Tensor, size: torch.Size) -> Tensor:
        height, width = size
        cells, weights = (
            as_grid(each, (height, width), layer=name).float() for each in (outputs, slopes)
        )
        cam = (weights.clamp_min(0) * cells).sum(dim=1, keepdim=True).clamp_min(0)
        return _unit(registered(cam, self._centres[name], (height, width))) ** self.power


def _joined(slopes: Sequence[Tensor | None], what: str) -> Tensor:
    """Join the gradients of a member's parts, which must be there.

    Raises
    ------
    ModelError
        If the score does not depend on them.
    """
    found = [slope for slope in slopes if slope is not None]
    if len(found) < len(slopes):
        raise ModelError(f"the class scores must depend on {what}, but do not: name another layer")
    return torch.cat(found)


def _unit(maps: Tensor) -> Tensor:
    """Divide maps (N, 1, h, w) by their maxima; a map of zeros stays."""
    top = maps.amax(dim=(2, 3), keepdim=True)
    return maps / top.clamp_min(torch.finfo(maps.dtype).tiny)
