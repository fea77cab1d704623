import importlib
import os
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from wsl.data.categories import Categories
from wsl.errors import CheckpointError, ModelError
from wsl.models import networks
from wsl.models.networks import named_model
from wsl.models.options import ModelOptions
from wsl.models.preprocessing import Preprocessing
from wsl.models.sources import load_classifier


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def squeezenet() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return models.squeezenet1_1(num_classes=1000).state_dict()


@pytest.fixture
def download(monkeypatch, squeezenet):
    """Stand in for the network: torchvision's own path, down to the file that it would fetch."""
    asked = []

    def fetch(url, *args, **kwargs):
        asked.append(url)
        return squeezenet

    monkeypatch.setattr(models._api, "load_state_dict_from_url", fetch)
    return asked


def test_torchvision_by_name(download, squeezenet):
    classifier = load_classifier("squeezenet1_1", device="cpu")
    entry = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    assert download == [entry.url]
    assert classifier.name == "squeezenet1_1 IMAGENET1K_V1"
    assert classifier.categories.names == tuple(entry.meta["categories"])
    assert classifier.preprocessing == Preprocessing.from_torchvision(entry.transforms())
    assert not any(module.training for module in classifier.module.modules())
    found = classifier.module.state_dict()
    assert all(torch.equal(found[key], value) for key, value in squeezenet.items())


def test_default_weights_of_resnet50_bring_their_own_resize(monkeypatch):
    state = models.resnet50().state_dict()
    monkeypatch.setattr(models._api, "load_state_dict_from_url", lambda *a, **k: state)
    assert load_classifier("resnet50", device="cpu").preprocessing.resize_size == 232
    old = load_classifier("resnet50", weights="IMAGENET1K_V1", device="cpu")
    assert old.preprocessing.resize_size == 256


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(models._api, "load_state_dict_from_url", fail)
    with pytest.raises(ModelError, match="cannot get the weights IMAGENET1K_V1 of squeezenet1_1"):
        load_classifier("squeezenet1_1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnet5"}, "no classifier named 'resnet5', nor has timm. Did you mean resn"),
        ({"model": "fcn_resnet50"}, "no classifier named 'fcn_resnet50', nor has timm"),
        ({"model": "resnet10t", "source": "torchvision"}, "'resnet10t'; timm has: source timm"),
        ({"model": "resnet18", "weights": "V1"}, "no weights 'V1'. Choose from: DEFAULT"),
        ({"model": "resnet18", "device": "gpu"}, "device: .*but got 'gpu'"),
        ({"model": "resnt18", "source": "timm"}, "timm has no network named 'resnt18'. Did you"),
        ({"model": "demo", "weights": "V1"}, "weights must be DEFAULT where source is demo"),
    ],
    ids=["name", "detector", "of timm", "entry", "device", "timm", "demo"],
)
def test_unknown_names_are_refused_with_what_there_is(arguments, message):
    model = arguments.pop("model")
    with pytest.raises(ModelError, match=message):
        load_classifier(model, **arguments)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("demo", {"source": "demo", "architecture": None}),
        ("resnet50", {"source": "torchvision", "architecture": "resnet50"}),
        ("timm/resnet50", {"source": "timm", "architecture": "resnet50"}),
        ("deit_tiny_patch16_224", {"source": "timm", "architecture": "deit_tiny_patch16_224"}),
        ("resnet50.a1_in1k", {"source": "timm", "architecture": "resnet50.a1_in1k"}),
        ("google/vit", {"source": "transformers", "architecture": "google/vit"}),
        ("package.module:build", {"factory": "package.module:build"}),
        ("resnet5", {"source": "torchvision", "architecture": "resnet5"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_word_names_a_model_and_its_library(name, keys):
    assert named_model(name) == keys


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "timm/resnet10t"])
def test_timms_networks_need_no_source(name):
    assert load_classifier(name, weights=None, device="cpu").name.endswith("(random weights)")


def test_a_name_that_only_timm_may_know(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"named 'deit_tiny'; timm, .* is not installed: pip inst"):
        load_classifier("deit_tiny")


