"""Where classifiers come from: torchvision, timm, a checkpoint, the demo, or a module."""

from __future__ import annotations

import importlib
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.errors import ModelError, choices_hint
from wsl.models.checkpoint import load_state_dict, read_state_dict
from wsl.models.classifier import Classifier, pick_device
from wsl.models.options import ModelOptions, Precision, Source
from wsl.models.preprocessing import Preprocessing

__all__ = ["load_classifier"]

_TIMM_HINT = "timm networks need the package timm: pip install 'wsl-localize[timm]'"


def load_classifier(
    model: str | ModelOptions | nn.Module,
    *,
    source: Source | None = None,
    weights: str | None = "DEFAULT",
    checkpoint: Path | str | None = None,
    categories: Path | str | Categories | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    preprocessing: Preprocessing | None = None,
) -> Classifier:
    """Make a classifier from a network's name, a configuration or a module.

    Parameters
    ----------
    model : str, ModelOptions or torch.nn.Module
        A name in torchvision (or in `source`), such as ``"resnet50"``; ``"demo"`` is the small
        network that comes with wsl. With `ModelOptions`, all else but `preprocessing` and
        `categories` is taken from them. A module must map (N, 3, h, w) to (N, C) unnormalized
        scores; it is used as it is and moved only where `device` names another device.
    source : {'torchvision', 'timm', 'demo'}, optional
        Library of a named network; torchvision if not given.
    weights : str or None
        Published weights: ``DEFAULT``, or a torchvision entry (``IMAGENET1K_V1``) or timm tag
        (``a1_in1k``). With a checkpoint, the entry whose preprocessing and categories go with it.
        None without a checkpoint gives random weights.
    checkpoint : path, optional
        State dict to load instead: ``.safetensors``, ``.pth`` or ``.pt``. The number of classes is
        that of its last layer.
    categories : path or Categories, optional
        A text file with one class per line. Without it: those of the weights, or of `weights`'
        entry where it has as many classes, else numbers.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: the first of CUDA, MPS and CPU that
        there is; for a module, where its parameters are.
    precision : {'float32', 'bfloat16'}
    preprocessing : Preprocessing, optional
        Without it: what the weights say; for a module, ImageNet's usual (shorter side 256, crop
        224, its mean and standard deviation).

    Returns
    -------
    Classifier

    Raises
    ------
    ModelError
        If there is no such network, weights entry or device, the download fails, or the number of
        categories is not that of the scores.
    CheckpointError
        If the checkpoint cannot be read or does not fit the network.
    """
    if isinstance(model, nn.Module):
        if source is not None or checkpoint is not None:
            raise ModelError(
                "source and checkpoint must not be given with a module, which has its weights"
            )
        return _from_module(model, device, precision, preprocessing, _read_categories(categories))
    if isinstance(model, str):
        model = _options(
            model,
            source=source,
            weights=weights,
            checkpoint=checkpoint,
            device=device,
            precision=precision,
        )
    build = {"torchvision": _torchvision, "timm": _timm, "demo": _demo}[model.source]
    given = _read_categories(categories if categories is not None else model.categories)
    target = pick_device(model.device)
    module, own_preprocessing, own_categories, name = build(model, given)
    if given is not None and len(given) != len(own_categories):
        raise ModelError(
            f"there must be one category per score of {name}, "
            f"but got {len(given)} categories and {len(own_categories)} scores"
        )
    return Classifier(
        module=module.eval().to(target),
        preprocessing=preprocessing or own_preprocessing,
        categories=given or own_categories,
        device=target,
        precision=model.precision,
        name=name,
    )


_Parts = tuple[nn.Module, Preprocessing, Categories, str]


