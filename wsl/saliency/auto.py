"""The recommended map of any network, without naming a layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from wsl.models.classifier import Classifier
from wsl.progress import Progress
from wsl.saliency.attention import AttentionRollout, reads_class_token
from wsl.saliency.base import SILENT, Attributions
from wsl.saliency.layercam_fusion import FusionOptions, LayerCamFusion


class Auto(FusionOptions):
    """`AttentionRollout` where scores are read from a class token, else `LayerCamFusion`.

    Which of them is measured once per network. The options are those of the fusion.
    """

    summary: ClassVar = "Attention rollout of networks with a class token, else LayerCAM fusion."
    reference: ClassVar = "arXiv:2103.15679; doi:10.1109/TIP.2021.3089943"

    method: Literal["auto"] = "auto"
    """The saliency method."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Attribute by the method that fits the network."""
        if reads_class_token(classifier, tuple(inputs.shape[1:])):
            return AttentionRollout().attributions(classifier, inputs)
        fusion = LayerCamFusion(gradient=self.gradient, smoothing=self.smoothing, power=self.power)
        return fusion.attributions(classifier, inputs)
