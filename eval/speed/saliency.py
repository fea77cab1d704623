"""Saliency: top-5 maps of a batch, beside other ways to them and beside the floor."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

from eval.speed.measure import TOP_K, batch_of, classifier_of, in_turns, medians, ratio

NETWORKS = ("squeezenet1_0", "mobilenet_v2", "resnet50")


def saliency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Top-5 maps of a batch, by network."""
    import torch

    torch.set_num_threads(arguments.threads)
    networks = NETWORKS[:2] if arguments.quick else NETWORKS
    found = {
        name: saliency_of(name, arguments, repetitions=1 if arguments.quick else 3)
        for name in networks
    }
    return {"batch": arguments.batch, "classes": TOP_K, **found}


def saliency_of(name: str, arguments: argparse.Namespace, *, repetitions: int) -> dict[str, Any]:
    """Compare the ways to the top-5 maps of one network."""
    import torch
    from captum.attr import Saliency

    classifier = classifier_of(name, arguments)
    module = copy.deepcopy(classifier.module).eval()
    inputs = batch_of(arguments, classifier)
    with torch.no_grad():
        best = module(inputs).topk(TOP_K).indices
    attributor = Saliency(module)

    def per_class() -> torch.Tensor:
        maps = [attributor.attribute(inputs, target=best[:, k]) for k in range(TOP_K)]
        return torch.stack(maps, dim=1).amax(dim=2)

    def naive() -> None:
        for k in range(TOP_K):
            leaf = inputs.clone().requires_grad_()
            module(leaf).gather(1, best[:, k : k + 1]).sum().backward()

    @torch.no_grad()
    def floor() -> None:
        for _ in range(1 + TOP_K):
            module(inputs)

    def ours() -> torch.Tensor:
        return maps_of(classifier, inputs)

    times = in_turns(
        {
            "wsl": ours,
            "captum": per_class,
            "naive loop": naive,
            "floor": floor,
        },
        repetitions,
    )
    # wsl's gradients are of pixels in [0, 1].
    std = torch.tensor(classifier.preprocessing.std)[:, None, None]
    maps = [attributor.attribute(inputs, target=best[:, k]) / std for k in range(TOP_K)]
    expected = torch.stack(maps, dim=1).amax(dim=2).flatten(1)
    return {
        "captum_over_wsl": ratio(times, "captum", "wsl"),
        "wsl_over_floor": ratio(times, "wsl", "floor"),
        "naive_over_wsl": ratio(times, "naive loop", "wsl"),
        "relative_difference_to_captum": highest(ours().flatten(1), expected),
        "seconds": medians(times),
    }


def maps_of(classifier: Any, inputs: Any) -> Any:
    """Compute the maps (N, TOP_K, h, w) of the first classes of inputs, in parts as in runs."""
    import torch

    from wsl.data.geometry import Geometry
    from wsl.saliency.class_maps import class_maps
    from wsl.saliency.gradient import Gradient
    from wsl.saliency.views import Views

    size = (inputs.shape[2], inputs.shape[3])
    views = [Views((each[None],), (Geometry.squash(size, size),)) for each in inputs]
    found = class_maps(classifier, Gradient(), views, [()] * len(views), first=TOP_K)
    return torch.stack([torch.from_numpy(image.input_maps[0]) for image in found])


def highest(found: Any, expected: Any) -> float:
    """Largest relative L2 difference of an image's maps."""
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


def accelerator(arguments: argparse.Namespace, *, device: str = "cuda") -> dict[str, Any]:
    """Rate of the gradient stage of ResNet-50 on a GPU, and the share of its forward passes' rate.

    The share compares with 1 + 5 forward passes for each image: 1 is a backward pass that costs no
    more than a forward pass.
    """
    import torch

    from wsl import load_classifier

    if device == "cuda" and not torch.cuda.is_available():
        return {"skipped": "there is no CUDA device"}
    on_gpu = device == "cuda"
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if on_gpu else device}
    inputs = torch.randn(arguments.batch, 3, 224, 224, device=device)
    for precision in ("float32", "bfloat16") if on_gpu else ("float32",):
        classifier = load_classifier("resnet50", weights=None, device=device, precision=precision)

        def finished(call: Callable[[], Any]) -> None:
            call()
            if on_gpu:
                torch.cuda.synchronize()

        @torch.no_grad()
        def forward(asked: Any = classifier) -> None:
            asked.scores(inputs)

        def maps(asked: Any = classifier) -> None:
            maps_of(asked, inputs)

        times = in_turns(
            {"maps": lambda: finished(maps), "forward": lambda: finished(forward)},
            2 if arguments.quick else 20,
        )
        seconds = {name: each["wall"] for name, each in medians(times).items()}
        found[precision] = {
            "images_per_second": round(arguments.batch / seconds["maps"], 1),
            "forward_images_per_second": round(arguments.batch / seconds["forward"], 1),
            "share_of_the_forward_rate": round(
                (1 + TOP_K) * seconds["forward"] / seconds["maps"], 3
            ),
        }
    return found
