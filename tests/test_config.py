"""Configurations: files, overrides, clear refusals; those in configs/ are valid."""

from pathlib import Path

import pytest

from wsl.config.messages import RENAMED_KEYS
from wsl.config.options import option_keys
from wsl.errors import ConfigError
from wsl.localize.recipes import recipe_names
from wsl.run.config import RunConfig, build_config, load_config, to_yaml

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.mark.parametrize(
    "source",
    [*recipe_names(), *sorted(CONFIGS.glob("*.yaml"))],
    ids=lambda source: str(source)[-20:],
)
def test_named_configurations_are_valid_and_come_back_from_yaml(source, tmp_path):
    config = load_config(source)
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(again) == config


@pytest.mark.parametrize("source", ["simonyan2013", CONFIGS / "simonyan2013.yaml"], ids=str)
def test_the_papers_recipe_is_the_papers(source):
    config = load_config(source)
    assert config.saliency.method == "gradient"
    assert config.saliency.reduction == "max"
    assert config.saliency.views.kind == "ten_crop"
    assert (config.localize.seeds.foreground, config.localize.seeds.background) == (0.95, 0.30)
    assert config.localize.seeds.smoothing == 0
    assert config.classes.top_k == 5


def test_overrides_win_and_are_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("localize: {seeds: {foreground: 0.9}}\n")
    config = load_config(
        path, ["localize.seeds.foreground=0.8", "classes.names=[1, n01440764]",
               "classes.select=named", "localize.working_size=null"],
    )  # fmt: skip
    assert config.localize.seeds.foreground == 0.8
    assert config.classes.names == (1, "n01440764")
    assert config.localize.working_size is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locallize: {}", r"locallize is an unknown key\. Did you mean localize\?"),
        (
            "localize: {seeds: {forground: 1}}",
            r"localize\.seeds\.forground is an unknown key\. Did you mean fore",
        ),
        (
            "localize: {seeds: {foreground: 2}}",
            r"localize\.seeds\.foreground must be less than or equal to 1, but got 2$",
        ),
        ("classes: {top_k: many}", r"classes\.top_k must be a valid integer, but got 'many'$"),
        ("seed: .inf", r"seed must be a .* number, but got inf"),
        ("localize: {seeds: {foreground: 0.2}}", "background must be below foreground"),
        ("run: [1, 2]", r"run must be keys and values, but got \[1, 2\]"),
        ("- a list", "must hold keys and values, but holds a list"),
        ("a: [", "is not YAML"),
        ("\t", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path, text, message):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("override", ["seed", "=3", "seed.deeper=1", "seed=[", "nosuch=1"])
def test_wrong_overrides_are_refused(tmp_path, override):
    path = tmp_path / "a.yaml"
    path.write_text("seed: 1")
    with pytest.raises(ConfigError):
        load_config(path, [override])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_an_empty_file_is_the_default_recipe(tmp_path):
    (tmp_path / "a.yaml").touch()
    assert load_config(tmp_path / "a.yaml") == load_config("default") == build_config({})


def test_every_option_is_documented_in_the_schema():
    schema = RunConfig.model_json_schema()
    options = {"RunConfig": schema["properties"]} | {
        name: model["properties"] for name, model in schema["$defs"].items()
    }
    undocumented = [
        f"{model}.{name}"
        for model, fields in options.items()
        for name, field in fields.items()
        if not field.get("description")
    ]
    assert undocumented == []


def test_renamed_keys_are_now_what_there_is():
    keys = {key for key, _ in option_keys(RunConfig)}
    for old, new in RENAMED_KEYS.items():
        assert not any(f".{key}".endswith(f".{old}") for key in keys), old
        named = new.split(",")[0].rpartition(".")[2]
        assert any(key.rpartition(".")[2] == named for key in keys) or new.startswith(
            ("the keys of saliency", "activation_maximization")
        ), new


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("saliency.views.scales=[224]", "saliency.views.scales is now input_sizes"),
        ("localize.seeds.levels=otsu", "localize.seeds.levels is now threshold"),
        ("localize.grabcut.iterations=2", "localize.grabcut is now localize.refine"),
        ("data.part=1/2", "data.part is now subset"),
        ("saliency.method=rectified", "but got 'rectified': it is now deconvnet"),
    ],
)
def test_an_old_key_or_value_is_told_its_new_name(override, message):
    with pytest.raises(ConfigError, match=message):
        build_config({}, [override])
