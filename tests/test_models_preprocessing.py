import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, ViT_B_16_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights
from torchvision.transforms import InterpolationMode

from wsl.errors import ModelError
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.views import make_views

TIMM = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "crop_pct": 0.95,
    "crop_mode": "center",
}


def test_from_torchvision():
    assert Preprocessing.from_torchvision(
        ResNet50_Weights.IMAGENET1K_V2.transforms()
    ) == Preprocessing(resize_size=232, crop_size=(224, 224))


@pytest.mark.parametrize(
    "entry",
    [ResNet50_Weights.DEFAULT, ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1],
    ids=["bilinear", "bicubic"],
)
@pytest.mark.parametrize("size", [(300, 401), (401, 300), (90, 77)], ids=str)
def test_the_center_view_is_torchvisions_own_input(entry, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = entry.transforms()(Image.fromarray(image))
    preprocessing = Preprocessing.from_torchvision(entry.transforms())
    found = make_views(image, preprocessing, "center_crop").inputs[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_from_torchvision_keeps_the_interpolation_and_refuses_other_tasks():
    transforms = ResNet50_Weights.DEFAULT.transforms(interpolation=InterpolationMode.NEAREST_EXACT)
    assert Preprocessing.from_torchvision(transforms).interpolation == "nearest"
    with pytest.raises(ModelError, match="SemanticSegmentation has no crop_size"):
        Preprocessing.from_torchvision(FCN_ResNet50_Weights.DEFAULT.transforms())


def test_from_timm():
    assert Preprocessing.from_timm(TIMM) == Preprocessing(
        235, (224, 224), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic"
    )
    squeezed = Preprocessing.from_timm({**TIMM, "crop_mode": "squash", "crop_pct": 1.0})
    assert squeezed.resize_size == (224, 224)
    gray = Preprocessing.from_timm(
        {**TIMM, "input_size": (1, 28, 28), "mean": (0.5,), "std": (0.25,)}
    )
    assert (gray.crop_size, gray.mean) == ((28, 28), (0.5,))


def test_normalize_by_hand():
    image = np.array([[[0, 255, 51]]], dtype=np.uint8)
    image.flags.writeable = False  # as arrays from Pillow are
    preprocessing = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.1))
    found = preprocessing.normalize(image)
    assert found.shape == (3, 1, 1)
    torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, 2.0, -3.0]))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8)], ids=["float", "gray"]
)
def test_normalize_refuses_other_arrays(image):
    with pytest.raises(ValueError, match=r"must be a \(H, W, 3\) array of uint8"):
        Preprocessing().normalize(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": (0.1, 0.0, 0.1)}, "one positive standard deviation per"),
        ({"crop_size": (0, 4)}, "sizes must be positive"),
        ({"interpolation": "bilinaer"}, "Did you mean bilinear"),
    ],
    ids=["std", "size", "interpolation"],
)
def test_wrong_preprocessing_is_refused(change, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(Preprocessing(), **change)
