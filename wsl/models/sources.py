"""Where classifiers come from: torchvision, timm, transformers, a factory, a module, the demo."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.errors import ModelError, choices_hint
from wsl.models.checkpoint import fit_state_dict, load_state_dict, read_state_dict
from wsl.models.classifier import Classifier, count_of, logits_of, pick_device
from wsl.models.options import ModelOptions, Precision, Source
from wsl.models.preprocessing import Preprocessing

__all__ = ["load_classifier"]

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
        A name in torchvision (or in `source`), such as ``"resnet50"``; a function that returns a
        module, ``"package.module:function"``; ``"demo"``, the small network that comes with wsl.
        With `ModelOptions`, all else but `preprocessing` and `categories` is taken from them. A
        module maps (N, 3, h, w), or (N, 1, h, w) of gray images, to (N, C) unnormalized scores, or
        returns them as ``logits``; it is used as it is and moved only where `device` names another
        device.
    source : {'torchvision', 'timm', 'transformers', 'demo'}, optional
        Library of a named network; torchvision if not given.
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
    build = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers,
             "demo": _demo}[model.source]  # fmt: skip
    target = pick_device(model.device)
    built = build(model, given)
    return Classifier(
        module=built.module.eval().to(target),
        preprocessing=preprocessing or built.preprocessing,
        categories=_categories(built.name, built.count, given, built.published),
        device=target,
        precision=model.precision,
        name=built.name,
    )


@dataclass(frozen=True, eq=False)
class _Network:
    """A module, how it wants its input, how many scores it gives, and the names known for them."""

    module: nn.Module
    preprocessing: Preprocessing
    count: int
    published: Categories
    name: str


def _options(name: str, *, source: Source | None, **given: Any) -> ModelOptions:
    is_demo = source == "demo" or (source is None and name == "demo")
    is_factory = source is None and ":" in name
    try:
        return ModelOptions(
            source="demo" if is_demo else source or "torchvision",
            architecture=None if is_demo or is_factory else name,
            factory=name if is_factory else None,
            **given,
        )
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


def _torchvision(options: ModelOptions, given: Categories | None) -> _Network:
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
            count = len(given) if given else 1000
            default = Categories(tuple(_weights_entry(name, "DEFAULT").meta["categories"]))
            module = _untrained(name, count)
            return _Network(module, preprocessing, count, default, f"{name} (random weights)")
        module, count = _download(name, entry), len(published)
        return _Network(module, preprocessing, count, published, f"{name} {entry.name}")
    state = read_state_dict(options.checkpoint)
    module, count = _fitted_torchvision(name, state, options.checkpoint)
    label = f"{name} {options.checkpoint.name}"
    return _Network(module, preprocessing, count, published, label)


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


def _fitted_torchvision(name: str, state: dict[str, Tensor], path: Path) -> tuple[nn.Module, int]:
    """Build a torchvision network with a checkpoint's weights; return it and its class count."""
    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        auxiliary = any("aux" in key.lower() for key in state)
        # Their published weights, and what is fine-tuned from them, want the input shifted.
        arguments = {"aux_logits": auxiliary, "transform_input": True, "init_weights": False}
    module = _untrained(name, 1000, **arguments)
    # In each of torchvision's classifiers the last matrix (squeezenet: filter bank) gives the
    # scores, and its rows are the classes.
    last = [key for key, value in module.state_dict().items() if value.ndim >= 2][-1]
    head = last.removesuffix(".weight")
    return _fitted(module, state, head, path, lambda count: _untrained(name, count, **arguments))


def _fitted(
    module: nn.Module,
    state: dict[str, Tensor],
    head: str,
    path: Path,
    build: Callable[[int], nn.Module],
) -> tuple[nn.Module, int]:
    """Load a checkpoint into a network, built anew where its number of classes is another one."""
    state = fit_state_dict(state, module, head=head, source=path)
    own, found = module.state_dict()[f"{head}.weight"], state.get(f"{head}.weight")
    count = len(own)
    if found is not None and own.shape[1:] == found.shape[1:] and 0 < len(found) != count:
        count = len(found)
        module = build(count)
    load_state_dict(module, state, source=path)
    return module, count


def _timm(options: ModelOptions, given: Categories | None) -> _Network:
    timm = _import("timm")
    name = str(options.architecture)
    if not timm.is_model(name):
        names = timm.list_models()
        raise ModelError(f"timm has no network named {name!r}. {choices_hint(name, names)}")
    if options.weights not in (None, "DEFAULT"):
        name = f"{name.split('.')[0]}.{options.weights}"
    if options.checkpoint is not None:
        module = _create_timm(timm, name)
        heads = module.pretrained_cfg.get("classifier") or ""
        head = heads if isinstance(heads, str) else heads[0]  # distilled networks have two
        state = read_state_dict(options.checkpoint)
        module, _ = _fitted(
            module,
            state,
            head,
            options.checkpoint,
            lambda count: _create_timm(timm, name, num_classes=count),
        )
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
    return _Network(module, preprocessing, count, published, label)


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelError(
            f"{package} networks need the package {package}: pip install 'wsl-localize[{package}]'"
        ) from error


def _create_timm(timm: Any, name: str, **arguments: Any) -> Any:
    try:
        return timm.create_model(name, **arguments)
    except Exception as error:  # timm downloads through several libraries, each with its errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"timm cannot build {name}: {reason}") from error


def _transformers(options: ModelOptions, given: Categories | None) -> _Network:
    transformers = _import("transformers")
    name = str(options.architecture)
    try:
        # Without remote code, which is the library's default, too.
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        module = transformers.AutoModelForImageClassification.from_pretrained(
            name, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"transformers cannot load {name}: {reason}") from error
    labels = module.config.id2label
    published = Categories(tuple(str(labels[index]) for index in sorted(labels)))
    preprocessing = Preprocessing.from_transformers(processor.to_dict())
    label = f"{name} (transformers)"
    return _Network(module, preprocessing, len(published), published, label)


def _demo(options: ModelOptions, given: Categories | None) -> _Network:
    from wsl.demo.draw import CATEGORIES
    from wsl.demo.network import INPUT_SIZE, MEAN, STD, demo_module

    size = (INPUT_SIZE, INPUT_SIZE)
    preprocessing = Preprocessing(resize_size=size, crop_size=size, mean=MEAN, std=STD)
    return _Network(demo_module(), preprocessing, len(CATEGORIES), CATEGORIES, "demo")
