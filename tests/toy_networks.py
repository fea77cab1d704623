"""Small networks that go wrong easily, for the tests of saliency."""

from __future__ import annotations

import torch
from torch import nn


def awkward_network(seed: int = 0) -> nn.Sequential:
    """Four scores, not linear; works in place on its input, and behaves otherwise in training."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4),
    ).train()


class _RaisesBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise ArithmeticError("in the middle")


class FailsBackward(nn.Module):
    """A layer through which no gradient comes back."""

    def forward(self, x):
        return _RaisesBackward.apply(x)


def state_of(module: nn.Module) -> list[object]:
    """All that a method must put back."""
    return [
        [(name, part.training, sorted(vars(part))) for name, part in module.named_modules()],
        [
            {key: dict(value) for key, value in vars(part).items() if "hooks" in key}
            for part in module.modules()
        ],
        [
            (p.requires_grad, None if p.grad is None else p.grad.tolist())
            for p in module.parameters()
        ],
        {key: value.tolist() for key, value in module.state_dict().items()},
    ]
