"""Averages over classifiers: their classes, probabilities, maps, runs and refusals.

What must go right where it could go wrong: members that name or order their classes differently,
know more or fewer of them, or share a name; members of other input sizes, or of gray images; one
member's map flat, all flat, or not finite; a member that cannot do the method, or returns
probabilities; a run continued with other members, weights or another order.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import WNIDS, classifier, config, draw_photos, network, rows
from torch import nn
from toy_networks import state_of
from tuning_cases import config as tuning_config
from tuning_cases import draw_dataset

from wsl.cli import configuration as configuration_module
from wsl.cli.configuration import configuration
from wsl.data.categories import Categories
from wsl.data.geometry import Geometry
from wsl.errors import ConfigError, ModelError, RunMismatchError
from wsl.localize.localizer import Localizer
from wsl.models.average import ClassifierAverage, group_members, load_members, naming
from wsl.models.classifier import Classifier
from wsl.models.options import ModelOptions
from wsl.models.preprocessing import Preprocessing
from wsl.run.config import build_config
from wsl.run.engines import ray_work
from wsl.run.folder import RunFolder
from wsl.run.maps import open_maps, stored_map
from wsl.run.runner import build_localizer, run_dataset
from wsl.saliency.class_maps import ClassMaps, class_maps
from wsl.saliency.explain import explain, explain_target
from wsl.saliency.gradient import Gradient
from wsl.saliency.targets import TargetOptions
from wsl.saliency.views import Views
from wsl.tune.options import TuneOptions
from wsl.tune.space import SearchSpace
from wsl.tune.tuner import store_maps


def named(names, ids=None, *, name="other", module=None):
    made = Categories(tuple(names), None if ids is None else tuple(ids))
    return dataclasses.replace(
        classifier(module), categories=made, name=name, module=module or nn.Flatten()
    )


def linear(weights, names=("left", "right"), *, name="linear", channels=3):
    """Scores of a 1 x 2 image: the weights (C, 2) times the sums of its two pixels' channels."""
    weights = torch.tensor(weights, dtype=torch.float32)
    head = nn.Linear(2 * channels, len(weights), bias=False)
    head.weight.data = weights.repeat(1, channels)
    return Classifier(
        nn.Sequential(nn.Flatten(), head),
        Preprocessing(
            resize_size=(1, 2), crop_size=(1, 2), mean=(0.0,) * channels, std=(1.0,) * channels
        ),
        Categories(names),
        torch.device("cpu"),
        name=name,
    )


# ---- Classes


@pytest.mark.parametrize(
    ("names", "ids", "labels"),
    [
        (("one", "two", "three"), WNIDS, [0, 1, 2]),
        (("c", "a", "b"), (WNIDS[2], WNIDS[0], WNIDS[1]), [1, 2, 0]),
        (("three", "One", "two"), None, [1, 2, 0]),
        (("two, deuce", "three", "four", "one"), None, [3, 0, 1]),
        (("x", "one", "two", "three"), ("n9", *WNIDS), [1, 2, 3]),
    ],
    ids=["same", "by-id", "by-name", "synonym-and-more", "knows-more"],
)
def test_classes_are_those_of_the_first_found_in_each_member(names, ids, labels):
    average = ClassifierAverage((classifier(), named(names, ids)))
    assert average.categories == classifier().categories
    assert average.own_labels(0, [0, 1, 2]) == [0, 1, 2]
    assert average.own_labels(1, [0, 1, 2]) == labels


def test_names_without_ids_match_by_place_where_all_are_the_same():
    cranes = ("crane", "crane")
    average = ClassifierAverage((named(cranes), named(cranes, ("n1", "n2"))))
    assert average.own_labels(1, [0, 1]) == [0, 1]


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        (("one", "two"), None, "not 1 of 3: 'three'"),
        (("one", "two", "two", "three"), None, "not 1 of 3: 'two'"),
        (("a", "b", "c", "d"), None, "not 3 of 3: 'one', 'two', 'three'. Name first"),
        (("one", "two", "three"), ("n1", "n2", "n3"), "not 3 of 3"),
    ],
    ids=["fewer", "ambiguous", "others", "other-ids"],
)
def test_a_class_that_a_member_does_not_know_is_an_error(names, ids, message):
    with pytest.raises(ModelError, match=f"other must know every class of .*, but {message}"):
        ClassifierAverage((classifier(), named(names, ids)))


