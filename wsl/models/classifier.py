"""The classifier: a module with its preprocessing and categories, on its device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.options import Precision
from wsl.models.preprocessing import Preprocessing

# Where torch keeps a module's hooks; there is no public way to list them.
_HOOKS = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A network that gives each image one unnormalized score per category.

    Attributes
    ----------
    module : torch.nn.Module
        Takes (N, 3, h, w), or as many channels as `preprocessing` has, and returns (N, C) scores
        before any softmax, or an object that has them as ``logits``. One score s per image, before
        any sigmoid, stands for two categories, of scores -s / 2 and s / 2. It is on `device`.
    preprocessing : Preprocessing
        What the weights want.
    categories : Categories
        In the order of the scores.
    device : torch.device
    precision : {'float32', 'bfloat16'}
        ``bfloat16`` runs the module under autocast; on CUDA only.
    name : str
        For reports, such as ``"resnet50 IMAGENET1K_V2"``.

    Raises
    ------
    ModelError
        If bfloat16 is asked for on another device than CUDA.

    Examples
    --------
    >>> from wsl import load_classifier
    >>> classifier = load_classifier("demo", device="cpu")
    >>> classifier.scores(torch.zeros(1, 3, 128, 128)).shape
    torch.Size([1, 10])
    >>> classifier.categories.index("car")
    5
    """

    module: nn.Module
    preprocessing: Preprocessing
    categories: Categories
    device: torch.device
    precision: Precision = "float32"
    name: str = "classifier"
    _outputs_checked: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.precision == "bfloat16" and self.device.type != "cuda":
            raise ModelError(
                f"precision bfloat16 must run on CUDA, but the device is {self.device}; "
                "use precision float32"
            )

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.preprocessing.crop_size))
        count = len(self.categories)
        return f"<{type(self).__name__} {self.name}: {count} classes, {size} px, {self.device}>"

    def scores(self, inputs: Tensor) -> Tensor:
        """Compute the unnormalized class scores of a batch; differentiable.

        Parameters
        ----------
        inputs : Tensor of float32, shape (N, 3, h, w), or of the channels of `preprocessing`
            Normalized as `preprocessing` says, on any device. Left as it is, also by networks
            whose first layer works in place.

        Returns
        -------
        Tensor of float32, shape (N, C), on `device`

        Raises
        ------
        ModelError
            If the module returns anything else than one score per category, or, on the first
            batch, probabilities or their logarithms.
        """
        channels = len(self.preprocessing.mean)
        if inputs.ndim != 4 or inputs.shape[1] != channels or not inputs.is_floating_point():
            raise ValueError(
                f"inputs must have shape (N, {channels}, h, w) and a floating-point type, "
                f"but got {inputs.dtype} of shape {tuple(inputs.shape)}"
            )
        outputs = logits_of(self.run(inputs))
        if len(self.categories) == 2 and count_of(outputs) == 1:
            half = outputs.reshape(len(inputs), 1).float() / 2
            outputs = torch.cat([-half, half], dim=1)
        self._check_shape(outputs, len(inputs))
        scores: Tensor = outputs.float()
        if not self._outputs_checked:
            self._check_unnormalized(scores.detach())
            object.__setattr__(self, "_outputs_checked", True)
        return scores

    def run(self, inputs: Tensor) -> Any:
        """Run the module on inputs, which stay as they are, and return what it returns."""
        on_device = inputs.to(self.device)
        # A copy, as a network that starts with an in-place layer writes into what it is given
        # (which autograd forbids for leaves, and the caller would notice for the rest).
        own = on_device.clone() if on_device is inputs else on_device
        with self._autocast():
            return self.module(own)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Turn scores (..., C) into the categories' probabilities: their softmax."""
        return scores.softmax(dim=-1)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Hold the module ready for scores and input gradients; put everything back afterwards.

        Inside, the module is in evaluation mode and its parameters ask for no gradients, so that a
        backward pass computes those of the input only; gradients are recorded, whatever the
        caller's grad mode. Afterwards, also after an exception, every module's training flag and
        hooks and every parameter's ``requires_grad`` and ``.grad`` are as they were before.

        One thread at a time.
        """
        modules, parameters = list(self.module.modules()), list(self.module.parameters())
        flags = [(module, module.training) for module in modules]
        hooks = [(module, _hooks_of(module)) for module in modules]
        gradients = [(p, p.requires_grad, p.grad) for p in parameters]
        try:
            self.module.eval()
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for module, training in flags:
                module.training = training
            for module, saved in hooks:
                _restore_hooks(module, saved)
            for parameter, requires_grad, gradient in gradients:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: names, shapes, types and bytes of the sorted state dict."""
        digest = hashlib.sha256()
        for key, value in sorted(self.module.state_dict().items()):
            if not isinstance(value, Tensor):  # a module's own extra state, of any type
                continue
            digest.update(f"{key} {tuple(value.shape)} {value.dtype}\n".encode())
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().data)
        return digest.hexdigest()

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _check_shape(self, outputs: Any, count: int) -> None:
        expected = (count, len(self.categories))
        if not isinstance(outputs, Tensor):
            found = type(outputs).__name__
        elif tuple(outputs.shape) != expected:
            found = f"a tensor of shape {tuple(outputs.shape)}"
        else:
            return
        raise ModelError(
            f"{self.name} must return one score per image and category, a tensor of shape "
            f"{expected}, but returned {found}"
        )

    def _check_unnormalized(self, scores: Tensor) -> None:
        if scores.shape[0] == 0 or scores.shape[1] < 2:  # a single score can be anything
            return
        sums = scores.sum(dim=1)
        probabilities = bool(
            ((scores >= 0) & (scores <= 1)).all() and ((sums - 1).abs() < 1e-3).all()
        )
        logarithms = bool((scores.logsumexp(dim=1).abs() < 1e-3).all())
        if probabilities or logarithms:
            kind = "probabilities" if probabilities else "logarithms of probabilities"
            raise ModelError(
                f"{self.name} must return unnormalized scores, but returned {kind}: the gradient "
                "is that of the score before the softmax, so leave the softmax out of the module"
            )


