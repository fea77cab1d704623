"""Occlusion of real networks on real photographs, beside captum's."""

import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion

from wsl.data.images import load_image
from wsl.models.sources import load_classifier
from wsl.saliency.occlusion import make_fill, occlude
from wsl.saliency.occlusion_grid import MaskGrid
from wsl.saliency.views import make_views

pytestmark = pytest.mark.data

ILSVRC = "data/ilsvrc/Data/CLS-LOC/val"


@pytest.fixture(scope="module", params=["squeezenet1_0", "mobilenet_v2"])
def classifier(request, shared_weights):
    return load_classifier(
        request.param,
        checkpoint=shared_weights / f"{request.param}-imagenet1k.safetensors",
        device="cpu",
    )


@pytest.fixture(scope="module")
def photograph(shared_data):
    return load_image(sorted((shared_data / ILSVRC).glob("*.JPEG"))[0])


def captums(classifier, image, class_, size, stride):
    fill = make_fill("gray", image, classifier.preprocessing)
    return (
        CaptumOcclusion(classifier.module)
        .attribute(
            image[None],
            (3, size, size),
            strides=(3, stride, stride),
            target=class_,
            baselines=fill[None],
            perturbations_per_eval=8,
        )[0, 0]
        .detach()
    )


# 43 fits into what 95 leaves of 224; with 90 and 70 the last row and column of masks are clipped.
@pytest.mark.parametrize(("size", "stride"), [(95, 43), (90, 70)])
def test_it_equals_captum_on_photographs(classifier, photograph, size, stride):
    image = make_views(photograph, classifier.preprocessing).inputs[0]
    with torch.no_grad():
        class_ = int(classifier.scores(image[None]).argmax())
    captum = captums(classifier, image, class_, size, stride)
    found = occlude(classifier, image, [class_], size=size, stride=stride, anchor="corner")
    largest = captum.abs().max()
    assert largest > 0.5
    assert (found.grid.average(found.drops[0]) - captum).abs().max() <= 1e-4 * largest


def test_centered_masks_have_the_values_of_captums_where_both_lie(classifier, photograph):
    # Centers on 4, 47, 90, 133, 176, 219: but for the first and last, masks begin at 0, 43, 86 and
    # 129, as captum's do.
    image = make_views(photograph, classifier.preprocessing).inputs[0]
    with torch.no_grad():
        class_ = int(classifier.scores(image[None]).argmax())
    centered = occlude(classifier, image, [class_], size=95, stride=43)
    inner = centered.drops[0, 1:-1, 1:-1]
    assert inner.shape == (4, 4)
    captum = captums(classifier, image, class_, 95, 43)
    average = MaskGrid((224, 224), 95, 43, "corner").average(inner)
    assert (average - captum).abs().max() <= 1e-4 * captum.abs().max()
