"""One's own networks: weights as training programs save them, other heads, scores and inputs."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models
from torchvision import transforms as tv
from torchvision.transforms import v2

from wsl.data.categories import Categories
from wsl.errors import CheckpointError, ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier
from wsl.saliency.activation_maximization import ActivationMaximization, maximize_activation
from wsl.saliency.explain import explain
from wsl.saliency.gradient import Gradient
from wsl.saliency.occlusion import Occlusion


@pytest.fixture(scope="module")
def five():
    torch.manual_seed(0)
    return models.squeezenet1_1(num_classes=5).eval()


def with_head(head):
    torch.manual_seed(0)
    module = models.resnet18(num_classes=5)
    module.fc = head
    return module.eval()


def prefixed(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


def loaded(path, state, name="squeezenet1_1", **more):
    torch.save(state, path / "w.ckpt")
    return load_classifier(name, checkpoint=path / "w.ckpt", device="cpu", **more)


def assert_same_scores(classifier, module):
    inputs = torch.randn(2, 3, 64, 64)
    with classifier.inference(), torch.no_grad():
        torch.testing.assert_close(classifier.scores(inputs), module(inputs))


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "model.", "backbone.", "net.module.", "_orig_mod.", "model._orig_mod."],
)
def test_prefixes_are_taken_off(tmp_path, five, prefix):
    content = {"state_dict": prefixed(five.state_dict(), prefix), "epoch": 3}
    assert_same_scores(loaded(tmp_path, content), five)


def test_lightnings_checkpoint_with_a_loss_and_settings(tmp_path, five, caplog):
    caplog.set_level("INFO")
    content = {
        "epoch": 9,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed(five.state_dict(), "model.")
        | {"criterion.weight": torch.ones(5), "val_acc.correct": torch.tensor(3)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 0.1, "name": "squeezenet"},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
    }
    assert_same_scores(loaded(tmp_path, content), five)
    assert "2 entries that are left out: criterion.weight, val_acc.correct" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 5)),
        nn.Sequential(nn.Linear(512, 5, bias=True)),
        nn.Sequential(nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 7))),
    ],
    ids=["dropout", "sequential", "nested"],
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_head_of_one_layer_is_found_whatever_its_name(tmp_path, head, prefix):
    module = with_head(head)
    classifier = loaded(tmp_path, prefixed(module.state_dict(), prefix), "resnet18")
    assert_same_scores(classifier, module)


def test_a_head_beside_the_backbone(tmp_path):
    module = with_head(nn.Identity())
    head = nn.Linear(512, 4)
    state = prefixed(module.state_dict(), "backbone.") | prefixed(head.state_dict(), "head.")
    assert_same_scores(loaded(tmp_path, state, "resnet18"), nn.Sequential(module, head))


def test_a_linear_layer_in_place_of_a_sequence(tmp_path):
    module = models.mobilenet_v3_small(num_classes=5).eval()
    module.classifier[3] = nn.Sequential(nn.Linear(1024, 6))
    assert_same_scores(loaded(tmp_path, module.state_dict(), "mobilenet_v3_small"), module)


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5)),
        nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 5)),
    ],
    ids=["two layers", "norm"],
)
def test_a_head_of_several_layers_needs_its_code(tmp_path, head):
    message = r"has been replaced by several \(fc\.0, fc\.[12]\), .* --model pack"
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path, with_head(head).state_dict(), "resnet18")


def test_other_weights_do_not_fit_by_chance(tmp_path, five):
    with pytest.raises(CheckpointError, match=r"w\.ckpt does not fit ResNet: \d+ missing: conv1"):
        loaded(tmp_path, prefixed(five.state_dict(), "model."), "resnet18")


# One score per image.


class OneScore(nn.Module):
    """The mean of the first channel, as (N, 1) or (N,)."""

    def __init__(self, flat=False):
        super().__init__()
        self.scale, self.flat = nn.Parameter(torch.tensor(3.0)), flat

    def forward(self, inputs):
        scores = self.scale * inputs[:, :1].mean(dim=(2, 3))
        return scores[:, 0] if self.flat else scores


@pytest.mark.parametrize("flat", [False, True])
def test_one_score_stands_for_two_classes(flat):
    classifier = load_classifier(OneScore(flat), categories=["pneumonia"])
    assert classifier.categories.names == ("not pneumonia", "pneumonia")
    inputs = torch.randn(4, 3, 8, 8)
    with classifier.inference(), torch.no_grad():
        scores = classifier.scores(inputs)
        found = classifier.probabilities(scores)[:, 1]
        expected = (3 * inputs[:, 0].mean(dim=(1, 2))).sigmoid()
    torch.testing.assert_close(found, expected)
    assert load_classifier(OneScore(flat)).categories == Categories.numbered(2)
    assert load_classifier(OneScore(), categories=["no", "yes"]).categories.names[1] == "yes"
    three = load_classifier(OneScore(), categories=["a", "b", "c"])
    with pytest.raises(ModelError, match="OneScore must return one score per image and category"):
        three.scores(inputs)


def test_one_score_is_explained_for_both_classes():
    classifier = load_classifier(OneScore())
    bright = np.full((8, 8, 3), 250, np.uint8)
    first, second = explain(classifier, bright, Gradient(), first=2)
    assert (first.label, second.label) == (1, 0)
    assert first.saliency.max() > 0
    np.testing.assert_allclose(first.saliency, second.saliency)
    probabilities = [float(re.search(r"[\d.]+$", each.title)[0]) for each in (first, second)]
    assert sum(probabilities) == pytest.approx(1, abs=2e-3)
    assert 0.5 < probabilities[0] < 1


def test_a_checkpoint_of_one_score(tmp_path):
    torch.manual_seed(0)
    module = models.squeezenet1_1(num_classes=1).eval()
    classifier = loaded(tmp_path, module.state_dict(), categories=["cat"])
    inputs = torch.randn(2, 3, 64, 64)
    with classifier.inference(), torch.no_grad():
        scores = classifier.scores(inputs)
        torch.testing.assert_close(scores[:, 1:] - scores[:, :1], module(inputs))


# Other outputs and inputs.


class Logits(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form, self.linear = form, nn.Linear(3, 4)

    def forward(self, inputs):
        scores = self.linear(inputs.mean(dim=(2, 3)))
        if self.form == "mapping":
            return {"logits": scores, "features": inputs}
        return type("Output", (), {"logits": scores})()


@pytest.mark.parametrize("form", ["mapping", "object"])
def test_outputs_with_logits(form):
    module = Logits(form)
    classifier = load_classifier(module, categories=["a", "b", "c", "d"])
    inputs = torch.randn(2, 3, 8, 8)
    with classifier.inference(), torch.no_grad():
        torch.testing.assert_close(
            classifier.scores(inputs), module.linear(inputs.mean(dim=(2, 3)))
        )


def test_gray_inputs():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    classifier = load_classifier(module)
    assert len(classifier.preprocessing.mean) == 1
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (found,) = explain(classifier, image, Gradient())
    assert found.saliency.shape == (20, 30)
    assert found.saliency.max() > 0
    (found,) = explain(classifier, image, Occlusion(size=112, stride=112, fill=(255, 0, 0)))
    assert found.saliency.shape == (20, 30)
    made = maximize_activation(classifier, [1], ActivationMaximization(steps=2))
    assert made.pictures().shape == (1, 224, 224, 3)
    gray = Preprocessing(resize_size=4, crop_size=(4, 4), mean=(0.5,), std=(0.25,))
    white = np.full((4, 4, 3), 255, np.uint8)
    torch.testing.assert_close(gray.normalize(white), torch.full((1, 4, 4), 2.0))
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    torch.testing.assert_close(gray.normalize(red), torch.full((1, 4, 4), (76 / 255 - 0.5) / 0.25))


def test_a_classifier_is_one_line(five):
    classifier = load_classifier(five, categories=["a", "b", "c", "d", "e"])
    assert repr(classifier) == "<Classifier SqueezeNet: 5 classes, 224 x 224 px, cpu>"


# Factories.

FACTORY = """
from torch import nn
from torchvision import models
from wsl import Classifier, load_classifier
from wsl.models.preprocessing import Preprocessing

