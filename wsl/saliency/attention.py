"""Attention of transformers: recorded without naming a layer, and made into maps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wsl.errors import ModelError
from wsl.models.classifier import Classifier, logits_of
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod
from wsl.saliency.gradient import slot_gradients
from wsl.saliency.layers import measured_once, token_grid

_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_LEAST_CELLS = 7


class AttentionRollout(SaliencyMethod):
    """Gradient-weighted attention rollout, spread by the late blocks' own attention.

    The rollout (eq. 5, 6 and 11 of Chefer et al.) says how relevant each token is for the tokens
    that the score is read from. Its root is averaged, for each position, over the positions that
    it attends to in the second half of the blocks, as token-to-token attention groups what belongs
    together (TS-CAM, Gao et al. 2021, arXiv:2103.14862). One forward pass for all classes, and one
    backward pass for each.
    """

    summary: ClassVar = "Relevance of a transformer's tokens, spread by their own attention."
    reference: ClassVar = "after Chefer, Gur, Wolf 2021, arXiv:2103.15679"

    method: Literal["attention_rollout"] = "attention_rollout"
    """The saliency method."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Roll each slot's relevance out.

        Raises
        ------
        ModelError
            If the network has no attention between all positions of a grid.
        """
        leaf = inputs.clone().requires_grad_()
        with _RecordedAttention(leaf) as recorded:
            scores = classifier.scores(leaf)
        weights = recorded.of_last_tokens()
        size = (inputs.shape[-2], inputs.shape[-1])
        grid = token_grid(weights[-1].shape[-1], size) if weights else None
        if grid is None:
            raise ModelError(
                "attention rollout needs a network whose blocks attend from every position to all "
                "others, which this one has not; use layercam_fusion, or auto"
            )

        def of(classes: Tensor) -> Iterator[tuple[int, Tensor]]:
            affinity = _affinity(weights, grid[0] * grid[1])
            for slot, slopes in slot_gradients(scores, classes, weights):
                relevance = _rollout(weights, slopes, grid[0] * grid[1])
                tiny = torch.finfo(relevance.dtype).tiny
                relevance = relevance / relevance.amax(dim=1, keepdim=True).clamp_min(tiny)
                spread = (affinity @ relevance.sqrt()[..., None]).reshape(-1, 1, *grid)
                fine = F.interpolate(spread, size, mode="bicubic", align_corners=False).clamp_min(0)
                yield slot, fine / fine.amax(dim=(2, 3), keepdim=True).clamp_min(tiny)

        return Attributions(scores.detach(), of)


def reads_class_token(classifier: Classifier, shape: tuple[int, ...]) -> bool:
    """Tell whether scores are read from tokens before those of the positions, once per network.

    Parameters
    ----------
    classifier : Classifier
        Held ready by `Classifier.inference`.
    shape : (int, int, int)
        (C, H, W) of an input.
    """

    def measure() -> bool:
        noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
        leaf = noise.to(classifier.device).requires_grad_()
        with _RecordedAttention(leaf) as recorded:
            scores = logits_of(classifier.run(leaf))
        weights = recorded.of_last_tokens()
        if not weights or not isinstance(scores, Tensor):
            return False
        grid = token_grid(weights[-1].shape[-1], (shape[1], shape[2]))
        prefix = weights[-1].shape[-1] - grid[0] * grid[1] if grid else 0
        spread = torch.linspace(1, 2, scores.numel(), device=scores.device).reshape(scores.shape)
        (slope,) = torch.autograd.grad(
            (scores * spread).sum(), weights[-1:], allow_unused=True, materialize_grads=True
        )
        # The rows of positions in the last attention are then read by nothing.
        return prefix > 0 and not bool(slope[:, :, prefix:].any())

    return measured_once(classifier.module, ("reads_class_token", shape), measure)


class _RecordedAttention(TorchFunctionMode):
    """Keeps the weights of global self-attention as parts of the graph, whatever computes them.

    That is `scaled_dot_product_attention`, `nn.MultiheadAttention`, or a softmax over scores.
    Attention of windows, of channels or of pooled keys is left out: its weights are not square over
    the tokens of one input's grid.

    Attributes
    ----------
    weights : list of Tensor, shape (N, heads, T, T)
        In the order of the forward pass.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self._count = len(inputs)
        self._size = (inputs.shape[-2], inputs.shape[-1])

    def of_last_tokens(self) -> list[Tensor]:
        """Return the weights over as many tokens as the last ones."""
        return [each for each in self.weights if each.shape == self.weights[-1].shape]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._dot_product(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            given = inspect.signature(func).bind(*args, **kwargs).arguments
            if self._is_plain(given):
                return self._multi_head(given)
        output = func(*args, **kwargs)
        return self._kept(output) if func in _SOFTMAX else output

    def _is_of_grid(self, tokens: int) -> bool:
        grid = token_grid(tokens, self._size)
        return grid is not None and min(grid) >= _LEAST_CELLS

    def _kept(self, weights: Tensor) -> Tensor:
        is_square = weights.ndim == 4 and weights.shape[2] == weights.shape[3]
        if not is_square or len(weights) != self._count or not weights.requires_grad:
            return weights
        if not self._is_of_grid(weights.shape[3]):
            return weights
        self.weights.append(weights)
        return weights.clone()  # what follows may work in place

    def _dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **more: Any,
    ) -> Tensor:
        is_own = query.ndim == 4 and len(query) == self._count and query.shape[:3] == key.shape[:3]
        if (
            not is_own
            or not self._is_of_grid(key.shape[2])
            or is_causal
            or dropout_p
            or any(more.values())
        ):
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=attn_mask,
                dropout_p=dropout_p,
                is_causal=is_causal,
                scale=scale,
                **more,
            )
        factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        scores = query @ key.transpose(-2, -1) * factor
        if attn_mask is not None:
            is_bool = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if is_bool else scores + attn_mask
        return self._kept(scores.softmax(dim=-1)) @ value

    @staticmethod
    def _is_plain(given: Mapping[str, Any]) -> bool:
        """Whether it is self-attention without a mask, as in image classifiers."""
        absent = ("bias_k", "bias_v", "add_zero_attn", "attn_mask", "key_padding_mask", "static_k",
                  "static_v", "use_separate_proj_weight", "is_causal")  # fmt: skip
        query = given["query"]
        return (
            query.ndim == 3
            and query is given["key"] is given["value"]
            and not any(given.get(name) is not None and given[name] is not False for name in absent)
            and not given.get("need_weights", True)
            and not (given.get("training", True) and given["dropout_p"])
        )

    def _multi_head(self, given: Mapping[str, Any]) -> tuple[Tensor, None]:
        own = given["query"].transpose(0, 1)  # from (T, N, C)
        projected = F.linear(own, given["in_proj_weight"], given["in_proj_bias"])
        query, key, value = (
            part.reshape(*part.shape[:2], given["num_heads"], -1).transpose(1, 2)
            for part in projected.chunk(3, dim=-1)
        )
        found = self._dot_product(query, key, value).transpose(1, 2).flatten(2)
        output = F.linear(found, given["out_proj_weight"], given["out_proj_bias"])
        return output.transpose(0, 1), None


def _rollout(weights: Sequence[Tensor], slopes: Sequence[Tensor], positions: int) -> Tensor:
    """Relevance of the positions for the tokens that the score is read from: (N, positions).

    The product over the blocks of (1 + mean over heads of max(attention * its gradient, 0)).
    """
    read = (slopes[-1].abs().sum(dim=(1, 3)) > 0).to(weights[0].dtype)[:, None]  # (N, 1, T)
    found = read / read.sum(dim=-1, keepdim=True).clamp_min(1)
    for attention, slope in zip(reversed(weights), reversed(slopes), strict=True):
        # From the left, a row times a matrix: T^2 and not T^3 for each block.
        found = found + found @ (attention.detach() * slope).clamp_min(0).mean(dim=1)
    return found[:, 0, -positions:].float()


def _affinity(weights: Sequence[Tensor], positions: int) -> Tensor:
    """Position-to-position attention, averaged over heads and the second half of the blocks.

    (N, P, P), with rows of sum 1.
    """
    late = [each.detach().float().mean(dim=1) for each in weights[len(weights) // 2 :]]
    mean = torch.stack(late).mean(dim=0)[:, -positions:, -positions:]
    return mean / mean.sum(dim=-1, keepdim=True)
