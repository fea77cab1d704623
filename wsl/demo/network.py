"""The demo's small classifier, and its weights, which come with the package.

Five convolutions and an average over the whole map: small enough to run anywhere, and plain enough
that every gradient and class activation method applies. It was trained with image-level labels
alone, on drawn pictures that the demo never shows (``eval/figures/train_demo_classifier.py`` in the
project's repository).
"""

from __future__ import annotations

from importlib import resources

from safetensors.torch import load
from torch import nn

from wsl.demo.scene import CATEGORIES

INPUT_SIZE = 128
"""Side of the square to which the whole picture is squeezed, in pixels."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""RGB in [0, 1] becomes ``(x - MEAN) / STD``, as for networks of ImageNet."""

_WEIGHTS = "classifier.safetensors"


def build_network(classes: int = len(CATEGORIES)) -> nn.Sequential:
    """Build the classifier with random weights.

    Returns
    -------
    torch.nn.Sequential
        (N, 3, 128, 128) to (N, `classes`) unnormalized scores. ``features`` ends in 16 x 16 maps;
        ``pool``, ``flatten`` and ``classifier`` are an average over them and one linear layer.
    """
    features = nn.Sequential(
        *_block(3, 24, side=5, stride=2),  # 64 x 64
        nn.MaxPool2d(2),
        *_block(24, 48),  # 32 x 32
        nn.MaxPool2d(2),
        *_block(48, 96),  # 16 x 16
        *_block(96, 96),
        *_block(96, 128),
    )
    network = nn.Sequential()
    network.add_module("features", features)
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(128, classes))
    return network


def demo_module() -> nn.Module:
    """Load the bundled classifier: in evaluation mode, float32, on the CPU.

    Its scores are in the order of `wsl.demo.draw.CATEGORIES`; its input is described by
    `INPUT_SIZE`, `MEAN` and `STD`.
    """
    stored = resources.files("wsl.demo").joinpath(_WEIGHTS).read_bytes()
    network = build_network()
    # Stored in half precision; load_state_dict converts to the network's float32.
    network.load_state_dict(load(stored))
    return network.eval()


def _block(inputs: int, outputs: int, *, side: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
