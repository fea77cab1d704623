"""Options of the way from a classifier to saliency maps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from wsl.config import Options
from wsl.saliency.methods import METHODS
from wsl.saliency.views import ViewOptions

__all__ = [
    "CamOptions",
    "ClassModelOptions",
    "IntegratedGradientsOptions",
    "LayerCamFusionOptions",
    "MethodName",
    "OcclusionOptions",
    "Reduction",
    "SaliencyOptions",
    "SmoothGradOptions",
]

MethodName = Literal[
    "gradient",
    "deconvnet",
    "guided_backprop",
    "input_x_gradient",
    "smoothgrad",
    "integrated_gradients",
    "cam",
    "grad_cam",
    "layer_cam",
    "occlusion",
    "layercam_fusion",
]
Reduction = Literal["max", "mean", "l2"]


class SmoothGradOptions(Options):
    """Of the method ``smoothgrad``."""

    samples: PositiveInt = 25
    """Noisy copies of the input; one forward pass each."""

    noise: NonNegativeFloat = 0.15
    """Standard deviation of the noise, as a share of the input's range."""

    statistic: Literal["mean", "squared", "variance"] = "mean"
    """What becomes of the copies' gradients: their mean, the mean of their squares, or their
    variance."""

    seed: int = Field(default=0, ge=0)
    """Of the noise, which is the same for all images but for its scale."""


class IntegratedGradientsOptions(Options):
    """Of the method ``integrated_gradients``."""

    steps: PositiveInt = 50
    """Points on the path from the baseline to the image; one forward pass each."""

    baseline: Literal["black", "mean"] = "black"
    """Where the path starts: a black image, or one of the mean color."""

    tolerance: PositiveFloat | None = None
    """Stop where the attributions' sum misses the score's rise along the path by more than this
    share of it (0.25, say; more steps are needed then); null does not check."""


class CamOptions(Options):
    """Of the methods ``cam``, ``grad_cam`` and ``layer_cam``."""

    layer: str | None = None
    """Name of the layer in the network, such as ``layer4``; null: the last one with positions."""


Level = Annotated[int, Field(ge=0, le=255)]


class OcclusionOptions(Options):
    """Of the method ``occlusion``."""

    size: PositiveInt = 45
    """Side of the square mask, in pixels of the classifier's input."""

    stride: PositiveInt = 8
    """From one mask to the next, in pixels; one forward pass each. 1 gives every pixel its own."""

    fill: Literal["gray", "mean", "blurred", "noise"] | tuple[Level, Level, Level] = "gray"
    """What shows through the mask: ``gray`` is 128 in each channel; ``mean`` the color mean of the
    training images; ``blurred`` the image itself, blurred; ``noise`` normal noise with the mean
    and deviation of the training images; three numbers from 0 to 255 a color, RGB."""

    score: Literal["unnormalized", "probability"] = "unnormalized"
    """What drops: the class score before the softmax, or after it."""

    batch_size: PositiveInt = 64
    """Masked images per forward pass of the network; changes nothing but memory and speed."""

    seed: int = Field(default=0, ge=0)
    """Of the fill ``noise``, which is the same for all images."""


class ClassModelOptions(Options):
    """Of class models; what each means in full is said of `wsl.saliency.ascent.Ascent`."""

    steps: PositiveInt = 200
    """Of gradient ascent."""

    step_size: PositiveFloat = 0.05
    """``normalized``: how much the first step changes a pixel, on average, in the units of the
    normalized input. ``plain``: what the gradient is multiplied by."""

    rule: Literal["normalized", "gradient"] = "normalized"
    """``normalized``: steps of a length that falls evenly to zero, along the gradient. ``plain``:
    steps as long as the gradient."""

    decay: NonNegativeFloat = 1e-2
    """The weight of the image's sum of squares, which is taken from the score."""

    jitter: NonNegativeInt = 0
    """Beyond the paper: the image is rolled by up to so many pixels, anew at each step."""

    blur: NonNegativeFloat = 0.0
    """Beyond the paper: standard deviation in pixels of a blur between steps; 0 for none."""

    blur_every: PositiveInt = 4
    """Steps from one blur to the next."""

    scales: PositiveInt = 1
    """Beyond the paper: the image begins coarse and is stretched so many times, less one."""

    scale_factor: float = Field(default=1.4, ge=1)
    """From one scale to the next."""

    seed: int = Field(default=0, ge=0)
    """Of what is random: the jitter, and the way out where the score has no gradient."""

    maximize: Literal["score", "posterior"] = "score"
    """``score``: before the softmax, as in the paper. ``posterior``: the logarithm of the class's
    probability, which lowering the other classes raises too."""


