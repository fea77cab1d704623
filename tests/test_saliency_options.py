from typing import get_args

import pytest
from pydantic import ValidationError

from wsl.errors import ConfigError
from wsl.run.config import build_config, load_config, to_yaml
from wsl.saliency.methods import METHODS, build_method
from wsl.saliency.options import MethodName, SaliencyOptions

GROUPS = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 7}, "cam": {"layer": "a"}}


def test_the_table_of_methods_is_that_of_the_options():
    assert set(METHODS) == set(get_args(MethodName))
    fields = set(SaliencyOptions.model_fields)
    for name, method in METHODS.items():
        assert method.summary.endswith(".")
        assert "\n" not in method.summary
        assert "20" in method.reference
        assert set(method.options) <= fields
        assert callable(build_method(SaliencyOptions(method=name)))
    used = {option for method in METHODS.values() for option in method.options}
    assert used | {"method", "views"} == fields


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("option", ["reduction", "modifier", "non_relu", *GROUPS])
def test_options_of_other_methods_are_refused(name, option):
    value = {"reduction": "l2", "modifier": "positive", "non_relu": "gradient", **GROUPS}[option]
    if option in METHODS[name].options:
        options = SaliencyOptions.model_validate({"method": name, option: value})
        assert getattr(options, option) != getattr(SaliencyOptions(), option)
        return
    message = f"{option} must not be set for method {name}, which does not use it; it belongs to "
    with pytest.raises(ValidationError, match=message):
        SaliencyOptions.model_validate({"method": name, option: value})


def test_a_configuration_of_a_method_comes_back_equal_from_yaml(tmp_path):
    config = build_config(
        {"saliency": {"method": "smoothgrad", "smoothgrad": {"samples": 9}}},
        ["saliency.smoothgrad.noise=0.1", "saliency.views.input_sizes=[64, 96]"],
    )
    assert config.saliency.smoothgrad.samples == 9
    assert config.saliency.views.input_sizes == (64, 96)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "run.yaml") == config


def test_mistakes_are_explained_in_one_line():
    with pytest.raises(ConfigError, match=r"saliency: cam must not be set for method gradient"):
        build_config({"saliency": {"cam": {"layer": "layer4"}}})
    with pytest.raises(ConfigError, match=r"cam\.layers is an unknown key\. Did you mean layer"):
        build_config({"saliency": {"method": "cam", "cam": {"layers": "layer4"}}})
    with pytest.raises(ConfigError, match=r"saliency\.method .*'grad_cam'.* but got 'gradcam'"):
        build_config({"saliency": {"method": "gradcam"}})