def _options(name: str, *, source: Source | None, **given: Any) -> ModelOptions:
    is_demo = source == "demo" or (source is None and name == "demo")
    try:
        return ModelOptions(
            source="demo" if is_demo else source or "torchvision",
            architecture=None if is_demo else name,
            **given,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or name
        raise ModelError(f"{where}: {first['msg']}, but got {first['input']!r}") from error


def _read_categories(categories: Path | str | Categories | None) -> Categories | None:
    if categories is None or isinstance(categories, Categories):
        return categories
    return Categories.from_file(categories)


def _from_module(
    module: nn.Module,
    device: str,
    precision: Precision,
    preprocessing: Preprocessing | None,
    categories: Categories | None,
) -> Classifier:
    if device == "auto":
        tensors = chain(module.parameters(), module.buffers())
        target = next((tensor.device for tensor in tensors), torch.device("cpu"))
    else:
        target = pick_device(device)
    module.to(target)
    chosen = preprocessing or Preprocessing()
    name = type(module).__name__
    if categories is None:
        # Nothing but its output tells how many classes a module has.
        probe = Classifier(module, chosen, Categories(()), target, name=name)
        with probe.inference(), torch.no_grad():
            outputs = module(torch.zeros(1, 3, *chosen.crop_size, device=target))
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise ModelError(
                f"{name} must return scores of shape (N, C), but returned "
                + str(getattr(outputs, "shape", type(outputs).__name__))
            )
        categories = Categories.numbered(outputs.shape[1])
    return Classifier(module, chosen, categories, target, precision, name)


def _torchvision(options: ModelOptions, given: Categories | None) -> _Parts:
    from torchvision import models

    name = str(options.architecture)
    names = models.list_models(module=models)  # classification only: no detectors, no videos
    if name not in names:
        raise ModelError(
            f"torchvision has no classifier named {name!r}. {choices_hint(name, names)}"
        )
    entry = _weights_entry(name, options.weights)
    preprocessing = Preprocessing.from_torchvision(entry.transforms()) if entry else Preprocessing()
    published = Categories(tuple(entry.meta["categories"])) if entry else Categories(())
    if options.checkpoint is None:
        if entry is None:
            module = _untrained(name, len(given) if given else 1000)
            categories = given or _default_categories(name)
            return module, preprocessing, categories, f"{name} (random weights)"
        return _download(name, entry), preprocessing, published, f"{name} {entry.name}"
    state = read_state_dict(options.checkpoint)
    module, count = _fitted_torchvision(name, state, options.checkpoint, given)
    categories = _categories_for(count, published)
    return module, preprocessing, categories, f"{name} {options.checkpoint.name}"


def _weights_entry(name: str, weights: str | None) -> Any:
    """Torchvision's weights entry of a network; None for none."""
    from torchvision.models import get_model_weights

    if weights is None:
        return None
    entries = get_model_weights(name)
    if weights == "DEFAULT":
        return entries.DEFAULT
    wanted = weights.removeprefix(f"{entries.__name__}.")
    if wanted not in entries.__members__:
        choices = ["DEFAULT", *(entry.name for entry in entries)]
        raise ModelError(f"{name} has no weights {weights!r}. {choices_hint(wanted, choices)}")
    return entries[wanted]


def _default_categories(name: str) -> Categories:
    return Categories(tuple(_weights_entry(name, "DEFAULT").meta["categories"]))


def _download(name: str, entry: Any) -> nn.Module:
    from torchvision.models import get_model

    try:
        module: nn.Module = get_model(name, weights=entry)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot get the weights {entry.name} of {name} from {entry.url}: {error}; "
            "a file on this machine can be given as checkpoint"
        ) from error
    return module


def _untrained(name: str, count: int, **arguments: Any) -> nn.Module:
    from torchvision.models import get_model

    if name in ("googlenet", "inception_v3"):
        arguments.setdefault("init_weights", True)  # torchvision warns where nothing is said
    module: nn.Module = get_model(name, weights=None, num_classes=count, **arguments)
    return module


