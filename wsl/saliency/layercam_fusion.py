"""Class activation at several layers, fused with the gradient: coarse and sure with fine and noisy.

Late layers know which object it is and see it on a coarse grid; earlier ones and the gradient see
its parts and outline, and much else. Each map is brought to the input's pixels by the centers of
its cells (`alignment`) and to a maximum of 1; a root evens out their peaks; their sum is high
where several agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.alignment import aligned, cell_centers
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.gradient import slot_gradients
from wsl.saliency.layers import as_grid, grid_layers, recording


class FusionOptions(SaliencyMethod):
    """Options of how maps are fused."""

    gradient: bool = True
    """Whether the input's gradient is a member beside the layers: the largest channel's magnitude,
    less its minimum, smoothed."""

    smoothing: float = Field(default=0.027, ge=0, le=1)
    """Standard deviation of the Gaussian over the gradient, as a fraction of the input's side."""

    power: float = Field(default=0.5, gt=0, le=1)
    """Exponent of each member, of maximum 1, before they are added: less evens out the peaks."""


class LayerCamFusion(FusionOptions):
    """Sum of the roots of LayerCAMs of several layers and of the smoothed gradient, in [0, 1].

    Where a layer has both signs (SiLU, GELU, residual streams, tokens) only what is above 0 counts:
    a positive slope times a negative output would cancel what speaks for the class elsewhere.

    One forward pass for all classes, and one backward pass for each.
    """

    summary: ClassVar = "Layers' channels and the smoothed gradient, aligned and added."
    reference: ClassVar = "after Jiang et al. 2021, doi:10.1109/TIP.2021.3089943"

    method: Literal["layercam_fusion"] = "layercam_fusion"
    """The saliency method."""

    layers: tuple[str, ...] = ()
    """Names of the layers in the network; none: the last of each of its three coarsest grids of at
    least 7 x 7 cells."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Fuse each slot's members."""
        layers = self.layers or grid_layers(classifier, tuple(inputs.shape[1:]))
        centers = cell_centers(classifier.module, layers, channels=inputs.shape[1])
        size = (inputs.shape[-2], inputs.shape[-1])
        leaf = inputs.clone().requires_grad_()
        with recording(classifier.module, layers) as recorded:
            scores = classifier.scores(leaf)
        outputs = [recorded[layer] for layer in layers]

        def of(classes: Tensor) -> Iterator[tuple[int, Tensor]]:
            members = [*outputs, leaf] if self.gradient else outputs
            for slot, slopes in slot_gradients(scores, classes, members):
                fused = torch.zeros(1, device=inputs.device)
                if self.gradient:
                    fused = fused + self._gradient_map(slopes[-1])
                for layer, output, slope in zip(layers, outputs, slopes, strict=False):
                    grid, weights = (
                        as_grid(each, size, layer=layer).float()
                        for each in (output.detach(), slope)
                    )
                    cam = (weights.clamp_min(0) * grid.clamp_min(0)).sum(dim=1, keepdim=True)
                    fused = fused + _unit(aligned(cam, centers[layer], size)) ** self.power
                yield slot, _unit(fused - fused.amin(dim=(2, 3), keepdim=True))

        return Attributions(scores.detach(), of)

    def _gradient_map(self, gradients: Tensor) -> Tensor:
        magnitude = gradients.abs().amax(dim=1, keepdim=True)
        magnitude = magnitude - magnitude.amin(dim=(2, 3), keepdim=True)
        if self.smoothing:
            side = max(gradients.shape[2:])
            magnitude = gaussian_blur(_unit(magnitude), self.smoothing * side)
        return _unit(magnitude) ** self.power


def _unit(maps: Tensor) -> Tensor:
    """Divide maps (N, 1, h, w) by their maxima; a map of zeros stays."""
    top = maps.amax(dim=(2, 3), keepdim=True)
    return maps / top.clamp_min(torch.finfo(maps.dtype).tiny)