def test_two_classes_that_a_member_tells_as_one_are_an_error():
    first = named(("crane, bird", "crane, machine"), name="first")
    with pytest.raises(ModelError, match="other must know every class of first, but not 2 of 2"):
        ClassifierAverage((first, named(("crane", "owl"))))


@pytest.mark.parametrize("count", [0, 1])
def test_an_average_is_of_two_or_more(count):
    with pytest.raises(ModelError, match=f"two or more classifiers, but got {count}"):
        Localizer([classifier()] * count)


# ---- Probabilities and maps, by hand


def test_probabilities_are_the_mean_over_the_known_classes():
    first = linear([[0, 0], [0, 0]])
    second = linear([[0, 0], [0, 0], [0, 0]], ("other", "right", "left"))
    average = ClassifierAverage((first, second))
    ln = np.log
    scores = average.average(
        [torch.tensor([[ln(3), ln(1)]]), torch.tensor([[ln(90), ln(4), ln(1)]])]
    )
    # 3/4 and 1/5 of left; "other" is left out before the softmax.
    np.testing.assert_allclose(scores.softmax(1), [[0.475, 0.525]], rtol=1e-6)
    np.testing.assert_allclose(scores.exp(), [[0.475, 0.525]], rtol=1e-6)


def test_a_class_of_no_probability_keeps_its_rank():
    average = ClassifierAverage((linear([[0, 0], [0, 0]]),) * 2)
    scores = average.average([torch.tensor([[0.0, -2000.0]], dtype=torch.float64)] * 2)
    assert scores.tolist() == [[0.0, -2000.0]]


GEOMETRIES = (Geometry.squash((1, 3), (1, 3)),) * 3


def laid(*maps, members):
    arrays = tuple(np.array([[each]], np.float32) for each in maps)
    found = ClassMaps((0,), (1,), (0.0,), (1.0,), arrays, (), members)
    return found.on_image(0, GEOMETRIES[: len(maps)])[0].tolist()


@pytest.mark.parametrize(
    ("maps", "members", "expected"),
    [
        (([1, 2, 5], [7, 9, 7]), (1, 1), [0, 0.625, 0.5]),
        (([1, 2, 5], [3, 3, 3]), (1, 1), [0, 0.125, 0.5]),
        (([1, 1, 1], [3, 3, 3]), (1, 1), [0, 0, 0]),
        (([0, 4, 2], [2, 2, 2], [9, 1, 1]), (2, 1), [0.5, 0.5, 0.25]),
        (([1, 2, 5],), (), [1, 2, 5]),
    ],
    ids=["two", "one-flat", "all-flat", "two-views-and-one", "single-classifier"],
)
def test_each_members_map_is_stretched_and_they_are_averaged(maps, members, expected):
    assert laid(*maps, members=members) == expected


def test_a_map_that_is_not_finite_stays_so():
    assert np.isnan(laid([1, 2, np.nan], [1, 2, 3], members=(1, 1))).any()


def test_each_member_explains_its_own_label_in_its_own_view():
    # The gradient of left's score is (2, 1) for the first, of right's (1, 4) for the second, which
    # calls it left; its inputs are gray.
    first = linear([[2, 1], [0, 0]])
    second = linear([[0, 0], [1, 4]], ("right", "left"), channels=1)
    localizer = Localizer([first, second], "plain")
    image = np.zeros((1, 2, 3), np.uint8)
    views = localizer.views(image)
    assert [tuple(group.shape) for group in views.groups] == [(1, 3, 1, 2), (1, 1, 1, 2)]
    assert localizer.view_count == 2
    (found,) = localizer.explain([views], [[0]], first=0)
    np.testing.assert_allclose(found.input_maps[0], [[[2, 1]]])
    np.testing.assert_allclose(found.input_maps[1], [[[1, 4]]])
    np.testing.assert_allclose(found.on_image(0, views.geometries), [[0.5, 0.5]])


