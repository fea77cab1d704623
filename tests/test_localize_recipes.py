"""Recipes, and files that build on them."""

import numpy as np
import pytest

from wsl.errors import ConfigError
from wsl.localize.localizer import Localizer
from wsl.localize.options import LocalizerOptions, load_recipe
from wsl.localize.recipes import RECIPES, read_layers, recipe_names, resolve
from wsl.localize.refiners.map_cut import MapCut
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, build_config, load_config


def parts(config):
    return {name: getattr(config, name) for name in LocalizerOptions.model_fields}


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_nothing_said_is_the_default_recipe():
    default = parts(load_config("default"))
    classifier = load_classifier("demo")
    assert parts(Localizer(classifier).options) == default
    assert parts(LocalizerOptions()) == default
    assert parts(RunConfig()) == default
    assert parts(build_config({"data": {"format": "files"}})) == default
    assert default != parts(load_config("plain"))


def test_a_change_leaves_the_rest_of_the_recipe_as_it_is():
    changed = build_config({}, ["localize.refine.iterations=7"])
    default = load_config("default")
    assert changed.localize.refine.iterations == 7
    assert changed.localize.seeds == default.localize.seeds
    assert changed.saliency == default.saliency


def test_another_refiner_has_its_own_defaults_in_place_of_the_recipes():
    changed = build_config({}, ["localize.refine.method=random_walker"])
    assert changed.localize.refine.model_dump() == {"method": "random_walker", "beta": 130.0}


def test_the_box_of_fast_is_the_defaults_with_one_round():
    fast, default = (load_config(name) for name in ("fast", "default"))
    assert not fast.saliency.views.input_sizes
    box = default.localize.box
    one_round = box.refine.model_copy(update={"iterations": 1})
    assert fast.localize.box == box.model_copy(update={"refine": one_round})
    assert fast.localize.seeds == default.localize.seeds
    assert fast.tuned_on == default.tuned_on


def test_masks_follows_finer_maps_and_has_the_defaults_box():
    masks, default = (load_config(name) for name in ("masks", "default"))
    finer = {"input_sizes": ("1.43x", "2x"), "classify_at": "default_size"}
    views = default.saliency.views.model_copy(update=finer)
    assert masks.saliency == default.saliency.model_copy(update={"views": views})
    assert masks.localize == default.localize.model_copy(update={"refine": MapCut()})


def test_a_localizer_takes_a_recipe_with_overrides(tmp_path):
    classifier = load_classifier("demo")
    by_text = Localizer(classifier, "plain", ["localize.working_size=48"])
    by_key = Localizer(classifier, "plain", {"localize.working_size": 48})
    write(tmp_path, own="extends: plain\nlocalize: {working_size: 48}\ndata: {format: files}")
    by_file = Localizer(classifier, tmp_path / "own.yaml")
    assert by_text.options == by_key.options == by_file.options
    assert by_text.options.localize.working_size == 48
    again = Localizer(classifier, by_text.options, {"seed": 3}).options
    assert again == by_text.options.model_copy(update={"seed": 3})
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    (found,) = by_text(image, top_k=1)
    assert found.mask.shape == (40, 50)


def test_files_extend_files_from_their_own_folder(tmp_path):
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", a="extends: plain\nseed: 1\nlocalize: {working_size: 64}")
    write(tmp_path, b="extends: below/a.yaml\nseed: 2", c="extends: null\nclasses: {top_k: 3}")
    write(tmp_path, d="extends: [b.yaml, c.yaml]\ndata: {format: files}")
    config = load_config(tmp_path / "d.yaml")
    assert (config.seed, config.localize.working_size, config.classes.top_k) == (2, 64, 3)
    assert config.data.format == "files"
    assert config.saliency.method == "gradient"


def test_recipes_win_over_files_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast").write_text("seed: 5")
    assert load_config("fast").seed == 0
    assert load_config("./fast").seed == 5
    assert resolve("fast") == RECIPES / "fast.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: fats", r"no recipe and no file 'fats'\. Did you mean fast"),
        ("extends: gone.yaml", r"cannot read the configuration .*gone\.yaml"),
        ("extends: a.yaml", r"a\.yaml extends itself"),
        (
            "extends: [default, b.yaml]",
            r"a\.yaml extends itself: .*a\.yaml -> .*b\.yaml -> .*a\.yaml",
        ),
        ("extends: 3", "extends must be the name of a recipe, a path, .*, but is 3"),
        ("extends: {a: b}", "extends must be"),
    ],
    ids=["name", "file", "itself", "circle", "number", "mapping"],
)
def test_what_cannot_be_extended_is_refused(tmp_path, text, message):
    write(tmp_path, a=text, b="extends: a.yaml")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "a.yaml")


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no recipe and no file 'defualt'\. Did you mean default"
    ):
        load_recipe("defualt")


def test_recipes_build_on_nothing_or_on_each_other():
    assert {"best", "default", "demo", "fast", "masks", "plain", "simonyan2013"} <= set(
        recipe_names()
    )
    for name in recipe_names():
        layers = read_layers({"extends": name})
        assert all("extends" not in layer for layer in layers)
