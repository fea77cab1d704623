"""Search spaces: what can be tried, and how settings are put into a configuration."""

import pytest

from wsl.errors import ConfigError
from wsl.run.config import build_config
from wsl.tune.space import SearchSpace, describe, make_candidate, read_space

SEEDS = "localize.seeds.foreground"


def test_combinations_stand_in_the_order_of_their_values():
    space = SearchSpace.from_pairs(["localize.components=[all, largest]", f"{SEEDS}=[0.8, 0.9]"])
    assert len(space) == 4
    assert [tuple(one.values()) for one in space.combinations()] == [
        ("all", 0.8), ("all", 0.9), ("largest", 0.8), ("largest", 0.9),
    ]  # fmt: skip


def test_a_file_and_the_command_line_go_together(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(f"{SEEDS}: [0.8, 0.9]\nlocalize.components: [all]\n")
    assert SearchSpace.from_file(path).values[SEEDS] == (0.8, 0.9)
    both = read_space(path, [f"{SEEDS}=[0.7]", "localize.working_size=[112, null]"])
    assert both.values == {
        SEEDS: (0.7,),
        "localize.components": ("all",),
        "localize.working_size": (112, None),
    }


def test_choices_change_nothing_else():
    config = build_config(
        {"extends": "plain", "localize": {"seeds": {"background": 0.1}}, "seed": 4}
    )
    candidate = make_candidate(config, {SEEDS: 0.8, "localize.working_size": None})
    expected = config.localize.model_copy(
        update={
            "seeds": config.localize.seeds.model_copy(update={"foreground": 0.8}),
            "working_size": None,
        }
    )
    assert candidate.options == expected
    assert candidate.text == "seeds.foreground=0.8, working_size=null"
    assert make_candidate(config, {}).text == "as configured"


def test_a_mapping_sets_several_keys_together():
    config = build_config({"extends": "plain", "localize": {"seeds": {"smoothing": 0.02}}})
    value = {"foreground": 0.8, "background": 0.4}
    seeds = make_candidate(config, {"localize.seeds": value}).options.seeds
    assert (seeds.foreground, seeds.background, seeds.smoothing) == (0.8, 0.4, 0.02)
    assert describe({"localize.seeds": value}) == "seeds={foreground: 0.8, background: 0.4}"


def test_a_digest_is_of_the_effective_settings():
    config = build_config({"extends": "plain"})
    plain = make_candidate(config, {}).digest
    assert make_candidate(config, {SEEDS: 0.95}).digest == plain
    assert make_candidate(config, {"localize.seeds": {"foreground": 0.95}}).digest == plain
    assert make_candidate(config, {SEEDS: 0.9}).digest != plain


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["saliency.method=[cam]"], r"saliency\.method cannot be tuned: keys must be below local"),
        (["localize=[1]"], "localize cannot be tuned"),
        ([f"{SEEDS}=0.9"], r"must have a list of values, not 0\.9"),
        ([f"{SEEDS}=[]"], "must have at least one value"),
        ([f"{SEEDS}=[0.9, 0.90]"], r"must differ, but are 0\.9, 0\.9"),
        ([f"{SEEDS}=[0.9"], "is not YAML"),
        ([f"{SEEDS}=[!!int x]"], "is not YAML: invalid literal"),
        ([SEEDS], r"must be key=\[value, value, …\]"),
        ([f"{SEEDS}=[0.9]", f"{SEEDS}=[0.8]"], "is given twice"),
        (
            ["localize.seeds=[{}]", f"{SEEDS}=[0.8]"],
            "cannot be tuned along with localize.seeds",
        ),
        ([], "there is nothing to try"),
    ],
)
def test_spaces_that_cannot_be_meant_are_refused(pairs, message):
    with pytest.raises(ConfigError, match=message):
        read_space(None, pairs)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot read the search space"), ("- a", "must hold dotted keys"), ("a: [", "YAML")],
)
def test_files_that_are_no_space_are_refused(tmp_path, text, message):
    path = tmp_path / "space.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        SearchSpace.from_file(path)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"localize.seeds.foregroud": 1}, r"seeds\.foregroud=1: .* an unknown key.* foreground\?"),
        ({SEEDS: 0.1}, r"candidate seeds\.foreground=0\.1: localize\.seeds: background must be"),
        ({f"{SEEDS}.x": 1}, r"foreground must be a valid number, but got \{'x': 1\}"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(choices, message):
    with pytest.raises(ConfigError, match=message):
        make_candidate(build_config({"extends": "plain"}), choices)