def test_an_image_of_a_batch_is_explained_as_alone():
    average = ClassifierAverage((classifier(network(1)), classifier(network(2))))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(3)]
    localizer = Localizer(average, "plain")
    cut = [localizer.views(image) for image in images]
    together = localizer.explain(cut, [()] * 3, first=[1, 2, 3])
    for views, first, found in zip(cut, (1, 2, 3), together, strict=True):
        (alone,) = localizer.explain([views], [()], first=first)
        assert alone.classes == found.classes
        for one, other in zip(alone.input_maps, found.input_maps, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_members_are_left_as_they_were_also_after_an_error():
    module = network(1).train()
    before = state_of(module)
    average = ClassifierAverage((classifier(module), classifier(module)))
    with pytest.raises(ZeroDivisionError), average.inference():
        _ = 1 / module.training
    assert state_of(module) == before


def test_the_maps_of_a_localizer_are_the_members_averaged():
    members = [classifier(network(1)), classifier(network(2))]
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (found,) = explain(ClassifierAverage(tuple(members)), image, Gradient(), classes=["two"])
    parts = [explain(each, image, Gradient(), classes=["two"])[0].saliency for each in members]
    stretched = [(part - part.min()) / (part - part.min()).max() for part in parts]
    np.testing.assert_allclose(found.saliency, (stretched[0] + stretched[1]) / 2, atol=1e-6)


# ---- The property: a network averaged with itself


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("drawn") / "photos")


def same_rows(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for key in ("score", "quality"):
            assert one.pop(key) == pytest.approx(other.pop(key), rel=1e-6)
        assert one == other


@pytest.mark.parametrize("recipe", ["plain", "default"])
def test_an_average_of_a_network_with_itself_gives_its_rows(photos, tmp_path, recipe):
    settings = config(photos, saliency__method="gradient").model_copy()
    if recipe == "default":
        content = settings.model_dump(mode="json", include={"data", "classes", "run"})
        settings = build_config(content, ["saliency.method=gradient"])
    own = classifier()
    run_dataset(settings, tmp_path / "own", classifier=own)
    run_dataset(settings, tmp_path / "both", classifier=ClassifierAverage((own, own)))
    same_rows(rows(tmp_path / "both"), rows(tmp_path / "own"))


# ---- Runs


def factory_one():
    return classifier(network(1))


def factory_two():
    made = classifier(network(2))
    size = dataclasses.replace(made.preprocessing, resize_size=(32, 32), mean=(0.4,) * 3)
    return dataclasses.replace(made, preprocessing=size)


MODELS = "[{factory: test_models_average:factory_one}, {factory: test_models_average:factory_two}]"


def test_runs_of_a_configuration_on_ray_and_on_this_machine_are_the_same(
    photos, tmp_path, monkeypatch
):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda found: found)
    settings = config(photos, models=MODELS, run__maps=True)
    run_dataset(settings, tmp_path / "local")
    work = on_ray(settings, tmp_path / "ray")
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    assert work.maps_path(0).read_bytes() == RunFolder(tmp_path / "local").maps_path(0).read_bytes()


