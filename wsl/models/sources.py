"""Where classifiers come from: torchvision, timm, transformers, a factory, a module, the demo."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.checkpoint import fit_state_dict, load_state_dict, read_state_dict
from wsl.models.classifier import Classifier, count_of, logits_of, pick_device
from wsl.models.networks import BUILDERS, named_model
from wsl.models.options import ModelOptions, Precision, Source
from wsl.models.preprocessing import Preprocessing

# ImageNet's mean and deviation, averaged over the channels.
_GRAY = Preprocessing(mean=(0.449,), std=(0.226,))


def load_classifier(
    model: str | ModelOptions | nn.Module,
    *,
    source: Source | None = None,
    weights: str | None = "DEFAULT",
    checkpoint: Path | str | None = None,
    categories: Path | str | Sequence[str] | Categories | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    preprocessing: Preprocessing | Any = None,
) -> Classifier:
    """Make a classifier from a network's name, a configuration or a module.

    Parameters
    ----------
    model : str, ModelOptions or torch.nn.Module
        A name in torchvision or timm, such as ``"resnet50"``, or in `source`; or what else
        `named_model` takes: ``"package.module:function"``, which returns a module, or ``"demo"``.
        With `ModelOptions`, all else but `preprocessing` and `categories` is taken from them. A
        module maps (N, 3, h, w), or (N, 1, h, w) of gray images, to (N, C) unnormalized scores, or
        returns them as ``logits``; it is used as it is and moved only where `device` names another
        device.
    source : {'torchvision', 'timm', 'transformers', 'demo'}, optional
        Library of a named network; by default that of `named_model`.
    weights : str or None
        Published weights: ``DEFAULT``, or a torchvision entry (``IMAGENET1K_V1``) or timm tag
        (``a1_in1k``). With a checkpoint, the entry whose preprocessing and categories go with it.
        None without a checkpoint gives random weights.
    checkpoint : path, optional
        Weights to load instead: see `read_state_dict` and `fit_state_dict`. The number of classes
        is that of its last layer.
    categories : path, sequence of str, or Categories, optional
        A text file with one class per line, or the names. Without it: those of the weights, or of
        `weights`' entry where it has as many classes, else numbers. Of a network with one score
        per image, the two classes or the one that high scores stand for.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: the first of CUDA, MPS and CPU that
        there is; for a module, where its parameters are.
    precision : {'float32', 'bfloat16'}
    preprocessing : Preprocessing, or transforms of torchvision or timm, optional
        Without it: what the weights say; for a module, ImageNet's usual (shorter side 256, crop
        224, its mean and standard deviation). See `Preprocessing.from_transforms`.

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

    Examples
    --------
    >>> load_classifier("demo", device="cpu")
    <Classifier demo: 10 classes, 128 x 128 px, cpu>
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> load_classifier(network, categories=["cat", "dog"]).categories.names
    ('cat', 'dog')
    """
    if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
        preprocessing = Preprocessing.from_transforms(preprocessing)
    if isinstance(model, nn.Module):
        if source is not None or checkpoint is not None:
            raise ModelError(
                "source and checkpoint must not be given with a module, which has its weights"
            )
        given = _read_categories(categories)
        return _from_module(model, device, precision, preprocessing, given)
    if isinstance(model, str):
        model = _options(
            model,
            source=source,
            weights=weights,
            checkpoint=checkpoint,
            device=device,
            precision=precision,
        )
    given = _read_categories(categories if categories is not None else model.categories)
    if model.factory is not None:
        return _from_factory(model, preprocessing, given)
    target = pick_device(model.device)
    built = BUILDERS[model.source](model, given)
    return Classifier(
        module=built.module.eval().to(target),
        preprocessing=preprocessing or built.preprocessing,
        categories=_categories(built.name, built.count, given, built.published),
        device=target,
        precision=model.precision,
        name=built.name,
    )


def _options(name: str, *, source: Source | None, **given: Any) -> ModelOptions:
    architecture = None if source == "demo" else name
    named = {"source": source, "architecture": architecture} if source else named_model(name)
    try:
        return ModelOptions.model_validate({**named, **given})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or name
        raise ModelError(f"{where}: {first['msg']}, but got {first['input']!r}") from error


def _read_categories(
    categories: Path | str | Sequence[str] | Categories | None,
) -> Categories | None:
    if categories is None or isinstance(categories, Categories):
        return categories
    if isinstance(categories, str | Path):
        return Categories.from_file(categories)
    return Categories(tuple(categories))


def _categories(
    network: str, count: int, given: Categories | None, published: Categories | None = None
) -> Categories:
    """Name the classes of a network that gives `count` scores."""
    if count == 1:  # stands for two classes
        if given is None:
            return Categories.numbered(2)
        if len(given) == 1:
            return Categories((f"not {given.names[0]}", given.names[0]))
        count = 2
    if given is None:
        is_published = published is not None and len(published) == count
        return published if published and is_published else Categories.numbered(count)
    if len(given) != count:
        raise ModelError(
            f"there must be one category per score of {network}, "
            f"but got {len(given)} categories and {count} scores"
        )
    return given


def _from_module(
    module: nn.Module,
    device: str,
    precision: Precision,
    preprocessing: Preprocessing | None,
    given: Categories | None,
    *,
    name: str | None = None,
) -> Classifier:
    if device == "auto":
        tensors = chain(module.parameters(), module.buffers())
        target = next((tensor.device for tensor in tensors), torch.device("cpu"))
    else:
        target = pick_device(device)
    module.to(target)
    if preprocessing is None:
        preprocessing = _GRAY if _input_channels(module) == 1 else Preprocessing()
    name = name or type(module).__name__
    made = Classifier(module, preprocessing, given or Categories(()), target, precision, name)
    if given is not None and len(given) > 1:  # the first scores are checked against them
        return made
    # Nothing but its output tells how many classes a module has.
    inputs = torch.zeros(1, len(preprocessing.mean), *preprocessing.crop_size)
    with made.inference(), torch.no_grad():
        outputs = logits_of(made.run(inputs))
    count = count_of(outputs)
    if count is None:
        raise ModelError(
            f"{name} must return scores of shape (N, C), but returned "
            + str(getattr(outputs, "shape", type(outputs).__name__))
        )
    return replace(made, categories=_categories(name, count, given))


def _input_channels(module: nn.Module) -> int | None:
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _from_factory(
    options: ModelOptions, preprocessing: Preprocessing | None, given: Categories | None
) -> Classifier:
    factory = str(options.factory)
    built = _call(factory)
    found = built if isinstance(built, Classifier) else None
    module = built.module if isinstance(built, Classifier) else built
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{factory} must return a torch.nn.Module or a Classifier, but returned a "
            f"{type(module).__name__}"
        )
    name = found.name if found else factory.rpartition(":")[2]
    if options.checkpoint is not None:
        state = read_state_dict(options.checkpoint)
        fitted = fit_state_dict(state, module, head=None, source=options.checkpoint)
        load_state_dict(module, fitted, source=options.checkpoint)
        name = f"{name} {options.checkpoint.name}"
    return _from_module(
        module.eval(),
        str(pick_device(options.device)),  # of auto not where the module happens to be
        options.precision,
        preprocessing or (found.preprocessing if found else None),
        given or (found.categories if found else None),
        name=name,
    )


def _call(factory: str) -> Any:
    """Call a function that is named as ``package.module:function``."""
    module_name, _, function = factory.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        place: Any = importlib.import_module(module_name)
        for part in function.split("."):
            place = getattr(place, part)
        return place()
    except (ImportError, AttributeError) as error:
        raise ModelError(f"model.factory {factory} cannot be imported: {error}") from error
    finally:
        sys.path.remove(here)
