"""Classes of a classifier as groups of the user's own."""

import pytest
import torch
from torch import nn

from wsl.data.categories import Categories
from wsl.data.synsets import match_categories
from wsl.demo.draw import CATEGORIES, write_dataset
from wsl.errors import ConfigError
from wsl.models.classifier import Classifier
from wsl.models.groups import group_classes, read_groups, with_wnids
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier

ANIMALS = {"animal": ["fish", "butterfly"], "vehicle": ["car"], "home": ["house", "mug", 7]}


@pytest.fixture(scope="module")
def demo() -> Classifier:
    return load_classifier("demo")


def test_a_groups_score_is_the_logsumexp_of_its_classes(demo: Classifier) -> None:
    grouped = group_classes(demo, ANIMALS)
    inputs = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, groups = demo.scores(inputs), grouped.scores(inputs)
    label = CATEGORIES.index
    assert grouped.categories.names == ("animal", "vehicle", "home")
    animal = torch.logaddexp(scores[:, label("fish")], scores[:, label("butterfly")])
    torch.testing.assert_close(groups[:, 0], animal)
    torch.testing.assert_close(groups[:, 1], scores[:, label("car")])


def test_a_groups_gradient_weights_its_classes_by_their_probability(demo: Classifier) -> None:
    grouped = group_classes(demo, {"animal": ["fish", "butterfly"]})
    inputs = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))

    def gradient(classifier: Classifier, label: int) -> torch.Tensor:
        with classifier.inference():
            leaf = inputs.clone().requires_grad_()
            (found,) = torch.autograd.grad(classifier.scores(leaf)[0, label], leaf)
        return found

    fish, butterfly = (CATEGORIES.index(name) for name in ("fish", "butterfly"))
    with torch.no_grad():
        weights = demo.scores(inputs)[0, [fish, butterfly]].softmax(dim=0)
    expected = weights[0] * gradient(demo, fish) + weights[1] * gradient(demo, butterfly)
    torch.testing.assert_close(gradient(grouped, 0), expected, atol=1e-6, rtol=1e-4)


def test_a_dataset_may_name_the_members(demo: Classifier, tmp_path) -> None:
    write_dataset(tmp_path, count=2, seed=0)
    grouped = group_classes(demo, ANIMALS)
    categories = match_categories(grouped.categories, tmp_path / "LOC_synset_mapping.txt")
    assert categories.by_id[(demo.categories.ids or ())[CATEGORIES.index("fish")]] == 0
    assert categories.find("butterfly") == 0
    assert categories.find("umbrella") is None


def test_wnids_are_known_for_imagenets_names() -> None:
    weights = pytest.importorskip("torchvision.models").get_model_weights("resnet50").DEFAULT
    categories = with_wnids(Categories(tuple(weights.meta["categories"])))
    assert categories.index("n02085620") == categories.index("Chihuahua") == 151
    assert categories.index("n15075141") == 999
    assert with_wnids(Categories.numbered(1000)).ids is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.yaml", "dog: [n02085620, 'Maltese dog']\ncat: [281]\n"),
        ("g.csv", "group,classes\ndog,n02085620\ncat,281\ndog,n02085936\n"),
        ("h.csv", "dog,n02085620 n02085936\ncat,281\n"),
    ],
    ids=["yaml", "csv in rows", "csv with spaces"],
)
def test_files_of_groups(tmp_path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    groups = read_groups(tmp_path / name)
    assert list(groups) == ["dog", "cat"]
    assert groups["dog"][0] == "n02085620"
    assert [str(key) for key in groups["cat"]] == ["281"]
    assert len(groups["dog"]) == 2


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "there must be at least one group"),
        ({"a": []}, "group 'a' must have at least one class"),
        ({"a": ["fich"]}, "group 'a': there is no class 'fich'. Did you mean fish"),
        (
            {"a": ["fish"], "b": ["fish"]},
            "class 'fish' must be in one group, but is in 'a' and 'b'",
        ),
    ],
    ids=["none", "empty", "unknown", "twice"],
)
def test_wrong_groups(demo: Classifier, groups, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        group_classes(demo, groups)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("g.yaml", "dog: n02085620\n", "group 'dog' must be a list of classes"),
        ("g.csv", "dog,1,2\n", "must have two columns, but row 1 has 3"),
    ],
    ids=["yaml", "csv"],
)
def test_wrong_files(tmp_path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_groups(tmp_path / name)


def test_any_network_can_be_grouped() -> None:
    preprocessing = Preprocessing(8, (8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    classifier = Classifier(module, preprocessing, Categories.numbered(4), torch.device("cpu"))
    grouped = group_classes(classifier, {"even": [0, 2], "odd": ["1", "3"]})
    assert grouped.scores(torch.zeros(2, 3, 8, 8)).shape == (2, 2)
