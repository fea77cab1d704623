"""Named networks: of torchvision, timm and transformers, and the demo's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wsl.data.categories import Categories
from wsl.errors import ModelError, choices_hint
from wsl.models.checkpoint import fit_state_dict, load_state_dict, read_state_dict
from wsl.models.options import ModelOptions, Source
from wsl.models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Network:
    """A module, how it wants its input, how many scores it gives, and the names known for them."""

    module: nn.Module
    preprocessing: Preprocessing
    count: int
    published: Categories
    name: str


def named_model(name: str) -> dict[str, str | None]:
    """Return the keys of `ModelOptions` that name a model in one word.

    Parameters
    ----------
    name : str
        A torchvision or timm network, such as ``resnet50`` (torchvision's, where both have it);
        ``timm/NAME``; a name on the Hugging Face Hub or a folder with a slash, for transformers;
        ``package.module:function``, which returns a network; or ``demo``.
    """
    if name == "demo":
        return {"source": "demo", "architecture": None}
    if ":" in name and "/" not in name:
        return {"factory": name}
    source, slash, rest = name.partition("/")
    if slash and source in ("torchvision", "timm", "transformers"):
        return {"source": source, "architecture": rest}
    if slash:
        return {"source": "transformers", "architecture": name}
    return {"source": _library_of(name), "architecture": name}


def _library_of(name: str) -> str:
    """Name the library that has a network; torchvision where none has, which says so."""
    from torchvision import models

    if name in models.list_models(module=models):
        return "torchvision"
    try:
        import timm
    except ImportError:
        return "torchvision"
    return "timm" if timm.is_model(name.partition(".")[0]) else "torchvision"


def _torchvision(options: ModelOptions, given: Categories | None) -> Network:
    from torchvision import models

    name = str(options.architecture)
    names = models.list_models(module=models)  # classification only: no detectors, no videos
    if name not in names:
        raise ModelError(
            f"torchvision has no classifier named {name!r}{_timm_has(name)}. "
            f"{choices_hint(name, names)}"
        )
    entry = _weights_entry(name, options.weights)
    preprocessing = Preprocessing.from_torchvision(entry.transforms()) if entry else Preprocessing()
    published = Categories(tuple(entry.meta["categories"])) if entry else Categories(())
    if options.checkpoint is None:
        if entry is None:
            count = len(given) if given else 1000
            default = Categories(tuple(_weights_entry(name, "DEFAULT").meta["categories"]))
            module = _untrained(name, count)
            return Network(module, preprocessing, count, default, f"{name} (random weights)")
        module, count = _download(name, entry), len(published)
        return Network(module, preprocessing, count, published, f"{name} {entry.name}")
    state = read_state_dict(options.checkpoint)
    module, count = _fitted_torchvision(name, state, options.checkpoint)
    label = f"{name} {options.checkpoint.name}"
    return Network(module, preprocessing, count, published, label)


def _timm_has(name: str) -> str:
    """Say whether timm has a network that torchvision does not have."""
    try:
        import timm
    except ImportError:
        return "; timm, which has more, is not installed: pip install 'wsl-localize[timm]'"
    return "; timm has: source timm" if timm.is_model(name.partition(".")[0]) else ", nor has timm"


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


def _timm(options: ModelOptions, given: Categories | None) -> Network:
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
    return Network(module, preprocessing, count, published, label)


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


def _transformers(options: ModelOptions, given: Categories | None) -> Network:
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
    return Network(module, preprocessing, len(published), published, label)


def _demo(options: ModelOptions, given: Categories | None) -> Network:
    from wsl.demo.network import INPUT_SIZE, MEAN, STD, demo_module
    from wsl.demo.scene import CATEGORIES

    size = (INPUT_SIZE, INPUT_SIZE)
    preprocessing = Preprocessing(resize_size=size, crop_size=size, mean=MEAN, std=STD)
    return Network(demo_module(), preprocessing, len(CATEGORIES), CATEGORIES, "demo")


BUILDERS: dict[Source, Callable[[ModelOptions, Categories | None], Network]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
    "demo": _demo,
}
"""What makes a network of each source, given its options and the categories that the user names."""
