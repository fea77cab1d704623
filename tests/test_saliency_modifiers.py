import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsl.saliency.modifiers import MODIFIERS, REDUCTIONS, to_map

# One pixel of three channels.
G = torch.tensor([3.0, -4.0, 0.5]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("modifier", "expected"),
    [
        ("absolute", [3, 4, 0.5]),
        ("positive", [3, 0, 0.5]),
        ("negate", [-3, 4, -0.5]),
        ("invert", [1 / 3, -1 / 4, 2]),
        ("small_values", [1 / 3, 1 / 4, 2]),
        (lambda g: g * 2, [6, -8, 1]),
    ],
    ids=[*MODIFIERS, "callable"],
)
def test_modifiers_element_by_element(modifier, expected):
    found = to_map(G, modifier=modifier, reduction="none")
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert G.flatten().tolist() == [3, -4, 0.5]


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("max", 4), ("mean", 2.5), ("l2", (9 + 16 + 0.25) ** 0.5), ("none", [3, 4, 0.5])],
)
def test_reductions_over_the_channels(reduction, expected):
    found = to_map(G, reduction=reduction)
    assert found.shape == ((1, 3, 1, 1) if reduction == "none" else (1, 1, 1))
    assert found.flatten().tolist() == pytest.approx(
        expected if isinstance(expected, list) else [expected]
    )


def test_the_reduction_comes_after_the_modifier():
    # The largest of (-3, 4, -0.5), and of (1 / 3, -1 / 4, 2).
    assert to_map(G, modifier="negate").item() == 4
    assert to_map(G, modifier="invert").item() == pytest.approx(2)


@given(value=st.floats(-1e3, 1e3, width=32))
def test_the_inverse_is_that_of_keras_vis_and_always_finite(value):
    g = torch.full((1, 1, 1, 1), value)
    inverse = to_map(g, modifier="invert").item()
    shifted = (g + 1e-7).item()
    assert inverse == pytest.approx(1 / shifted if shifted else 1e7, rel=1e-5)
    assert to_map(g, modifier="small_values").item() == abs(inverse)
    zero = torch.tensor([0.0, -1e-7]).reshape(1, 2, 1, 1)
    assert to_map(zero, modifier="small_values").item() == pytest.approx(1e7)


def test_unknown_names_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"no modifier 'absolut'\. Did you mean absolute\?"):
        to_map(G, modifier="absolut")
    with pytest.raises(ValueError, match=r"no reduction 'sum'\. Choose from: max, mean, l2, none"):
        to_map(G, reduction="sum")
    with pytest.raises(ValueError, match=r"keep the shape \(1, 3, 1, 1\), but returned \(1, 1\)"):
        to_map(G, modifier=lambda g: g[..., 0, :1, 0])
    assert set(REDUCTIONS) == {"max", "mean", "l2", "none"}
