import pytest

from wsl.errors import ConfigError
from wsl.run.config import build_config, load_config, to_yaml
from wsl.saliency.methods import DRAWN, METHODS
from wsl.saliency.views import ViewOptions


@pytest.mark.parametrize("name", DRAWN)
def test_each_method_says_what_it_is(name):
    method = DRAWN[name]
    assert method().method == name
    assert method.summary.endswith((".", ")."))
    assert "\n" not in method.summary
    assert "20" in method.reference
    assert len({DRAWN[other].summary for other in DRAWN}) == len(DRAWN)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_a_choice_of_the_configuration_with_views(name):
    content = {"method": name, "views": {"kind": "ten_crop"}}
    found = build_config({"extends": "plain", "saliency": content}).saliency
    assert found == METHODS[name](views=ViewOptions(kind="ten_crop"))


@pytest.mark.parametrize(
    ("method", "option"),
    [("gradient", "non_relu"), ("cam", "reduction"), ("occlusion", "samples"), ("cam", "layers")],
    ids=str,
)
def test_options_of_other_methods_are_refused(method, option):
    with pytest.raises(
        ConfigError, match=rf"saliency\.{option} is an option of method .*, but method is {method}"
    ):
        build_config({"saliency": {"method": method, option: "gradient"}})


def test_a_configuration_of_a_method_comes_back_equal_from_yaml(tmp_path):
    config = build_config(
        {"saliency": {"method": "smoothgrad", "samples": 9}},
        ["saliency.noise=0.1", "saliency.views.input_sizes=[64, 96]"],
    )
    assert config.saliency.samples == 9
    assert config.saliency.views.input_sizes == (64, 96)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "run.yaml") == config


def test_an_unknown_method_names_the_near_ones():
    with pytest.raises(ConfigError, match=r"but got 'gradcam'\. Did you mean grad_cam"):
        build_config({"saliency": {"method": "gradcam"}})
