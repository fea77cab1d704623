"""A localizer over several views and scales of an image."""

import numpy as np
import pytest
import torch
from method_maps import maps_of
from torch import nn

from wsl.data.categories import Categories
from wsl.data.geometry import average_maps
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
    )
    preprocessing = Preprocessing(resize_size=18, crop_size=(16, 16))
    return Classifier(module, preprocessing, Categories.numbered(6), torch.device("cpu"))


@pytest.fixture
def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, size, dtype=np.uint8) for size in ((20, 30, 3), (25, 19, 3))]


def localizer_of(classifier, **views) -> Localizer:
    options = {"saliency": {"method": "gradient", "views": views}}
    return Localizer(classifier, LocalizerOptions.model_validate(options))


VIEWS = [
    {"kind": "squash"},
    {"kind": "squash", "flip": True},
    {"kind": "ten_crop"},
    {"kind": "center_crop", "flip": True, "input_sizes": (12, 16, 24)},
    {"kind": "ten_crop", "input_sizes": (16, 24)},
    {"kind": "squash", "input_sizes": (24,), "classify_at": "default_size"},
    {"kind": "squash", "flip": True, "input_sizes": (12, 24), "classify_at": "default_size"},
]


@pytest.mark.parametrize("views", VIEWS, ids=str)
def test_classes_are_chosen_once_from_all_views_and_maps_averaged(classifier, images, views):
    localizer = localizer_of(classifier, **views)
    cut = [localizer.views(image) for image in images]
    explained = localizer.explain(cut, [(), (5,)], first=2)
    for image, each, found in zip(images, cut, explained, strict=True):
        with torch.no_grad():
            groups = each.groups
            if views.get("classify_at") == "default_size":
                groups = (
                    localizer_of(classifier, kind="squash", flip=views.get("flip", False))
                    .views(image)
                    .groups
                )
            scores = torch.cat([classifier.scores(group) for group in groups]).mean(dim=0)
        order = scores.argsort(descending=True).tolist()
        wanted = {*order[:2], *([5] if image is images[1] else [])}
        assert found.classes == tuple(sorted(wanted, key=order.index))
        assert found.ranks == tuple(order.index(label) + 1 for label in found.classes)
        probabilities = scores.softmax(dim=0)[list(found.classes)]
        assert found.probabilities == pytest.approx(probabilities.tolist(), rel=1e-4)
        assert len(found.input_maps) == localizer.view_count == len(each.geometries)
        maps = []
        for group in each.groups:
            classes = torch.tensor([found.classes]).expand(len(group), -1)
            maps += [*maps_of(localizer.options.saliency, classifier, group, classes).maps.numpy()]
        for view, expected in zip(found.input_maps, maps, strict=True):
            np.testing.assert_allclose(view, expected, rtol=1e-4, atol=1e-7)


def test_the_trace_holds_the_mean_over_the_scales(classifier, images):
    localizer = localizer_of(classifier, kind="squash", input_sizes=(12, 24))
    (found,) = localizer(images[0], classes=[3])
    views = localizer.views(images[0])
    (explained,) = localizer.explain([views], [[3]], first=0)
    maps = [view[0] for view in explained.input_maps]
    assert [map_.shape for map_ in maps] == [(12, 12), (24, 24)]
    expected = average_maps(maps, views.geometries, size=found.saliency.shape)
    np.testing.assert_array_equal(found.saliency, expected)
