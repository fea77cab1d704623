import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier, pick_device
from wsl.models.preprocessing import Preprocessing


def classifier_of(module: nn.Module, classes: int = 4, **options) -> Classifier:
    return Classifier(
        module, Preprocessing(), Categories.numbered(classes), torch.device("cpu"), **options
    )


class Toy(nn.Module):
    """Batch norm and dropout (their flags matter), and an in-place first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.norm(self.first(x)).mean(dim=(2, 3))))


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    module = Toy().train()
    module.norm.eval()  # a mixture of flags, as in fine-tuning
    module.last.bias.requires_grad_(False)
    module.last.weight.grad = torch.full((4, 3), 7.0)
    module.last.register_forward_hook(lambda *_: None)
    return module


def snapshot(module: nn.Module) -> list:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [m.training for m in module.modules()],
        [dict(getattr(m, name)) for m in module.modules() for name in hooks],
        [
            (p.requires_grad, p.grad if p.grad is None else p.grad.tolist(), id(p.grad))
            for p in module.parameters()
        ],
        {key: value.tolist() for key, value in module.state_dict().items()},
    ]


@pytest.mark.parametrize("fails", [False, True], ids=["plain", "exception"])
def test_inference_puts_everything_back(toy, fails):
    classifier, before = classifier_of(toy), snapshot(toy)
    outer = pytest.raises(KeyError, match="stop") if fails else torch.no_grad()
    with outer, classifier.inference():
        assert not any(module.training for module in toy.modules())
        assert not any(parameter.requires_grad for parameter in toy.parameters())
        toy.first.register_forward_hook(lambda *_: None)
        toy.norm.register_full_backward_hook(lambda *_: None)
        toy.last._forward_hooks.clear()
        x = torch.randn(2, 3, 5, 5, requires_grad=True)
        classifier.scores(x).sum().backward()
        assert x.grad is not None
        if fails:
            raise KeyError("stop")
    assert snapshot(toy) == before


def test_inference_records_gradients_in_inference_mode(toy):
    classifier = classifier_of(toy)
    with torch.inference_mode():
        outer = torch.randn(1, 3, 5, 5)
        with classifier.inference():
            x = outer.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(classifier.scores(x).sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("requires_grad", [False, True], ids=["plain", "leaf"])
def test_scores_leave_the_input_alone_where_the_first_layer_is_in_place(toy, requires_grad):
    x = torch.randn(2, 3, 5, 5, requires_grad=requires_grad)
    before = x.detach().clone()
    classifier = classifier_of(toy)
    with classifier.inference():
        scores = classifier.scores(x)
    assert scores.shape == (2, 4)
    assert scores.dtype == torch.float32
    assert torch.equal(x.detach(), before)


def fixed(outputs: torch.Tensor) -> nn.Module:
    class Fixed(nn.Module):
        def forward(self, x):
            return outputs

    return Fixed()


LOGITS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.1, 0.2, 0.3, 0.0]])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (LOGITS.softmax(1), "must return unnormalized scores, but returned probabilities"),
        (LOGITS.log_softmax(1), "but returned logarithms of probabilities"),
        (LOGITS[:, :3], r"of shape \(2, 4\), but returned a tensor of shape \(2, 3\)"),
        (LOGITS[:, :, None], r"but returned a tensor of shape \(2, 4, 1\)"),
        ((LOGITS, LOGITS), "but returned tuple"),
    ],
    ids=["softmax", "log_softmax", "too few", "three axes", "tuple"],
)
def test_scores_refuse_what_is_no_score(outputs, message):
    with pytest.raises(ModelError, match=message):
        classifier_of(fixed(outputs)).scores(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(
    "outputs", [LOGITS, LOGITS * 0, LOGITS.softmax(1) * 0.9], ids=["logits", "zeros", "sum 0.9"]
)
def test_scores_accept_scores(outputs):
    scores = classifier_of(fixed(outputs)).scores(torch.zeros(2, 3, 4, 4))
    assert torch.equal(scores, outputs)


def test_probabilities_are_looked_for_in_the_first_batch_only():
    outputs = LOGITS.clone()
    classifier = classifier_of(fixed(outputs))
    classifier.scores(torch.zeros(2, 3, 4, 4))
    outputs.copy_(LOGITS.softmax(1))
    classifier.scores(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(
    "inputs",
    [torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4).byte()],
    ids=["no batch", "gray", "uint8"],
)
def test_scores_refuse_other_inputs(inputs):
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 3, h, w\)"):
        classifier_of(fixed(LOGITS)).scores(inputs)


def test_bfloat16_is_refused_on_the_cpu(toy):
    with pytest.raises(ModelError, match="bfloat16 must run on CUDA, but the device is cpu"):
        classifier_of(toy, precision="bfloat16")


def test_fingerprint_is_the_hash_it_says():
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        module.bias.copy_(torch.tensor([5.0, 6.0]))
    expected = hashlib.sha256()
    expected.update(b"bias (2,) torch.float32\n" + np.array([5, 6], "<f4").tobytes())
    expected.update(b"weight (2, 2) torch.float32\n" + np.array([1, 2, 3, 4], "<f4").tobytes())
    assert classifier_of(module).fingerprint == expected.hexdigest()


def test_fingerprint_sees_one_changed_weight_and_takes_scalars_and_bfloat16(toy):
    toy.last.bfloat16()
    first = classifier_of(toy).fingerprint  # num_batches_tracked has no axis
    with torch.no_grad():
        toy.last.weight[0, 0] += 1
    assert classifier_of(toy).fingerprint != first


def test_pick_device():
    assert pick_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps"
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        expected = "cpu"
    assert pick_device("auto").type == expected
    with pytest.raises(ModelError, match="there is no device cuda:99 here; found cpu"):
        pick_device("cuda:99")
    with pytest.raises(ModelError, match=r"device must be auto, cpu, .* not 'gpu'"):
        pick_device("gpu")


@pytest.mark.gpu
def test_bfloat16_scores_are_near_float32s():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module = module.append(nn.Linear(8, 4)).cuda()
    x = torch.randn(2, 3, 9, 9)
    parts = (module, Preprocessing(), Categories.numbered(4), torch.device("cuda"))
    full, half = Classifier(*parts).scores(x), Classifier(*parts, "bfloat16").scores(x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.02)
