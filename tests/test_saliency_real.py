"""Real networks on real photographs: accuracy, and gradients beside captum's."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from method_maps import maps_of
from PIL import Image

from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.saliency.attribution import attribute
from wsl.saliency.gradient import Gradient
from wsl.saliency.views import make_views

pytestmark = pytest.mark.data

ROOT = Path(os.environ.get("WSL_TEST_DATA", Path(__file__).parents[2] / "shared"))
ILSVRC = ROOT / "data" / "ilsvrc"


@pytest.fixture(scope="module", params=["squeezenet1_0", "mobilenet_v2"])
def classifier(request) -> Classifier:
    if not ILSVRC.is_dir():
        pytest.skip(f"the shared data is not at {ROOT}")
    return load_classifier(
        request.param,
        checkpoint=ROOT / "weights" / f"{request.param}-imagenet1k.safetensors",
        categories=ILSVRC / "LOC_synset_mapping.txt",
        device="cpu",
    )


def image_ids() -> list[str]:
    return sorted(path.stem for path in (ILSVRC / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))


def inputs_of(classifier: Classifier, ids: list[str]) -> torch.Tensor:
    paths = [ILSVRC / "Data" / "CLS-LOC" / "val" / f"{image_id}.JPEG" for image_id in ids]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return torch.cat([make_views(image, classifier.preprocessing).inputs for image in images])


def test_gradients_equal_captums_on_photographs(classifier):
    inputs = inputs_of(classifier, image_ids()[:2])
    pixel = maps_of(Gradient(), classifier, inputs, 2)
    std = torch.tensor(classifier.preprocessing.std)[:, None, None]
    for slot in range(2):
        gradients = Saliency(classifier.module).attribute(
            inputs.clone().requires_grad_(), target=pixel.classes[:, slot]
        )
        found = attribute(classifier.module, inputs, pixel.classes[:, slot])
        torch.testing.assert_close(found, gradients.amax(1), rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(
            pixel.maps[:, slot], (gradients / std).amax(1), rtol=1e-4, atol=1e-7
        )


@pytest.mark.slow
def test_accuracy_is_what_the_weights_are_known_for(classifier):
    labels = {
        row["ImageId"]: row["PredictionString"].split()[0]
        for row in csv.DictReader((ILSVRC / "LOC_val_solution.csv").read_text().splitlines())
    }
    ids = image_ids()[::6][:100]
    truth = torch.tensor([classifier.categories.index(labels[image_id]) for image_id in ids])
    with torch.no_grad():
        best = torch.cat(
            [
                classifier.scores(inputs_of(classifier, ids[i : i + 20])).topk(5).indices
                for i in range(0, 100, 20)
            ]
        )
    top_1 = (best[:, 0] == truth).float().mean().item()
    top_5 = (best == truth[:, None]).any(dim=1).float().mean().item()
    expected = {"squeezenet1_0": (0.705, 0.90), "mobilenet_v2": (0.75, 0.92)}
    name = classifier.name.split()[0]
    # Twice the standard error of 100 images.
    assert top_1 == pytest.approx(expected[name][0], abs=0.09)
    assert top_5 == pytest.approx(expected[name][1], abs=0.06)