def test_checkpoint_with_fewer_classes(tmp_path):
    path = save(tmp_path / "w.pth", models.squeezenet1_1(num_classes=7).state_dict())
    classifier = load_classifier("squeezenet1_1", checkpoint=path, device="cpu")
    assert classifier.categories == Categories.numbered(7)
    with classifier.inference():
        assert classifier.scores(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_checkpoint_takes_categories_from_the_file_or_the_entry(tmp_path, squeezenet):
    path = save(tmp_path / "w.pth", squeezenet)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"n{index:08d} thing {index}" for index in range(1000)))
    options = ModelOptions(
        architecture="squeezenet1_1", checkpoint=path, categories=names, device="cpu"
    )
    assert load_classifier(options).categories.ids[3] == "n00000003"
    plain = load_classifier("squeezenet1_1", checkpoint=path, device="cpu")
    assert plain.categories.names[0] == "tench"
    names.write_text("one\ntwo")
    with pytest.raises(ModelError, match="got 2 categories and 1000 scores"):
        load_classifier(options)


def test_checkpoint_that_does_not_fit(tmp_path, squeezenet):
    state = dict(squeezenet)
    del state["features.0.bias"]
    path = save(tmp_path / "w.pth", state)
    with pytest.raises(CheckpointError, match=r"1 missing: features\.0\.bias$"):
        load_classifier("squeezenet1_1", checkpoint=path)
    with pytest.raises(CheckpointError, match=r"missing: .*; \d+ unexpected: "):
        load_classifier("resnet18", checkpoint=path)


def test_a_last_matrix_of_other_rows_does_not_tell_the_number_of_classes(
    tmp_path, squeezenet, monkeypatch
):
    built = []
    build = networks._untrained
    monkeypatch.setattr(
        networks, "_untrained", lambda *a, **o: built.append(a[1]) or build(*a, **o)
    )
    state = squeezenet | {"classifier.1.weight": torch.zeros(3_000_000)}
    path = save(tmp_path / "w.pth", state)
    with pytest.raises(CheckpointError, match=r"1 of another shape: classifier\.1\.weight"):
        load_classifier("squeezenet1_1", checkpoint=path)
    assert built == [1000]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("auxiliary", [True, False], ids=["auxiliary", "without"])
def test_networks_with_auxiliary_outputs_give_one_tensor(tmp_path, name, auxiliary):
    module = models.get_model(name, num_classes=5, aux_logits=auxiliary, init_weights=False)
    path = save(tmp_path / "w.pth", module.state_dict())
    classifier = load_classifier(name, checkpoint=path, device="cpu")
    classifier.module.train()  # whatever a caller did in between
    with classifier.inference():
        assert classifier.scores(torch.zeros(2, 3, 80, 80)).shape == (2, 5)
    assert classifier.module.transform_input  # as their published weights want


# Regnets cannot be built without memory for their weights: one of them below.
WITHOUT_REGNETS = [n for n in models.list_models(module=models) if not n.startswith("regnet")]


@pytest.mark.parametrize("name", WITHOUT_REGNETS, ids=str)
def test_the_last_matrix_of_each_torchvision_network_gives_the_scores(name):
    # What the number of a checkpoint's classes is read from.
    arguments = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        states = [
            models.get_model(name, num_classes=count, **arguments).state_dict() for count in (7, 9)
        ]
    last = [key for key, value in states[0].items() if value.ndim >= 2][-1]
    assert [state[last].shape[0] for state in states] == [7, 9]


def test_regnets_last_matrix_gives_the_scores():
    state = models.regnet_y_400mf(num_classes=7).state_dict()
    assert [value.shape[0] for value in state.values() if value.ndim >= 2][-1] == 7


def test_null_weights_are_random():
    classifier = load_classifier("squeezenet1_1", weights=None, device="cpu")
    assert classifier.name == "squeezenet1_1 (random weights)"
    assert len(classifier.categories) == 1000