class LayerCamFusionOptions(Options):
    """Of the method ``layercam_fusion``."""

    layers: tuple[str, ...] = ()
    """Names of the layers in the network; none: the last of each of its three coarsest grids."""

    gradient: bool = True
    """Whether the smoothed gradient of the input is a member beside the layers."""

    smoothing: float = Field(default=0.027, ge=0, le=1)
    """Standard deviation of the Gaussian over the gradient, as a share of the input's side."""

    power: float = Field(default=0.5, gt=0, le=1)
    """Exponent of each member, of maximum 1, before they are added: less evens out the peaks."""


class SaliencyOptions(Options):
    """Which saliency map, from which views."""

    method: MethodName = "gradient"
    """``gradient``: absolute gradient of the unnormalized class score (Simonyan et al. 2013).
    ``deconvnet``: deconvnet. ``guided_backprop``: guided backpropagation. ``input_x_gradient``.
    ``smoothgrad``. ``integrated_gradients``. ``cam``, ``grad_cam``, ``layer_cam``: class activation
    maps. ``occlusion``: what masks at each place take from the score. ``layercam_fusion``: class
    activation at several layers with the gradient."""

    modifier: Literal["absolute", "positive", "negate", "invert", "small_values"] = "absolute"
    """What is done to each gradient g: |g|; max(g, 0); -g; 1 / (g + 1e-7); |1 / (g + 1e-7)|. Of
    what is left after the reduction, values below 0 become 0."""

    reduction: Reduction = "max"
    """How the color channels become one: ``max`` as in the paper, ``mean``, or ``l2``, the root of
    the sum of squares."""

    non_relu: Literal["gradient", "rule"] | None = None
    """What ``deconvnet`` and ``guided_backprop`` do at activations without a gate (GELU, SiLU,
    sigmoid): ``gradient`` keeps the derivative, ``rule`` applies the rule with the derivative in
    the gate's place; null refuses networks with such activations."""

    smoothgrad: SmoothGradOptions = Field(default_factory=SmoothGradOptions)
    """Of the method of that name."""

    integrated_gradients: IntegratedGradientsOptions = Field(
        default_factory=IntegratedGradientsOptions
    )
    """Of the method of that name."""

    cam: CamOptions = Field(default_factory=CamOptions)
    """Of ``cam``, ``grad_cam`` and ``layer_cam``."""

    occlusion: OcclusionOptions = Field(default_factory=OcclusionOptions)
    """Of the method of that name."""

    layercam_fusion: LayerCamFusionOptions = Field(default_factory=LayerCamFusionOptions)
    """Of the method of that name."""

    views: ViewOptions = Field(default_factory=ViewOptions)
    """What the classifier sees of an image; the maps of several views are averaged."""

    @model_validator(mode="after")
    def _only_the_methods_own(self) -> SaliencyOptions:
        """Refuse options that would do nothing. At their defaults they may be there."""
        default = type(self).model_fields
        shared = {"method", "views", *METHODS[self.method].options}
        for name in default.keys() - shared:
            if getattr(self, name) != default[name].get_default(call_default_factory=True):
                users = [key for key, method in METHODS.items() if name in method.options]
                raise ValueError(
                    f"{name} must not be set for method {self.method}, which does not use it; "
                    f"it belongs to {', '.join(users)}"
                )
        return self
