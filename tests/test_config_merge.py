"""Layers of keys and values over choices: what is kept, what is dropped, what errors say."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from wsl.config.layers import build_options, merge
from wsl.config.options import Options, choices, option_keys
from wsl.errors import ConfigError


class Views(Options):
    sizes: tuple[int, ...] = ()
    flip: bool = False


class Method(Options):
    views: Views = Field(default_factory=Views)
    batch_size: int | None = 8


class Fusion(Method):
    method: Literal["fusion"] = "fusion"
    smoothing: float = 0.1


class Cam(Method):
    method: Literal["grad_cam", "layer_cam"] = "grad_cam"
    layer: str | None = None


class Noise(Method):
    method: Literal["noise"] = "noise"
    samples: int = Field(25, ge=1)
    fill: Literal["gray", "mean"] | tuple[int, int, int] = "gray"


AnyMethod = Annotated[Fusion | Cam | Noise, Field(discriminator="method")]


class Config(Options):
    saliency: AnyMethod = Field(default_factory=Fusion)
    refine: Annotated[Fusion | Cam, Field(discriminator="method")] | None = None
    groups: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    several: tuple[AnyMethod, ...] = ()
    width: int = 3


RECIPE = {"saliency": {"method": "fusion", "smoothing": 0.027, "views": {"sizes": [224, 320]}}}


def build(content, *overrides):
    return build_options(Config, content, overrides, source="recipe.yaml")


def test_another_choice_drops_own_options_and_keeps_shared_ones():
    config = build(RECIPE, "saliency.method=grad_cam")
    assert config.saliency == Cam(views=Views(sizes=(224, 320)))


@pytest.mark.parametrize("order", [1, -1], ids=["choice first", "option first"])
def test_the_order_of_overrides_does_not_matter(order):
    overrides = ["saliency.method=noise", "saliency.samples=3", "saliency.views.flip=true"]
    config = build(RECIPE, *overrides[::order])
    assert config.saliency == Noise(samples=3, views=Views(sizes=(224, 320), flip=True))


def test_two_names_of_one_choice_keep_its_options():
    layers = [
        {"saliency": {"method": "grad_cam", "layer": "x"}},
        {"saliency": {"method": "layer_cam"}},
    ]
    assert merge(Config, *layers) == {"saliency": {"method": "layer_cam", "layer": "x"}}


def test_the_default_choice_need_not_be_named():
    assert build({"saliency": {"smoothing": 0.5}}).saliency == Fusion(smoothing=0.5)
    layers = [{"saliency": {"smoothing": 0.5}}, {"saliency": {"method": "fusion"}}]
    assert merge(Config, *layers) == {"saliency": {"method": "fusion", "smoothing": 0.5}}


def test_null_takes_the_default_unless_it_is_a_value():
    content = RECIPE | {"width": 5}
    assert build(content, "width=null").width == 3
    assert build(content, "saliency=null").saliency == Fusion()
    assert build(content, "saliency.smoothing=null").saliency.smoothing == 0.1
    assert build(content, "saliency.batch_size=null").saliency.batch_size is None
    content = {"saliency": {"method": "noise", "samples": 2, "batch_size": 4}}
    assert build(content, "saliency.method=null").saliency == Fusion(batch_size=4)


def test_a_choice_that_may_be_none():
    content = {"refine": {"method": "grad_cam", "layer": "x"}}
    assert build(content).refine == Cam(layer="x")
    assert build(content, "refine=null").refine is None
    assert build(content, "refine.method=fusion").refine == Fusion()


def test_layers_are_not_changed_and_plain_mappings_are_replaced():
    content = {"groups": {"a": [1]}, "saliency": {"views": {"flip": True}}}
    assert build(content, "groups={b: [2]}", "saliency.views.sizes=[7]").groups == {"b": (2,)}
    assert content == {"groups": {"a": [1]}, "saliency": {"views": {"flip": True}}}


def test_a_union_is_built_like_a_model():
    made = build_options(AnyMethod, {"method": "noise"}, ["samples=2"], source="x")
    assert made == Noise(samples=2)
    with pytest.raises(ConfigError, match=r"^x: method must be one of fusion, grad_cam, layer_cam"):
        build_options(AnyMethod, {}, source="x")
    assert choices(AnyMethod) == {
        "fusion": Fusion, "grad_cam": Cam, "layer_cam": Cam, "noise": Noise,
    }  # fmt: skip


def test_overrides_may_be_values_by_dotted_keys():
    made = build_options(Config, RECIPE, {"saliency.views": {"flip": True}}, source="x")
    assert made.saliency.views == Views(sizes=(224, 320), flip=True)


LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "width": st.none() | st.integers(0, 9),
        "saliency": st.one_of(
            st.fixed_dictionaries(
                {}, optional={"method": st.just("fusion"), "smoothing": st.floats(0, 1)}
            ),
            st.fixed_dictionaries(
                {"method": st.just("noise")}, optional={"samples": st.integers(1)}
            ),
            st.fixed_dictionaries(
                {"method": st.sampled_from(["grad_cam", "layer_cam"])},
                optional={"layer": st.none() | st.text(), "views": st.just({"flip": True})},
            ),
        ),
    },
)


@given(st.lists(LAYERS, max_size=4))
def test_layers_of_valid_choices_can_be_merged_in_steps_unless_an_option_has_no_choice(layers):
    merged = merge(Config, *layers)
    stepwise = {}
    for layer in layers:
        stepwise = merge(Config, stepwise, layer)
    assert merged == stepwise
    if all("method" in layer.get("saliency", ("method",)) for layer in layers):
        build(merged)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["saliency.smoothin=1"],
            "saliency.smoothin is an unknown key. Did you mean smoothing?",
        ),
        (
            ["saliency.samples=1"],
            "saliency.samples is an option of method noise, but method is fusion",
        ),
        (
            ["saliency.layer=x", "saliency.method=noise"],
            "saliency.layer is an option of method grad_cam or layer_cam, but method is noise",
        ),
        (
            ["saliency.method=grad_can"],
            "saliency.method must be one of fusion, grad_cam, layer_cam, noise, "
            "but got 'grad_can'. Did you mean grad_cam?",
        ),
        (
            ["saliency.method=noise", "saliency.samples=0"],
            "saliency.samples must be greater than or equal to 1, but got 0",
        ),
        (
            ["saliency.method=noise", "saliency.views.flip=7"],
            "saliency.views.flip must be a valid boolean, but got 7",
        ),
        (
            ["saliency.views.sises=7"],
            "saliency.views.sises is an unknown key. Did you mean sizes?",
        ),
        (
            ["saliency.method=noise", "saliency.fill=pink"],
            "saliency.fill must be 'gray' or 'mean' or must be a valid tuple, but got 'pink'",
        ),
        (
            ["refine.method=noise"],
            "refine.method must be one of fusion, grad_cam, layer_cam, but got 'noise'",
        ),
        (
            ["several=[{method: noise, sample: 1}]"],
            "several.0.sample is an unknown key. Did you mean samples?",
        ),
        (["groups={a: [x]}"], "groups.a.0 must be a valid integer, but got 'x'"),
        (["saliency.views.scales=[1]"], "saliency.views.scales is now input_sizes"),
        (["saliency=7"], "saliency must be keys and values, but got 7"),
        (["width=1", "width.x=1"], "width in width.x is a value and has no keys below it"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_messages(overrides, message):
    with pytest.raises(ConfigError) as caught:
        build(RECIPE, *overrides)
    assert str(caught.value) == f"--set: {message}"


def test_what_the_file_holds_is_said_of_the_file():
    with pytest.raises(ConfigError, match=r"^recipe\.yaml: saliency\.smothing is an unknown"):
        build({"saliency": {"smothing": 1}}, "width=3")


def test_many_mistakes_are_cut_short():
    with pytest.raises(ConfigError) as caught:
        build({f"x{n}": "y" * 1000 for n in range(100)})
    assert len(str(caught.value).splitlines()) == 21
    with pytest.raises(ConfigError) as caught:
        build({"width": "y" * 1000})
    assert len(str(caught.value)) < 200


def test_all_keys_of_all_choices():
    keys = {key for key, _ in option_keys(Config)}
    assert {"saliency.method", "saliency.views.flip", "saliency.samples", "refine.layer"} <= keys
