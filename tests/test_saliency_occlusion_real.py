"""Occlusion of real networks on real photographs, beside captum's."""

import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion

from wsl.data.images import load_image
from wsl.models.sources import load_classifier
from wsl.saliency.occlusion import Occlusion, make_fill, occlude
from wsl.saliency.views import ViewOptions, make_views

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


def test_it_equals_captum_on_photographs(classifier, photograph):
    # Masks of an odd side that is the stride and divides the input tile it, as captum's do.
    options = Occlusion(size=75, stride=75)
    views = ViewOptions(input_sizes=(225,))
    image = make_views(photograph, classifier.preprocessing, views).inputs[0]
    with torch.no_grad():
        class_ = int(classifier.scores(image[None]).argmax())
    captum = CaptumOcclusion(classifier.module).attribute(
        image[None],
        (3, 75, 75),
        strides=(3, 75, 75),
        target=class_,
        baselines=make_fill("gray", image, classifier.preprocessing)[None],
        perturbations_per_eval=9,
    )[0, 0, 37::75, 37::75]
    found = occlude(classifier, image, [class_], options)
    largest = captum.abs().max()
    assert largest > 0.5
    assert (found.drops[0] - captum).abs().max() <= 1e-4 * largest
