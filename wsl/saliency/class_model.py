"""Class models: images that a class, a channel or a neuron of the network likes best.

Simonyan et al. 2013 sec. 2: from a zero image (the training mean), gradient ascent on the
unnormalized score with L2 decay; the training mean is added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsl.errors import ConfigError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.ascent import Ascent
from wsl.saliency.probe import Probe, Reading
from wsl.saliency.targets import TargetLike

__all__ = ["ClassModels", "Maximize", "class_models"]

Maximize = Literal["score", "posterior"]


@dataclass(frozen=True, eq=False)
class ClassModels:
    """Images that K targets like best.

    Attributes
    ----------
    inputs : Tensor of float32, shape (K, 3, h, w)
        As the network takes them: 0 is the training mean. On the CPU.
    history : Tensor of float32, shape (K, steps + 1)
        What was maximized, without the decay: before each step (with jitter, as it was seen then),
        and at the end.
    mean, std : tuple of 3 float
        Of the normalization, for `pictures`.
    """

    inputs: Tensor
    history: Tensor
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def pictures(self, *, stretch: bool = False) -> NDArray[np.uint8]:
        """Add the training mean and draw the images.

        Parameters
        ----------
        stretch : bool
            Whether each image's difference from the mean is scaled so that 99 % of its values are
            inside of the colors there are. Otherwise what lies outside is clipped.

        Returns
        -------
        ndarray of uint8, shape (K, h, w, 3)
            RGB.
        """
        mean, std = (torch.tensor(each)[:, None, None] for each in (self.mean, self.std))
        difference = self.inputs * std
        if stretch:
            # At a mean near 0.5 about as much room is above as below.
            reach = np.quantile(difference.abs().flatten(1).numpy(), 0.99, axis=1)
            scale = torch.tensor([0.45 / value if value > 0 else 1.0 for value in reach])
            difference = difference * scale.to(difference)[:, None, None, None]
        pixels = (difference + mean).clamp(0, 1) * 255
        return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def class_models(
    model: Classifier | nn.Module,
    targets: Sequence[TargetLike | str],
    ascent: Ascent | None = None,
    *,
    maximize: Maximize = "score",
    input_size: tuple[int, int] | None = None,
) -> ClassModels:
    """Find the images that targets like best, all in one batch.

    Parameters
    ----------
    model : Classifier or torch.nn.Module
        A bare module's input is taken to be normalized by ImageNet's mean and deviation, which
        matters for `ClassModels.pictures` alone.
    targets : sequence of K targets
        Classes, channels of a layer (`Filter`), neurons, and sums of them; one image each. The
        image of a target does not depend on the others.
    ascent : Ascent, optional
        How many steps of which size, the decay, and what goes beyond the paper.
    maximize : {'score', 'posterior'}
        ``score``: the target's value; of classes, before the softmax, as in the paper.
        ``posterior``: the logarithm of a class's probability, which can also be raised by lowering
        the other classes (sec. 2); classes only.
    input_size : (int, int), optional
        By default that of the classifier's preprocessing; must be given for a bare module.

    Returns
    -------
    ClassModels

    Raises
    ------
    ConfigError
        If an option is wrong.
    ModelError
        If there is no such layer.

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman. Deep inside convolutional networks: visualising image
    classification models and saliency maps. arXiv:1312.6034, 2013, sec. 2.
    """
    if maximize not in get_args(Maximize):
        raise ConfigError(f"maximize must be 'score' or 'posterior', but got {maximize!r}")
    preprocessing = model.preprocessing if isinstance(model, Classifier) else Preprocessing()
    if input_size is None:
        if not isinstance(model, Classifier):
            raise ConfigError("input_size must be given for a bare module")
        input_size = preprocessing.crop_size
    reading: Reading = "log-probability" if maximize == "posterior" else "unnormalized"
    probe = Probe(model, targets, reading=reading)

    def value(inputs: Tensor) -> Tensor:
        values, _ = probe(inputs)
        return values.diagonal()  # the k-th image is the k-th target's

    with probe.ready():
        found = (ascent or Ascent())(value, (len(probe.targets), 3, *input_size), probe.device)
    return ClassModels(
        inputs=found.image.cpu(),
        history=found.history.cpu(),
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
