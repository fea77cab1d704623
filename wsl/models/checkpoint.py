"""Weights from a file: read without unpickling, and fitted into a network or refused by name."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsl.errors import CheckpointError

__all__ = ["load_state_dict", "read_state_dict"]

_WRAPPERS = ("state_dict", "model", "model_state_dict")
# torchvision's densenets were saved when their layers were called norm.1; they are now norm1.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file without running any code of the file's.

    Parameters
    ----------
    path : Path
        ``.safetensors``; or ``.pth`` or ``.pt``, read by ``torch.load(weights_only=True)``. A
        ``state_dict`` or ``model`` entry around it, and the prefix ``module.`` that
        ``DataParallel`` leaves on every name, are taken off.

    Raises
    ------
    CheckpointError
        If the file cannot be read, holds more than tensors and plain values, or no tensors, or a
        tensor has more values than the file.
    """
    readers: dict[str, Callable[[Path], Any]] = {
        ".safetensors": _read_safetensors,
        ".pth": _read_torch,
        ".pt": _read_torch,
    }
    if path.suffix.lower() not in readers:
        raise CheckpointError(
            f"{path} must end in {', '.join(readers)}, but ends in {path.suffix or 'nothing'}"
        )
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    return _unwrap(readers[path.suffix.lower()](path), path)


def load_state_dict(module: nn.Module, state: Mapping[str, Tensor], *, source: object) -> None:
    """Load a state dict into a module in place, or say by name what does not fit.

    Parameters
    ----------
    module : torch.nn.Module
    state : mapping of str to Tensor
    source : object
        What the message calls the state dict, such as its path.

    Raises
    ------
    CheckpointError
        If names are missing or unexpected, or shapes differ.
    """
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    # Counters of the training steps: older files do not have them, and evaluation does not ask.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} (expected {tuple(own[key].shape)}, found {tuple(state[key].shape)})"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    problems = [
        _few(label, keys)
        for label, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: {'; '.join(problems)}"
        )
    module.load_state_dict(state, strict=False)


def _few(label: str, keys: Sequence[str], *, shown: int = 4) -> str:
    more = ", …" if len(keys) > shown else ""
    return f"{len(keys)} {label}: {', '.join(keys[:shown])}{more}"


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} as safetensors: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # On TorchScript archives torch warns before it raises.
            warnings.simplefilter("ignore")
            _check_compression(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many types, and all of them mean the same to the user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} must hold a state dict alone, saved with torch.save(module.state_dict(), ...) "
            f"(anything that would have to be unpickled is refused), but: {reason}"
        ) from error


def _check_compression(path: Path) -> None:
    """Refuse compressed archives: torch writes none, and they could unpack to any size."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its content is compressed")


def _is_stored(tensor: Tensor) -> bool:
    """Whether a tensor has its values in memory: one each, none repeated or left out."""
    return (
        tensor.layout is torch.strided
        and not (tensor.is_meta or tensor.is_nested or tensor.is_quantized)
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} must hold a state dict, but holds {_describe(content)}")
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"{path} must hold a state dict of tensors, but "
            + _few("entries are something else", [str(key) for key in others])
        )
    empty = [str(key) for key, value in content.items() if not _is_stored(value)]
    if empty:
        raise CheckpointError(
            f"{path} must hold each tensor's values, but "
            + _few("tensors are sparse, or have more values than the file", empty)
        )
    state = {str(key): value for key, value in content.items()}
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return "an empty mapping"
    return f"an object of type {type(content).__name__}"