def _fitted_torchvision(
    name: str, state: dict[str, Tensor], path: Path, given: Categories | None
) -> tuple[nn.Module, int]:
    """Build a torchvision network with a checkpoint's weights; return it and its class count."""
    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        auxiliary = any(key.startswith(("aux", "AuxLogits")) for key in state)
        # Their published weights, and what is fine-tuned from them, want the input shifted.
        arguments = {"aux_logits": auxiliary, "transform_input": True, "init_weights": False}
    module = _untrained(name, 1000, **arguments)
    # In each of torchvision's classifiers the last matrix (squeezenet: filter bank) gives the
    # scores, and its rows are the classes.
    last = [key for key, value in module.state_dict().items() if value.ndim >= 2][-1]
    count = _class_count(module, state, last, given, 1000)
    if count != 1000:
        module = _untrained(name, count, **arguments)
    load_state_dict(module, state, source=path)
    return module, count


def _class_count(
    module: nn.Module,
    state: dict[str, Tensor],
    last: str,
    given: Categories | None,
    default: int,
) -> int:
    """Count the rows of a checkpoint's last matrix, if they are as long as the network's own."""
    own, found = module.state_dict().get(last), state.get(last)
    if own is not None and found is not None and own.shape[1:] == found.shape[1:] and len(found):
        return len(found)
    return len(given) if given else default


def _categories_for(count: int, published: Categories) -> Categories:
    return published if len(published) == count else Categories.numbered(count)


def _timm(options: ModelOptions, given: Categories | None) -> _Parts:
    timm = _import_timm()
    name = str(options.architecture)
    if not timm.is_model(name):
        names = timm.list_models()
        raise ModelError(f"timm has no network named {name!r}. {choices_hint(name, names)}")
    if options.weights not in (None, "DEFAULT"):
        name = f"{name.split('.')[0]}.{options.weights}"
    if options.checkpoint is not None:
        module = _fitted_timm(timm, name, options.checkpoint, given)
        label = f"{name} {options.checkpoint.name}"
    elif options.weights is None:
        module = _create_timm(timm, name, **({"num_classes": len(given)} if given else {}))
        label = f"{name} (random weights)"
    else:
        module, label = _create_timm(timm, name, pretrained=True), f"{name} (timm)"
    count = int(module.num_classes)
    if count < 1:
        raise ModelError(f"{name} must have a classifier, but timm builds it without one")
    preprocessing = Preprocessing.from_timm(timm.data.resolve_model_data_config(module))
    imagenet = timm.data.ImageNetInfo()
    published = Categories(tuple(imagenet.label_descriptions()), tuple(imagenet.label_names()))
    return module, preprocessing, _categories_for(count, published), label


def _import_timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(_TIMM_HINT) from error


def _create_timm(timm: Any, name: str, **arguments: Any) -> Any:
    try:
        return timm.create_model(name, **arguments)
    except Exception as error:  # timm downloads through several libraries, each with its errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"timm cannot build {name}: {reason}") from error


def _fitted_timm(timm: Any, name: str, path: Path, given: Categories | None) -> Any:
    """Build a timm network with a checkpoint's weights."""
    state = read_state_dict(path)
    module = _create_timm(timm, name)
    heads = module.pretrained_cfg.get("classifier") or ""
    head = heads if isinstance(heads, str) else heads[0]  # distilled networks have two
    count = _class_count(module, state, f"{head}.weight", given, int(module.num_classes))
    if count != module.num_classes:
        module = _create_timm(timm, name, num_classes=count)
    load_state_dict(module, state, source=path)
    return module


def _demo(options: ModelOptions, given: Categories | None) -> _Parts:
    from wsl.demo.draw import CATEGORIES
    from wsl.demo.network import INPUT_SIZE, MEAN, STD, demo_module

    size = (INPUT_SIZE, INPUT_SIZE)
    preprocessing = Preprocessing(resize_size=size, crop_size=size, mean=MEAN, std=STD)
    return demo_module(), preprocessing, CATEGORIES, "demo"
