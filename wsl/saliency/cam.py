"""Class activation maps: the channels of a layer, weighted for a class.

They are as coarse as the layer's grid, and are interpolated to the input's size. Only the part of
the network behind the layer is differentiated, so K classes cost one forward pass and K short
backward passes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod
from wsl.saliency.gradient import slot_gradients
from wsl.saliency.layers import as_grid, last_grid_layer, recording
from wsl.saliency.rules import graph_nodes, node_name

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


class _LayerMethod(SaliencyMethod):
    """What the methods share; see the methods."""

    layer: str | None = None
    """Name of the layer in the network, such as ``layer4``; null: the last one with positions."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Sum each slot's weighted channels.

        Raises
        ------
        ModelError
            If the layer is unknown or has no positions, or the method is not defined there.
        """
        layer = self.layer or last_grid_layer(classifier, tuple(inputs.shape[1:]))
        with recording(classifier.module, [layer], as_leaf=True) as recorded:
            scores = classifier.scores(inputs)
        output = recorded[layer]
        size = (inputs.shape[-2], inputs.shape[-1])
        # Under autocast a layer's output is bfloat16, too coarse for sums of many channels.
        exact = torch.promote_types(output.dtype, torch.float32)
        grid = as_grid(output.detach(), size, layer=layer).to(exact)
        self._check_scores(scores, layer)

        def of(classes: Tensor) -> Iterator[tuple[int, Tensor]]:
            for slot, (gradient,) in slot_gradients(scores, classes, [output]):
                slopes = as_grid(gradient, size, layer=layer).to(exact)
                yield slot, (self._weights(slopes, layer) * grid).sum(dim=1, keepdim=True)

        return Attributions(scores.detach(), of)

    @abstractmethod
    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        """Weights of the channels, (N, C, 1, 1), or of channels and positions, (N, C, h, w)."""

    def _check_scores(self, scores: Tensor, layer: str) -> None:
        """Refuse what the method is not defined for."""


class Cam(_LayerMethod):
    """What each position adds to the score.

    Defined where the score is linear in the layer's mean over its positions: ``b + sum of w[k] *
    mean(A[k])``, as in networks that end in global average pooling and a linear layer. The map is
    ``sum of w[k] * A[k]``, whose mean is the score without its bias. Other networks are refused:
    see `GradCam`.
    """

    summary: ClassVar = (
        "Class activation map, of networks that end in average pooling and a linear layer."
    )
    reference: ClassVar = "Zhou et al. 2016, arXiv:1512.04150"

    method: Literal["cam"] = "cam"
    """The saliency method."""

    def _check_scores(self, scores: Tensor, layer: str) -> None:
        between = sorted({node_name(n) for n in graph_nodes(scores) if not _is_linear(n)})
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
    """Channels weighted by their gradient's mean over the positions (eq. 1 and 2)."""

    summary: ClassVar = "A layer's channels, weighted by their mean gradient."
    reference: ClassVar = "Selvaraju et al. 2017, arXiv:1610.02391"

    method: Literal["grad_cam"] = "grad_cam"
    """The saliency method."""

    def _weights(self, gradients: Tensor, layer: str) -> Tensor:
        return gradients.mean(dim=(2, 3), keepdim=True)


class LayerCam(_LayerMethod):
    """Each position of each channel weighted by its gradient where that is positive (eq. 5 to 7).

    Unlike Grad-CAM it keeps its meaning at early layers, with finer grids.
    """

    summary: ClassVar = "A layer's channels, weighted at each position by the gradient there."
    reference: ClassVar = "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943"

    method: Literal["layer_cam"] = "layer_cam"
    """The saliency method."""

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