def build():
    net = models.resnet18(num_classes=5)
    net.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    return net

def ready():
    small = Preprocessing(resize_size=32, crop_size=(32, 32))
    return load_classifier(build(), categories=list("abcde"), preprocessing=small)

def wrong():
    return 3
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_networks", raising=False)
    return tmp_path


def test_a_function_builds_the_network(factories):
    head = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    module = with_head(head)
    torch.save({"state_dict": prefixed(module.state_dict(), "model.")}, factories / "w.ckpt")
    classifier = load_classifier(
        "own_networks:build", checkpoint="w.ckpt", categories=list("abcde"), device="cpu"
    )
    assert classifier.name == "build w.ckpt"
    assert_same_scores(classifier, module)
    ready = load_classifier("own_networks:ready", device="cpu")
    assert isinstance(ready, Classifier)
    assert ready.preprocessing.crop_size == (32, 32)
    assert ready.categories.names == tuple("abcde")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_networks:wrong", "must return a torch.nn.Module or a Classifier, but returned a int"),
        ("own_networks:none", "own_networks:none cannot be imported: .*none"),
        ("no_networks:build", "no_networks:build cannot be imported: No module named"),
        ("own networks:build", "factory: .*pattern"),
    ],
)
def test_what_is_no_factory_is_refused(factories, name, message):
    with pytest.raises(ModelError, match=message):
        load_classifier(name)