def test_timm_checkpoint(tmp_path):
    timm = importlib.import_module("timm")
    state = timm.create_model("resnet10t", num_classes=6).state_dict()
    path = save(tmp_path / "w.pth", state)
    classifier = load_classifier("resnet10t", source="timm", checkpoint=path, device="cpu")
    config = timm.data.resolve_model_data_config(classifier.module)
    assert classifier.preprocessing == Preprocessing.from_timm(config)
    assert classifier.categories == Categories.numbered(6)
    with classifier.inference():
        assert classifier.scores(torch.zeros(1, 3, 64, 64)).shape == (1, 6)


def test_timm_names_weights_and_imagenet(monkeypatch):
    timm = importlib.import_module("timm")
    asked = []
    create = timm.create_model

    def stub(name, pretrained=False, **arguments):
        asked.append((name, pretrained))
        return create(name.split(".")[0], **arguments)

    monkeypatch.setattr(timm, "create_model", stub)
    classifier = load_classifier("resnet10t", source="timm", device="cpu")
    load_classifier("resnet10t", source="timm", weights="c3_in1k", device="cpu")
    assert asked == [("resnet10t", True), ("resnet10t.c3_in1k", True)]
    assert classifier.categories.ids[0] == "n01440764"
    assert classifier.categories.names[0].startswith("tench")


def test_timm_absent_gives_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'wsl-localize\[timm\]'"):
        load_classifier("resnet18", source="timm")


def test_the_demo_squeezes_the_whole_image(monkeypatch):
    network = importlib.import_module("wsl.demo.network")
    monkeypatch.setattr(network, "demo_module", lambda: network.build_network().eval())
    classifier = load_classifier("demo", device="cpu")
    assert classifier.preprocessing.resize_size == classifier.preprocessing.crop_size
    with classifier.inference():
        scores = classifier.scores(torch.zeros(1, 3, *classifier.preprocessing.crop_size))
    assert scores.shape == (1, len(classifier.categories))
    assert load_classifier(ModelOptions(source="demo", device="cpu")).name == classifier.name


class Pooled(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.last = nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.mean(dim=(2, 3)))


def test_a_module_is_used_as_it_is():
    module = Pooled().train()
    classifier = load_classifier(module)
    assert classifier.module is module
    assert module.training
    assert classifier.categories == Categories.numbered(3)
    assert classifier.name == "Pooled"
    named = load_classifier(module, categories=Categories(("a", "b", "c")))
    assert named.categories.names == ("a", "b", "c")


def test_a_modules_checkpoint_is_refused():
    with pytest.raises(ModelError, match="must not be given with a module"):
        load_classifier(Pooled(), checkpoint="w.pth")


def test_a_module_without_scores_is_refused():
    with pytest.raises(ModelError, match=r"must return scores of shape \(N, C\)"):
        load_classifier(nn.Identity())


def test_options_need_an_architecture_and_refuse_what_does_nothing():
    with pytest.raises(ValidationError, match="architecture must name a timm network"):
        ModelOptions(source="timm")
    with pytest.raises(ValidationError, match="checkpoint must not be given where source is demo"):
        ModelOptions(source="demo", checkpoint="w.pth")
    assert ModelOptions(source="demo").weights == "DEFAULT"


@pytest.mark.data
@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2"])
def test_published_weights_in_files_load(name):
    root = Path(os.environ.get("WSL_TEST_DATA", Path(__file__).parents[2] / "shared"))
    path = root / "weights" / f"{name}-imagenet1k.safetensors"
    if not path.exists():
        pytest.skip(f"there is no {path}")
    classifier = load_classifier(
        name, checkpoint=path, categories=root / "data/ilsvrc/LOC_synset_mapping.txt", device="cpu"
    )
    assert classifier.categories.ids[0] == "n01440764"
    assert len(classifier.fingerprint) == 64


def test_safetensors_on_an_architecture(tmp_path, squeezenet):
    save_file(squeezenet, tmp_path / "w.safetensors")
    classifier = load_classifier(
        "squeezenet1_1", checkpoint=tmp_path / "w.safetensors", device="cpu"
    )
    assert classifier.name == "squeezenet1_1 w.safetensors"
