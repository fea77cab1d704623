"""Class activation maps: the channels of a layer, weighted for a class.

They are as coarse as the layer's grid, and are interpolated to the input's size. Only the part of
the network behind the layer is differentiated, so K classes cost one forward pass and K short ways
back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wsl.errors import ModelError
from wsl.saliency.layers import as_grid, last_grid_layer, recording_layer
from wsl.saliency.objectives import Objective
from wsl.saliency.rules import graph_nodes, node_name

__all__ = ["Cam", "GradCam", "LayerCam"]

# Operations that are linear (or affine) in their one input that depends on the layer.
_PRODUCTS = frozenset(
    ["Addmm", "Addmv", "Baddbmm", "Bmm", "Convolution", "Linear", "Mm", "Mul", "Mv"]
)
_MEANS = frozenset(
    ["AdaptiveAvgPool2D", "AvgPool2D", "MkldnnAdaptiveAvgPool2D", "Mean", "Sum", "Neg"]
)
_NORMS = frozenset(["CudnnBatchNorm", "MiopenBatchNorm", "NativeBatchNorm"])  # in evaluation mode
_REARRANGED = frozenset(
    [
        "Alias",
        "AsStrided",
        "Clone",
        "Expand",
        "Gather",
        "Index",
        "Permute",
        "ReshapeAlias",
        "Select",
    ]
).union(["Slice", "Squeeze", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View"])
_LINEAR = _PRODUCTS | _MEANS | _NORMS | _REARRANGED
_LINEAR_IN_ALL = frozenset(["Add", "Cat", "Stack", "Sub"])
_ENDS = ("torch::autograd::AccumulateGrad",)


@dataclass(frozen=True)
class _LayerMethod(ABC):
    """What the methods share; see the methods.

    Attributes
    ----------
    layer : str or None
        Name of the layer as in ``named_modules()``; by default the last one whose output has
        positions, which one more forward pass of one input finds.
    """

    layer: str | None = None

    def __call__(self, objective: Objective, inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each slot's map (N, 1, h, w), with its sign; see `Estimator`.

        Raises
        ------
        ModelError
            If the layer is unknown or has no positions, or the method is not defined there.
        """
        layer = self.layer or last_grid_layer(objective.module, objective.outputs, inputs)
        with recording_layer(objective.module, layer, as_leaf=True) as recorded:
            values = objective.values(inputs)
        parts = recorded.parts(objective.part_count(inputs))
        activations = torch.cat([part.detach() for part in parts])
        size = (inputs.shape[-2], inputs.shape[-1])
        # Under autocast a layer's output is bfloat16, too coarse for sums of many channels.
        exact = torch.promote_types(activations.dtype, torch.float32)
        grid = as_grid(activations, size, layer=layer).to(exact)
        self._check_values(values, layer)
        for slot, gradients in objective.gradients(values, parts):
            slopes = as_grid(gradients, size, layer=layer).to(exact)
            yield slot, (self._weights(slopes, layer) * grid).sum(dim=1, keepdim=True)

    @abstractmethod
    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        """Weights of the channels, (N, C, 1, 1), or of channels and positions, (N, C, h, w)."""

    def _check_values(self, values: Tensor, layer: str) -> None:  # noqa: B027 most refuse nothing
        """Refuse what the method is not defined for."""


class Cam(_LayerMethod):
    """Class activation map: what each position adds to the score.

    Defined where the score is linear in the layer's mean over its positions: ``b + sum of w[k] *
    mean(A[k])``, as in networks that end in global average pooling and a linear layer. The map is
    ``sum of w[k] * A[k]``, whose mean is the score without its bias. Of other networks it is
    refused: see `GradCam`.

    Its sign is kept here: positions below 0 speak against the class. Maps of runs are cut at 0.

    References
    ----------
    B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba. Learning deep features for
    discriminative localization. CVPR 2016.
    """

    def _check_values(self, values: Tensor, layer: str) -> None:
        between = sorted({node_name(n) for n in graph_nodes(values) if not _is_linear(n)})
        if between:
            raise ModelError(
                "a class activation map needs scores that are linear in the mean over positions of "
                f"layer {layer}, but behind it the network has {', '.join(between)}; name a later "
                "layer, or use grad_cam, which is defined for any network"
            )

    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        mean = gradients.mean(dim=(2, 3), keepdim=True)
        spread = (gradients - mean).abs().amax()
        if spread > 1e-4 * gradients.abs().amax():
            raise ModelError(
                f"a class activation map needs a mean over the positions of layer {layer}, but "
                "behind it the network weights positions differently (flattened into a linear "
                "layer?); use grad_cam, which is defined for any network"
            )
        return mean * (gradients.shape[2] * gradients.shape[3])


class GradCam(_LayerMethod):
    """Grad-CAM: channels weighted by their gradient's mean over the positions.

    Its sign is kept here; maps of runs are cut at 0, as in the paper.

    References
    ----------
    R. Selvaraju et al. Grad-CAM: visual explanations from deep networks via gradient-based
    localization. ICCV 2017, eq. 1 and 2.
    """

    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        return gradients.mean(dim=(2, 3), keepdim=True)


class LayerCam(_LayerMethod):
    """LayerCAM: each position of each channel weighted by its own gradient where that is positive.

    Unlike Grad-CAM it keeps its meaning at early layers, with finer grids.

    References
    ----------
    P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei. LayerCAM: exploring hierarchical class
    activation maps for localization. IEEE TIP 2021, eq. 5 to 7.
    """

    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        return gradients.clamp_min(0)


def _is_linear(node: Any) -> bool:
    name = node_name(node)
    if name in _LINEAR_IN_ALL or node.name() in _ENDS:
        return True
    dependent = sum(following is not None for following, _ in node.next_functions)
    if name == "Div":  # not by what depends on the layer
        return dependent == 1 and node.next_functions[0][0] is not None
    if name in _NORMS and getattr(node, "_saved_training", False):
        return False
    return name in _LINEAR and dependent == 1
