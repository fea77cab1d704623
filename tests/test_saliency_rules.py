"""Rules of the backward pass, on networks whose maps can be worked out on paper."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Deconvolution, GuidedBackprop
from torch import nn

from wsl.errors import ModelError
from wsl.saliency.attribution import attribute
from wsl.saliency.methods import METHODS
from wsl.saliency.rules import Backpropagation


def back(module: nn.Module, x: torch.Tensor, rule, *, target=0, non_relu=None) -> torch.Tensor:
    """Return what arrives at the pixels, with its sign: (N, C, H, W)."""
    more = {} if non_relu is None else {"non_relu": non_relu}
    method = METHODS[rule](**more)
    return attribute(module, x, target, method=method, modifier=lambda g: g, reduction="none")


def back_by(function, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what arrives at the pixels by a rule of one's own."""
    leaf, rule = x.clone().requires_grad_(), Backpropagation(function)
    with rule.recording(module):
        scores = module(leaf)
    rule.apply(scores)
    return torch.autograd.grad(scores.sum(), leaf)[0]


class Fixed(nn.Module):
    """What a function makes of an image of one row, (N, 1, 1, W): scores (N, C)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.function(self, x.flatten(1))


def image(*row: float) -> torch.Tensor:
    return torch.tensor(row, dtype=torch.float32).reshape(1, 1, 1, -1)


W1 = torch.tensor([[1.0, -2.0], [3.0, 1.0], [-1.0, 2.0]])  # (3, 2): hidden x pixels
W2 = torch.tensor([[2.0, -1.0, 4.0]])  # (1, 3)

# Pixels (1, 2): hidden (-3, 5, 3), so gates are (shut, open, open); signals at the hidden layer are
# (2, -1, 4).
#   gradient:        gated signals (0, -1, 4): pixels -1 * (3, 1) + 4 * (-1, 2) = (-7, 7)
#   deconvnet:       (2, 0, 4): 2 * (1, -2) + 4 * (-1, 2) = (-2, 4)
#   guided_backprop: (0, 0, 4): 4 * (-1, 2) = (-4, 8)
ON_PAPER = {"gradient": [-7.0, 7.0], "deconvnet": [-2.0, 4.0], "guided_backprop": [-4.0, 8.0]}


def relu_on_a_view(net, x):
    hidden = x @ W1.T
    # The first two; the third is positive, and so is its signal: a ReLU would change nothing.
    hidden[:, :2].relu_()
    return hidden @ W2.T


def module_on_a_view(net, x):
    # A linear layer on three axes ends in a view of a matrix.
    hidden = F.linear(x[:, None], W1, torch.zeros(3))
    return net.inplace(hidden)[:, 0] @ W2.T


RELUS = {
    "module": lambda net, x: net.relu(x @ W1.T) @ W2.T,
    "module in place": lambda net, x: net.inplace(x @ W1.T) @ W2.T,
    "F.relu": lambda net, x: F.relu(x @ W1.T) @ W2.T,
    "F.relu in place": lambda net, x: F.relu(x @ W1.T, inplace=True) @ W2.T,
    "torch.relu": lambda net, x: torch.relu(x @ W1.T) @ W2.T,
    "torch.relu_": lambda net, x: torch.relu_(x @ W1.T) @ W2.T,
    "Tensor.relu": lambda net, x: (x @ W1.T).relu() @ W2.T,
    "Tensor.relu_": lambda net, x: (x @ W1.T).relu_() @ W2.T,
    "clamp": lambda net, x: (x @ W1.T).clamp(min=0) @ W2.T,
    "clamp_min": lambda net, x: torch.clamp_min(x @ W1.T, 0.0) @ W2.T,
    "clamp_ of a view": lambda net, x: (x @ W1.T).view(-1, 3).clamp_(min=0) @ W2.T,
    "clamp to a tensor": lambda net, x: (x @ W1.T).clamp(min=torch.zeros(())) @ W2.T,
    "maximum": lambda net, x: torch.maximum(x @ W1.T, torch.zeros(())) @ W2.T,
    "maximum, other way": lambda net, x: torch.maximum(torch.zeros(3), x @ W1.T) @ W2.T,
    "threshold": lambda net, x: F.threshold(x @ W1.T, 0.0, 0.0) @ W2.T,
    "threshold in place": lambda net, x: F.threshold(x @ W1.T, 0.0, 0.0, True) @ W2.T,
    "relu6": lambda net, x: F.relu6(x @ W1.T) @ W2.T,
    "hardtanh in place on a view": lambda net, x: (
        F.hardtanh((x @ W1.T).view(3), 0, 6, True)[None] @ W2.T
    ),
    "Tensor.relu_ of a view": relu_on_a_view,
    "module in place on a view": module_on_a_view,
}


@pytest.mark.parametrize("rule", list(ON_PAPER))
@pytest.mark.parametrize("name", list(RELUS))
def test_each_way_to_write_a_relu_gives_the_map_on_paper(name, rule):
    found = back(Fixed(RELUS[name]), image(1, 2), rule)
    assert found.flatten().tolist() == ON_PAPER[rule]


@pytest.mark.parametrize("rule", list(ON_PAPER))
@pytest.mark.parametrize("name", list(RELUS))
def test_the_forward_pass_is_not_changed(name, rule):
    net = Fixed(RELUS[name])
    x = image(1, 2)
    backward = Backpropagation(rule)
    with backward.recording(net):
        values = net(x.clone().requires_grad_())
    assert values.tolist() == net(x.clone()).tolist() == [[7.0]]  # -1 * 5 + 4 * 3


def test_what_is_in_place_is_seen_by_all_who_hold_the_tensor():
    held = []

    def forward(net, x):
        hidden = (x @ W1.T).view(1, 3)
        held.extend([hidden, net.inplace(hidden)])
        return hidden @ W2.T

    back(Fixed(forward), image(1, 2), "guided_backprop")
    assert held[0].tolist() == held[1].tolist() == [[0.0, 5.0, 3.0]]


# One pixel x, a module used twice and a functional ReLU:
#   a = relu(x), c = relu(inner a + 6) (the same module), e = F.relu(outer c + 30), s = sign e.
# With inner 2, outer 3, x = 1 all gates are open. Signals at the outputs of each, from the top:
#   sign 1:  1, 3, 6; all rules give 6.
#   sign -1: -1, -3, -6; by the other two rules 0 at once.
# inner -2: 1, 3, -6: the first ReLU rectifies it away. outer -3, sign -1: -1, 3, 6: only the
# functional one does. x = -1 shuts the first gate; inner -2, x = 4 the second one.
def reused_and_functional(inner: float, outer: float, sign: float) -> nn.Module:
    return Fixed(lambda net, x: sign * F.relu(outer * net.relu(inner * net.relu(x) + 6) + 30))


@pytest.mark.parametrize(
    ("inner", "outer", "sign", "x", "gradient", "deconvnet", "guided_backprop"),
    [
        (2, 3, 1, 1, 6, 6, 6),
        (2, 3, -1, 1, -6, 0, 0),
        (-2, 3, 1, 1, -6, 0, 0),
        (2, -3, -1, 1, 6, 0, 0),
        (2, 3, 1, -1, 0, 6, 0),
        (-2, -3, 1, 4, 0, 0, 0),
        (-2, -3, -1, 4, 0, 0, 0),
        (2, -3, 1, -1, 0, 0, 0),
    ],
)
def test_a_reused_and_a_functional_relu_by_hand(
    inner, outer, sign, x, gradient, deconvnet, guided_backprop
):
    net = reused_and_functional(inner, outer, sign)
    found = {rule: back(net, image(x), rule).item() for rule in ON_PAPER}
    assert found == {
        "gradient": gradient,
        "deconvnet": deconvnet,
        "guided_backprop": guided_backprop,
    }


def captums(oracle, net, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return oracle(net).attribute(x.clone().requires_grad_(), target=0).flatten().tolist()


def test_captum_does_not_see_functional_relus():
    """The case that hooks miss: captum answers with the plain gradient there."""
    net = Fixed(RELUS["F.relu"])
    assert captums(GuidedBackprop, net, image(1, 2)) == ON_PAPER["gradient"]
    assert captums(Deconvolution, net, image(1, 2)) == ON_PAPER["gradient"]
    # Where all ReLUs are modules, it is the map on paper.
    net = Fixed(RELUS["module"])
    assert captums(GuidedBackprop, net, image(1, 2)) == ON_PAPER["guided_backprop"]
    assert captums(Deconvolution, net, image(1, 2)) == ON_PAPER["deconvnet"]


def test_captum_is_wrong_on_a_reused_and_a_functional_relu():
    # By hand (see above) the functional ReLU rectifies the signal away.
    net = reused_and_functional(2, -3, -1)
    assert (
        back(net, image(1), "guided_backprop").item()
        == back(net, image(1), "deconvnet").item()
        == 0
    )
    assert captums(GuidedBackprop, net, image(1)) == [6.0]
    assert captums(Deconvolution, net, image(1)) == [6.0]


@pytest.mark.parametrize("rule", ["gradient", "guided_backprop", "deconvnet"])
def test_a_deep_network_of_modules_equals_captum(rule):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4),
    ).eval()  # fmt: skip
    x = torch.randn(3, 3, 10, 10)
    found = back(net, x, rule, target=[0, 3, 1])
    if rule == "gradient":
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(net(leaf)[[0, 1, 2], [0, 3, 1]].sum(), leaf)
    else:
        oracle = {"guided_backprop": GuidedBackprop, "deconvnet": Deconvolution}[rule]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            expected = oracle(net).attribute(x.clone().requires_grad_(), target=[0, 3, 1])
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-7)
    assert found.abs().max() > 0


def test_a_gate_with_two_ends_is_shut_above_too():
    # relu6 of (7, 3, -1), signals (1, 1, 1) and (-1, -1, -1).
    up = Fixed(lambda net, x: F.relu6(x).sum(dim=1, keepdim=True))
    down = Fixed(lambda net, x: -F.relu6(x).sum(dim=1, keepdim=True))
    x = image(7, 3, -1)
    assert back(up, x, "gradient").flatten().tolist() == [0, 1, 0]
    assert back(up, x, "guided_backprop").flatten().tolist() == [0, 1, 0]
    assert back(up, x, "deconvnet").flatten().tolist() == [1, 1, 1]
    assert back(down, x, "deconvnet").flatten().tolist() == [0, 0, 0]


def test_clamps_that_guard_a_division_are_no_gates():
    # d (x / max(|x|, 1)) at (3, -4): as the gradient says, by each rule.
    net = Fixed(lambda net, x: (x / x.norm(dim=1, keepdim=True).clamp(min=1e-6))[:, :1])
    plain = back(net, image(3, -4), "gradient")
    assert plain.abs().min() > 0
    for rule in ("guided_backprop", "deconvnet"):
        assert torch.equal(back(net, image(3, -4), rule), plain)


def test_a_rule_of_ones_own():
    net = Fixed(RELUS["module"])
    # Both as they come: signals (2, -1, 4) unchanged, so that the network is W2 W1.
    linear = back_by(lambda signal, passed: signal, net, image(1, 2))
    assert linear.flatten().tolist() == (W2 @ W1)[0].tolist()
    # Only what is negative, and gated: (0, -1, 0), so -1 * (3, 1).
    negative = back_by(lambda signal, passed: passed.clamp(max=0), net, image(1, 2))
    assert negative.flatten().tolist() == [-3.0, -1.0]


UNGATED = {
    "GELU": F.gelu,
    "SiLU": F.silu,
    "leaky ReLU": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.Tensor.tanh,
    "softplus": F.softplus,
    "ELU or SELU": F.elu,
    "hardswish": F.hardswish,
    "mish": F.mish,
}


@pytest.mark.parametrize("name", list(UNGATED))
def test_activations_without_a_gate_are_refused_unless_told(name):
    net = Fixed(lambda net, x: UNGATED[name](x @ W1.T) @ W2.T)
    x = image(0.1, 0.2)
    with pytest.raises(ModelError, match=f"with a gate, such as ReLU, but the network has {name}"):
        back(net, x, "guided_backprop")
    plain = back(net, x, "gradient")
    torch.testing.assert_close(back(net, x, "guided_backprop", non_relu="gradient"), plain)
    # The derivative stands in the gate's place: signals (2, -1, 4) times it.
    hidden = (x.flatten() @ W1.T).requires_grad_()
    (slope,) = torch.autograd.grad(UNGATED[name](hidden).sum(), hidden)
    signal = W2[0] * slope
    expected = {"deconvnet": W2[0].clamp(min=0) @ W1, "guided_backprop": signal.clamp(min=0) @ W1}
    for rule, pixels in expected.items():
        found = back(net, x, rule, non_relu="rule").flatten()
        torch.testing.assert_close(found, pixels)


def test_ungated_activations_in_place_on_a_view_are_refused_too():
    net = Fixed(lambda net, x: F.silu((x @ W1.T).view(1, 3), inplace=True) @ W2.T)
    with pytest.raises(ModelError, match="the network has SiLU"):
        back(net, image(1, 2), "deconvnet")


class Own(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(context, gradient):
        return gradient


def test_functions_that_hide_their_backward_pass_are_refused_unless_told():
    net = Fixed(lambda net, x: Own.apply(net.relu(x @ W1.T)) @ W2.T)
    with pytest.raises(ModelError, match="cannot see into OwnBackward, which have a backward pass"):
        back(net, image(1, 2), "guided_backprop")
    found = back(net, image(1, 2), "guided_backprop", non_relu="gradient")
    assert found.flatten().tolist() == ON_PAPER["guided_backprop"]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_parts_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), torch.jit.script(nn.ReLU()), nn.Flatten())
    with pytest.raises(ModelError, match="cannot see into scripted modules, but 1 is one"):
        back(net, image(1, 2), "guided_backprop")
    assert back(net, image(1, 2), "gradient").shape == (1, 1, 1, 2)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_functions_are_refused():
    @torch.jit.script
    def twice(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.relu(x) * 2 - 1)

    net = Fixed(lambda net, x: twice(x))
    messages = []
    for _ in range(4):  # torch compiles at the second call or so: until then it sees two ReLUs
        try:
            found = back(net, image(1, 2), "guided_backprop").flatten().tolist()
            assert found == [2.0, 0.0]
        except ModelError as error:
            messages.append(str(error))
    assert messages
    assert all("cannot see into torch::jit::" in message for message in messages)


def test_a_transformer_with_relus_follows_the_rule():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="relu").eval()
    net = Fixed(lambda net, x: block(x.reshape(-1, 3, 4)).mean(dim=1))
    x = torch.randn(2, 1, 1, 12)
    plain, guided = back(net, x, "gradient"), back(net, x, "guided_backprop")
    assert (plain - guided).abs().max() > 1e-4

    def relu(x):
        return Guided.apply(x)

    block.activation = relu
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(guided, expected)


class Guided(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(context, signal):
        (x,) = context.saved_tensors
        return signal * (signal > 0) * (x > 0)


def test_nothing_stays_behind():
    net = Fixed(RELUS["module in place on a view"])
    before = {name: dict(vars(part)) for name, part in net.named_modules()}
    for rule in ("guided_backprop", "deconvnet"):
        back(net, image(1, 2), rule)
    assert {name: dict(vars(part)) for name, part in net.named_modules()} == before
    assert back(net, image(1, 2), "gradient").flatten().tolist() == ON_PAPER["gradient"]
    assert not torch.overrides._get_current_function_mode_stack()


def test_no_mode_stays_behind_after_an_exception():
    def fails(net, x):
        raise ArithmeticError("in the middle")

    with pytest.raises(ArithmeticError, match="in the middle"):
        back(Fixed(fails), image(1, 2), "guided_backprop")
    assert not torch.overrides._get_current_function_mode_stack()


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match=r"no rule 'guided'\. Choose from: gradient"):
        Backpropagation("guided")
    with pytest.raises(
        ValueError, match="non_relu must be 'gradient', 'rule' or None, but got 'x'"
    ):
        Backpropagation("guided_backprop", "x")


# The relation of Simonyan et al. 2013, sec. 4 (eval/results/deconvnet_relation.md), on a network of
# convolution, ReLU and max-pooling; the deconvnet is written out as Zeiler and Fergus describe it.
FIRST, SECOND = nn.Conv2d(2, 5, 3, bias=True), nn.Conv2d(5, 4, 3, bias=True)


def forward_states(x):
    before = FIRST(x)
    rectified = before.clamp(min=0)
    pooled, switches = F.max_pool2d(rectified, 2, return_indices=True)
    return before, switches, pooled, SECOND(pooled)


def reconstruct(x, gate):
    """Channel 1's mean, back through transposed filters, unpooling by switches and a gate."""
    before, switches, _, top = forward_states(x)
    signal = torch.zeros_like(top)
    signal[:, 1] = 1 / top[0, 0].numel()
    signal = F.conv_transpose2d(signal, SECOND.weight)
    signal = F.max_unpool2d(signal, switches, 2, output_size=before.shape)
    return F.conv_transpose2d(gate(signal, before), FIRST.weight)


@pytest.mark.parametrize(
    ("rule", "gate"),
    [
        ("gradient", lambda signal, before: signal * (before > 0)),
        ("deconvnet", lambda signal, before: signal * (signal > 0)),
        ("guided_backprop", lambda signal, before: signal * (signal > 0) * (before > 0)),
    ],
    ids=["gradient", "deconvnet", "guided_backprop"],
)
def test_the_deconvnet_is_the_gradient_but_for_the_relus_sign(rule, gate):
    torch.manual_seed(0)
    for layer in (FIRST, SECOND):
        layer.reset_parameters()
    net = Fixed(None)
    net.forward = lambda x: forward_states(x)[3].mean(dim=(2, 3))
    x = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        expected = reconstruct(x, gate)
    torch.testing.assert_close(back(net, x, rule, target=1), expected)


def test_without_relus_all_rules_are_the_gradient():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.Flatten())
    x = torch.randn(2, 1, 8, 8)
    plain = back(net, x, "gradient")
    for rule in ("guided_backprop", "deconvnet"):
        assert torch.equal(back(net, x, rule), plain)
