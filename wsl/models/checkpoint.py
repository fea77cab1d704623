"""Weights from a file: read without running its code, and fitted into a network by their names."""

from __future__ import annotations

import argparse
import logging
import re
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

import torch
from torch import Tensor, nn

from wsl.errors import CheckpointError

log = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_SAFE_WAY = "save torch.save(module.state_dict(), 'weights.pth') and name the network beside it"
# Of the settings that training programs save beside the weights: they run nothing.
_PLAIN_TYPES: list[Any] = [argparse.Namespace, defaultdict, PosixPath, WindowsPath]
# torchvision's densenets were saved when their layers were called norm.1; they are now norm1.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file without running any code of the file's.

    Parameters
    ----------
    path : Path
        ``.safetensors``; or ``.pth``, ``.pt``, ``.bin`` or Lightning's ``.ckpt``, read by
        ``torch.load(weights_only=True)``. An entry ``state_dict`` or ``model`` around it is
        unwrapped.

    Raises
    ------
    CheckpointError
        If the file cannot be read, holds more than tensors and plain values, or no tensors, or a
        tensor has more values than the file.
    """
    readers: dict[str, Callable[[Path], Any]] = {
        ".safetensors": _read_safetensors,
        **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt"), _read_torch),
    }
    if path.suffix.lower() not in readers:
        raise CheckpointError(
            f"{path} must end in {', '.join(readers)}, but ends in {path.suffix or 'nothing'}"
        )
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    return _unwrap(readers[path.suffix.lower()](path), path)


def fit_state_dict(
    state: Mapping[str, Tensor], module: nn.Module, *, head: str | None, source: object
) -> dict[str, Tensor]:
    """Give a state dict the names of a network that it was trained as a part of, or nearly as.

    Parameters
    ----------
    state : mapping of str to Tensor
    module : torch.nn.Module
        With any number of classes.
    head : str or None
        Name of the module's last layer, such as ``fc``, which may have been replaced.
    source : object
        What messages call the state dict, such as its path.

    Returns
    -------
    dict of str to Tensor
        Without the prefix that most names have in common (``model.``, ``module.``, ``backbone.``,
        ``_orig_mod.`` and whatever else), and with one linear layer in the head's place, whatever
        its name (``fc.1`` of a ``Sequential(Dropout, Linear)``, say). What belongs to neither, such
        as a loss's weights, is left out and logged.

    Raises
    ------
    CheckpointError
        If the head has been replaced by several layers.
    """
    own = module.state_dict()
    prefix = _prefix(state, own)
    inside = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    fitted = {name: state[key] for name, key in inside.items() if name in own}
    left = {key: value for key, value in state.items() if key.removeprefix(prefix) not in fitted}
    heads = {f"{head}.weight", f"{head}.bias"}
    absent = {key for key in own if key not in fitted and not key.endswith("num_batches_tracked")}
    if absent and absent <= heads:
        layer = _replaced_head(left, own[f"{head}.weight"], type(module).__name__, source)
        for part in ("weight", "bias"):
            name, key = f"{head}.{part}", f"{layer}.{part}"
            if name in own and key in left:
                fitted[name] = left.pop(key)
    if prefix:
        if left:
            log.info("%s: %s", source, _few("entries that are left out", list(left)))
        return fitted
    return {**fitted, **left}


def _prefix(state: Mapping[str, Tensor], own: Mapping[str, Any]) -> str:
    """Find what stands before most of a network's names; nothing where that is not clear."""
    found: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in own:
                found[".".join(parts[:at])] += 1
    most = max(found.values(), default=0)
    best = min((prefix for prefix, count in found.items() if count == most), key=len, default="")
    return f"{best}." if best and 2 * most > len(own) else ""


def _replaced_head(
    left: Mapping[str, Tensor], own: Tensor, network: str, source: object
) -> str | None:
    """Name the one layer among what is left that can take the head's place."""
    layers = [
        key.removesuffix(".weight")
        for key, value in left.items()
        if key.endswith(".weight") and value.ndim >= 2
    ]
    # Beside a single matrix there may be a norm, say, in a sequence of layers.
    parent = layers[0].rpartition(".")[0] if layers else ""
    beside = {
        key.rpartition(".")[0]
        for key in left
        if parent and key.startswith(f"{parent}.") and not key.startswith(f"{layers[0]}.")
    }
    if len(layers) > 1 or beside:
        raise CheckpointError(
            f"{source}: the last layer of {network} has been replaced by several ("
            f"{', '.join(sorted({*layers, *beside})[:4])}), and weights do not say what is between "
            "them: name a function that builds the network, --model package.module:function, "
            "or model.factory in YAML; in Python, give the network itself"
        )
    fits = [layer for layer in layers if left[f"{layer}.weight"].shape[1:] == own.shape[1:]]
    return fits[0] if fits else None


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
    if _is_torchscript(path):
        raise CheckpointError(f"{path} is a TorchScript archive, which holds code: {_SAFE_WAY}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_PLAIN_TYPES):
            warnings.simplefilter("ignore")
            _check_compression(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many types, and all of them mean the same to the user
        held = re.search(r"GLOBAL ([\w.]+)", str(error))
        if held is not None:
            reason = f"holds an object of type {held[1]}, for which code would have to run"
        elif isinstance(error, ValueError | OSError):
            reason = f"cannot be read: {str(error).splitlines()[0]}"
        else:
            reason = "is not a file of torch.save that holds weights alone"
        raise CheckpointError(f"{path} {reason}: {_SAFE_WAY}") from None


def _is_torchscript(path: Path) -> bool:
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # damaged: reading it says so


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
    return {_OLD_DENSENET.sub(r"\1\2.", str(key)): value for key, value in content.items()}


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return "an empty mapping"
    return f"an object of type {type(content).__name__}"
