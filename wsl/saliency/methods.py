"""From the name of a saliency method to the method.

The table can be read without torch; a builder imports what it builds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from wsl.errors import ConfigError, choices_hint

if TYPE_CHECKING:
    from wsl.saliency.base import SaliencyMethod
    from wsl.saliency.options import SaliencyOptions
    from wsl.saliency.rules import RuleName

__all__ = ["CLASS_MODEL", "METHODS", "Method", "build_method", "check_method", "method_lines"]


@dataclass(frozen=True)
class Method:
    """A saliency method of the configuration.

    Attributes
    ----------
    summary : str
        One line.
    reference : str
    build : callable
        From `SaliencyOptions` to a `SaliencyMethod`.
    options : tuple of str
        Fields of `SaliencyOptions` that the method uses, beside ``method`` and ``views``.
    """

    summary: str
    reference: str
    build: Callable[[SaliencyOptions], SaliencyMethod]
    options: tuple[str, ...]


def build_method(options: SaliencyOptions) -> SaliencyMethod:
    """Bind a method's options; the views are the caller's part."""
    return METHODS[options.method].build(options)


def _gradient(rule: RuleName) -> Callable[[SaliencyOptions], SaliencyMethod]:
    def build(options: SaliencyOptions) -> SaliencyMethod:
        from wsl.saliency.gradient import gradient_saliency

        return partial(
            gradient_saliency,
            rule=rule,
            modifier=options.modifier,
            reduction=options.reduction,
            non_relu=options.non_relu,
        )

    return build


def _input_x_gradient(options: SaliencyOptions) -> SaliencyMethod:
    from wsl.saliency.averages import InputXGradient

    return _estimated(InputXGradient(), options)


def _smoothgrad(options: SaliencyOptions) -> SaliencyMethod:
    from wsl.saliency.averages import SmoothGrad

    return _estimated(SmoothGrad(**options.smoothgrad.model_dump()), options, wrt="pixel")


def _integrated_gradients(options: SaliencyOptions) -> SaliencyMethod:
    from wsl.saliency.averages import integrated_gradients_saliency

    own = options.integrated_gradients
    return partial(
        integrated_gradients_saliency,
        steps=own.steps,
        start=own.baseline,
        tolerance=own.tolerance,
        modifier=options.modifier,
        reduction=options.reduction,
    )


def _cam(name: str) -> Callable[[SaliencyOptions], SaliencyMethod]:
    def build(options: SaliencyOptions) -> SaliencyMethod:
        from wsl.saliency import cam
        from wsl.saliency.gradient import class_maps

        estimator = getattr(cam, name)(layer=options.cam.layer)
        return partial(class_maps, estimator=estimator, modifier="positive")

    return build


def _occlusion(options: SaliencyOptions) -> SaliencyMethod:
    from wsl.saliency.occlusion import occlusion_saliency

    return partial(occlusion_saliency, **options.occlusion.model_dump())


def _fused(options: SaliencyOptions) -> SaliencyMethod:
    from wsl.saliency.gradient import class_maps
    from wsl.saliency.layercam_fusion import LayerCamFusion

    estimator = LayerCamFusion(**options.layercam_fusion.model_dump())
    return partial(class_maps, estimator=estimator, modifier="positive")


def _estimated(estimator: Any, options: SaliencyOptions, **more: Any) -> SaliencyMethod:
    from wsl.saliency.gradient import class_maps

    return partial(
        class_maps,
        estimator=estimator,
        modifier=options.modifier,
        reduction=options.reduction,
        prepared=True,
        **more,
    )


METHODS: dict[str, Method] = {
    "gradient": Method(
        "Gradient of the class score with respect to the pixels.",
        "Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034",
        _gradient("gradient"),
        ("modifier", "reduction"),
    ),
    "deconvnet": Method(
        "Deconvnet: the signal is rectified on its way back, whatever the forward pass did.",
        "Zeiler, Fergus 2014, arXiv:1311.2901",
        _gradient("deconvnet"),
        ("modifier", "reduction", "non_relu"),
    ),
    "guided_backprop": Method(
        "Guided backpropagation: the signal is rectified and gated by the forward pass.",
        "Springenberg et al. 2015, arXiv:1412.6806",
        _gradient("guided_backprop"),
        ("modifier", "reduction", "non_relu"),
    ),
    "input_x_gradient": Method(
        "Normalized input times gradient.",
        "Shrikumar et al. 2016, arXiv:1605.01713",
        _input_x_gradient,
        ("modifier", "reduction"),
    ),
    "smoothgrad": Method(
        "Gradients averaged over noisy copies of the image.",
        "Smilkov et al. 2017, arXiv:1706.03825",
        _smoothgrad,
        ("modifier", "reduction", "smoothgrad"),
    ),
    "integrated_gradients": Method(
        "Gradients integrated on the way from a baseline to the image.",
        "Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
        _integrated_gradients,
        ("modifier", "reduction", "integrated_gradients"),
    ),
    "cam": Method(
        "Class activation map, of networks that end in average pooling and a linear layer.",
        "Zhou et al. 2016, arXiv:1512.04150",
        _cam("Cam"),
        ("cam",),
    ),
    "grad_cam": Method(
        "A layer's channels, weighted by their mean gradient.",
        "Selvaraju et al. 2017, arXiv:1610.02391",
        _cam("GradCam"),
        ("cam",),
    ),
    "layer_cam": Method(
        "A layer's channels, weighted at each position by the gradient there.",
        "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
        _cam("LayerCam"),
        ("cam",),
    ),
    "occlusion": Method(
        "What a mask at each place takes from the class score.",
        "Zeiler, Fergus 2014, arXiv:1311.2901",
        _occlusion,
        ("occlusion",),
    ),
    "layercam_fusion": Method(
        "Layers' channels and the smoothed gradient, brought into register and added.",
        "after Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
        _fused,
        ("layercam_fusion",),
    ),
}

CLASS_MODEL = "activation_maximization"
"""What `wsl visualize` calls `class_models`, which explain no image and are no `METHODS`."""


def method_lines() -> list[tuple[str, str, str]]:
    """Name, summary and reference of everything that can be drawn."""
    lines = [(name, method.summary, method.reference) for name, method in METHODS.items()]
    model = ("Image that a class likes best.", METHODS["gradient"].reference)
    return [*lines, (CLASS_MODEL, *model)]


def check_method(name: str) -> None:
    """Refuse a method that there is not.

    Raises
    ------
    ConfigError
    """
    names = [known for known, _, _ in method_lines()]
    if name not in names:
        raise ConfigError(f"there is no method {name!r}. {choices_hint(name, names)}")