# Transforms.


def test_transforms_of_torchvision_and_timm_are_preprocessing():
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    expected = Preprocessing(
        40, (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), interpolation="bicubic"
    )
    old = tv.Compose([tv.Resize(40, tv.InterpolationMode.BICUBIC), tv.CenterCrop(32),
                      tv.ToTensor(), tv.Normalize(mean, std)])  # fmt: skip
    new = v2.Compose([v2.ToImage(), v2.Resize(40, v2.InterpolationMode.BICUBIC), v2.CenterCrop(32),
                      v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])  # fmt: skip
    for transforms in (old, new):
        assert Preprocessing.from_transforms(transforms) == expected
    import timm.data

    timms = timm.data.create_transform(
        (3, 32, 32), crop_pct=0.8, interpolation="bicubic", mean=mean, std=std
    )
    assert Preprocessing.from_transforms(timms) == expected
    entry = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    assert Preprocessing.from_transforms(entry) == Preprocessing.from_torchvision(entry)
    gray = tv.Compose([tv.Grayscale(), tv.Resize((20, 30)), tv.ToTensor()])
    found = Preprocessing.from_transforms(gray)
    assert (found.crop_size, found.mean, found.std) == ((20, 30), (0.0,), (1.0,))
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    assert load_classifier(module, preprocessing=old).preprocessing == expected


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([tv.RandomResizedCrop(32)], "but there is RandomResizedCrop; a Preprocessing says"),
        ([tv.Resize(40), tv.ToTensor()], "must have a CenterCrop, or a Resize to"),
        ([tv.CenterCrop(40), tv.ToTensor()], "must have a Resize before the CenterCrop"),
    ],
    ids=["random", "no crop", "no resize"],
)
def test_other_transforms_are_refused(transforms, message):
    with pytest.raises(ModelError, match=message):
        Preprocessing.from_transforms(tv.Compose(transforms))


# Hugging Face.


def test_an_image_classifier_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=56, patch_size=8, id2label={0: "cat", 1: "dog", 2: "owl"},
        label2id={"cat": 0, "dog": 1, "owl": 2},
    )  # fmt: skip
    module = transformers.ViTForImageClassification(config).eval()
    nn.init.normal_(module.classifier.weight)
    module.save_pretrained(tmp_path)
    size = {"height": 56, "width": 56}
    transformers.ViTImageProcessor(size=size).save_pretrained(tmp_path)
    classifier = load_classifier(str(tmp_path), source="transformers", device="cpu")
    assert classifier.categories.names == ("cat", "dog", "owl")
    assert classifier.preprocessing == Preprocessing(
        (56, 56), (56, 56), (0.5,) * 3, (0.5,) * 3, interpolation="bilinear"
    )
    inputs = torch.randn(2, 3, 56, 56)
    with classifier.inference(), torch.no_grad():
        torch.testing.assert_close(classifier.scores(inputs), module(inputs).logits)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    from wsl.saliency.auto import Auto

    (found,) = explain(classifier, image, Auto())
    assert found.saliency.max() > 0
    with pytest.raises(ModelError, match="transformers cannot load"):
        load_classifier(str(tmp_path / "none"), source="transformers")


def test_image_processors_that_crop():
    convnext = {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_mean": [0.1] * 3,
                "image_std": [0.2] * 3, "resample": 3}  # fmt: skip
    found = Preprocessing.from_transformers(convnext)
    assert (found.resize_size, found.crop_size, found.interpolation) == (256, (224, 224), "bicubic")
    resnet = convnext | {"size": {"shortest_edge": 256}, "do_center_crop": True,
                         "crop_size": {"height": 224, "width": 224}}  # fmt: skip
    found = Preprocessing.from_transformers(resnet)
    assert (found.resize_size, found.crop_size) == (256, (224, 224))
    with pytest.raises(ModelError, match="must say a size"):
        Preprocessing.from_transformers(convnext | {"size": None})