def on_ray(settings, out):
    from wsl.data.open import open_dataset
    from wsl.run.runner import describe_run
    from wsl.run.stages import Stages

    localizer = build_localizer(settings)
    dataset = open_dataset(settings.data, localizer.classifier.categories)
    folder = RunFolder(out)
    folder.begin(describe_run(settings, localizer, dataset))
    stages = Stages(
        localizer, classes=settings.classes, options=settings.run,
        max_pixels=settings.data.max_pixels,
    )  # fmt: skip
    plan = ray_work.plan_of(stages, folder)
    bare = dataclasses.replace(plan, classifier=ray_work.without_module(plan.classifier))
    explainer = ray_work.Explainer(plan, dataset, 0)
    for chunk in range(-(-len(dataset) // settings.run.chunk_size)):
        ray_work.segment_chunk(explainer({"chunk": np.array([chunk])}), bare)
    return folder


def test_a_run_names_its_members_and_refuses_others(photos, tmp_path, monkeypatch):
    settings = config(photos, models=MODELS)
    run_dataset(settings, tmp_path / "run")
    info = RunFolder(tmp_path / "run").read_info()
    members = [factory_one(), factory_two()]
    assert info.model["name"] == " + ".join(each.name for each in members)
    assert [each["fingerprint"] for each in info.model["members"]] == [
        each.fingerprint for each in members
    ]
    assert build_config(info.config) == settings
    summary = run_dataset(settings, tmp_path / "run")
    assert summary.chunks_done == 0
    moved = MODELS.replace("}", ", device: cpu}")
    assert run_dataset(config(photos, models=moved), tmp_path / "run").chunks_done == 0
    swapped = MODELS.replace("one", "three").replace("two", "one").replace("three", "two")
    with pytest.raises(RunMismatchError, match=r"models\.factory was .*factory_one' and is"):
        run_dataset(config(photos, models=swapped), tmp_path / "run")
    with pytest.raises(RunMismatchError, match="models was"):
        run_dataset(config(photos), tmp_path / "run", classifier=factory_one())
    monkeypatch.setattr("test_models_average.factory_two", lambda: classifier(network(5)))
    with pytest.raises(RunMismatchError, match=r"the weights of models\.1 is another"):
        run_dataset(settings, tmp_path / "run")


def test_groups_are_made_of_each_members_own_classes():
    first = named(("one", "two", "three"), WNIDS)
    second = named(("three", "one", "two", "four"), name="second")
    groups = {"low": ["one", "two"], "high": ["three"]}
    average = group_members(ClassifierAverage((first, second)), groups)
    assert average.categories.names == ("low", "high")
    scores = [member.module(torch.zeros(1, 4)) for member in average.members]
    assert scores[0].shape == scores[1].shape == (1, 2)
    with pytest.raises(ConfigError, match="there is no class 'four'"):
        group_members(ClassifierAverage((first, second)), {"low": ["four"]})


def test_a_localizer_takes_a_list_and_groups_of_a_configuration(photos, tmp_path):
    (tmp_path / "groups.yaml").write_text("low: [one, two]\nhigh: [three]\n")
    settings = config(photos, models=MODELS, classes__groups=tmp_path / "groups.yaml")
    localizer = build_localizer(settings)
    assert localizer.classifier.categories.names == ("low", "high")
    found = localizer(next(photos.rglob("*.png")), top_k=2)
    assert sum(each.score for each in found) == pytest.approx(1)


# ---- Refusals


def test_errors_name_the_member():
    good = classifier(network(1))
    bad = dataclasses.replace(
        classifier(nn.Sequential(network(2), nn.Softmax(dim=1))), name="the second"
    )
    localizer = Localizer([good, bad], "plain")
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(ModelError, match=r"^the second must return unnormalized scores"):
        localizer(image)
    layer = {"saliency": {"method": "grad_cam", "layer": "nowhere"}}
    named_layer = Localizer([dataclasses.replace(good, name="the first"), good],
                            build_config(layer))  # fmt: skip
    with pytest.raises(ModelError, match=r"^the first: .*nowhere"):
        named_layer(image)


def test_an_error_of_a_single_classifier_is_left_alone():
    own = classifier()
    with pytest.raises(ModelError, match=r"^as it was$"), naming(own, own):
        raise ModelError("as it was")


def test_a_model_that_cannot_be_loaded_is_named():
    models = [ModelOptions(source="demo"), ModelOptions(architecture="resnet1000", weights=None)]
    with pytest.raises(ModelError, match=r"^models\.1: .*resnet1000"):
        load_members(models)


def test_a_device_holds_for_members_without_their_own():
    average = load_members([ModelOptions(source="demo")] * 2, device="cpu")
    assert [str(member.device) for member in average.members] == ["cpu", "cpu"]
    assert average.name == "demo + demo"


def test_a_target_is_of_one_network():
    average = ClassifierAverage((classifier(), classifier()))
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"a target is of one network, but .* is an average"):
        explain_target(average, image, Gradient(), TargetOptions(layer="0", channel=0))


def test_views_of_an_average_belong_to_its_members():
    one = Views((torch.zeros(1, 3, 2, 2),), (Geometry.squash((4, 4), (2, 2)),))
    joined = Views.of_members([one, one])
    average = ClassifierAverage((linear([[1, 0, 0, 0], [0] * 4]), linear([[0] * 4, [1] * 4])))
    (found,) = class_maps(average, Gradient(), [joined], [()], first=1)
    assert found.members == (1, 1)


def test_tuning_keeps_the_maps_of_a_run(tmp_path):
    settings = tuning_config(
        draw_dataset(tmp_path / "data", 4), models=MODELS, **{"classes.select": "ground_truth"},
        **{"run.maps": True, "run.map_dtype": "float32"},
    )  # fmt: skip
    run_dataset(settings, tmp_path / "run")
    space = SearchSpace({"localize.components": ("all",)})
    store = store_maps(settings, space, tmp_path / "tune", TuneOptions())
    size = settings.localize.working_size
    with open_maps(RunFolder(tmp_path / "run").maps_path(0)) as maps:
        for position, (_, _, stored) in enumerate(maps):
            tuned = stored_map(store.map_(position, size), "float32")
            np.testing.assert_array_equal(stored, tuned)
    assert position == 3


@pytest.mark.parametrize(
    ("models", "checkpoints", "expected"),
    [
        ((), (), {"model.device": "cpu"}),
        (("demo",), (), {"models": None, "model.source": "demo", "model.architecture": None,
                         "model.device": "cpu"}),
        (
            ("timm/deit_tiny_patch16_224", "a.b:c"),
            ("one.pth", "two.pth"),
            {
                "model": None,
                "models": [
                    {"source": "timm", "architecture": "deit_tiny_patch16_224", "device": "cpu",
                     "checkpoint": "one.pth"},
                    {"factory": "a.b:c", "device": "cpu", "checkpoint": "two.pth"},
                ],
            },
        ),
    ],
    ids=["none", "one", "two"],
)  # fmt: skip
def test_models_of_the_command_line(models, checkpoints, expected):
    keys = configuration_module._model_keys(models, list(map(Path, checkpoints)), None, "cpu")
    assert keys == expected


@pytest.mark.parametrize("count", [1, 3])
def test_checkpoints_of_the_command_line_are_as_many_as_the_models(count):
    with pytest.raises(ConfigError, match=f"once for each --model, .* there are {count} for 2"):
        configuration(model=["resnet18", "demo"], checkpoint=[Path("x.pth")] * count)


def test_the_command_line_replaces_a_recipes_classifiers():
    assert configuration(recipe="best", model=["demo"]).models == ()
    both = configuration(recipe="demo", model=["demo", "resnet18"], device="cpu")
    assert [model.source for model in both.models] == ["demo", "torchvision"]
    assert configuration(recipe="best", device="cpu").model.device == "cpu"
    assert configuration(device="cpu").model.architecture == "resnet50"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["models=[{source: demo}]"], "models must name two or more classifiers"),
        (
            ["models=[{source: demo}, {source: demo}]", "model.architecture=resnet18"],
            "model must not be given beside models",
        ),
        (["models=[{source: demo}, {sauce: demo}]"], r"models\.1\.sauce is an unknown key"),
    ],
    ids=["one", "both", "unknown-key"],
)
def test_a_configuration_names_one_or_several(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_config({}, overrides)


def test_null_takes_a_recipes_choice_away():
    assert build_config({"extends": "best", "models": None}).models == ()
    both = build_config({"extends": "best"}, {"model.device": "cpu"})
    assert [model.architecture for model in both.models] == [
        "deit_tiny_patch16_224", "squeezenet1_0",
    ]  # fmt: skip
    content = {"extends": "demo", "model": None, "models": [{"source": "demo"}] * 2}
    assert len(build_config(content).models) == 2