def logits_of(outputs: Any) -> Any:
    """Return the scores of what a network returned: ``logits`` of it, or the outputs themselves."""
    if isinstance(outputs, Mapping):
        return outputs.get("logits", outputs)
    return getattr(outputs, "logits", outputs)


def count_of(outputs: Any) -> int | None:
    """Count a network's scores per image, (N, C) or (N,); None where it returned no scores."""
    if not isinstance(outputs, Tensor) or outputs.ndim not in (1, 2):
        return None
    return 1 if outputs.ndim == 1 else outputs.shape[1]


def pick_device(name: str) -> torch.device:
    """Device by name.

    Parameters
    ----------
    name : str
        ``auto`` is the first of CUDA, MPS and CPU that there is; else ``cpu``, ``cuda``,
        ``cuda:1``, ``mps``.

    Raises
    ------
    ModelError
        If there is no such device on this machine.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device must be auto, cpu, cuda, cuda:1 or mps, not {name!r}") from error
    count = torch.cuda.device_count() if cuda else 0
    there = {"cpu": True, "mps": mps, "cuda": (device.index or 0) < count}.get(device.type, False)
    if not there:
        found = ["cpu", *(["mps"] if mps else []), *(f"cuda:{index}" for index in range(count))]
        raise ModelError(f"there is no device {name} here; found {', '.join(found)}")
    return device


def _hooks_of(module: nn.Module) -> dict[str, Any]:
    saved: dict[str, Any] = {name: dict(vars(module).get(name, {})) for name in _HOOKS}
    saved["_is_full_backward_hook"] = vars(module).get("_is_full_backward_hook")
    return saved


def _restore_hooks(module: nn.Module, saved: dict[str, Any]) -> None:
    for name in _HOOKS:
        if name in vars(module):
            hooks = vars(module)[name]
            hooks.clear()
            hooks.update(saved[name])
    module._is_full_backward_hook = saved["_is_full_backward_hook"]
