"""Every method on networks of all families, with random weights: a map, or one line of help."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from wsl.errors import ModelError
from wsl.models.sources import load_classifier
from wsl.saliency.explain import explain
from wsl.saliency.methods import METHODS

pytestmark = pytest.mark.slow

# Convolutions with ReLU, hardswish, SiLU, GELU; class tokens, one and two; pooled tokens; windows;
# hybrids; attention over channels; perceptrons.
TORCHVISION = ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "efficientnet_b0",
               "shufflenet_v2_x0_5", "swin_t", "maxvit_t"]  # fmt: skip
TIMM = ["convnext_atto", "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224",
        "vit_medium_patch16_gap_240", "cait_xxs24_224", "xcit_nano_12_p16_224", "mixer_s16_224",
        "pvt_v2_b0", "mobilevit_xs", "efficientformer_l1"]  # fmt: skip

QUICK = {
    "smoothgrad": {"samples": 1},
    "integrated_gradients": {"steps": 1},
    "occlusion": {"size": 112, "stride": 112},
}
HELP = (
    "use layercam_fusion, or auto",  # attention_rollout
    "or use grad_cam",  # cam
    "use grad_cam",
    "non_relu='gradient' keeps",  # guided_backprop, deconvnet
)


def build(name, source):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = load_classifier(name, source=source, weights=None, device="cpu")
    for part in classifier.module.modules():  # some heads begin at 0
        if isinstance(part, nn.Linear) and part.out_features == 1000:
            nn.init.normal_(part.weight, std=0.02)
    return classifier


@pytest.mark.parametrize(
    ("name", "source"),
    [(name, "torchvision") for name in TORCHVISION] + [(name, "timm") for name in TIMM],
)
def test_each_method_works_or_says_what_to_do(name, source):
    classifier = build(name, source)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    worked, refused = set(), {}
    for method, options in METHODS.items():
        try:
            (found,) = explain(classifier, image, options(**QUICK.get(method, {})))
        except ModelError as error:
            refused[method] = str(error)
            continue
        assert found.saliency.shape == (60, 80)
        assert np.isfinite(found.saliency).all()
        worked.add(method)
        if method in ("auto", "layercam_fusion", "gradient"):
            assert found.saliency.max() > 0, method
    for message in refused.values():
        assert "\n" not in message
        assert any(text in message for text in HELP), message
    assert worked >= METHODS.keys() - {"attention_rollout", "cam", "guided_backprop", "deconvnet"}
