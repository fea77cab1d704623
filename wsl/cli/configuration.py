"""From what a person types to a configuration: sources, a recipe, named options, ``--set``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsl.errors import ConfigError

if TYPE_CHECKING:
    from wsl.run.config import RunConfig


ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Classifier: a torchvision or timm name such as resnet50 (or timm/NAME), demo, or "
        "PACKAGE.MODULE:FUNCTION that returns a network. See wsl models. Several are averaged.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="default (also if not given), best, fast, masks, simonyan2013, or a YAML file.",
    ),
]
CheckpointOption = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", help="Your own weights for the model; one for each of several."),
]
CategoriesOption = Annotated[
    Path | None,
    typer.Option("--categories", help="Text file of the model's classes, one per line."),
]
GroupsOption = Annotated[
    Path | None,
    typer.Option("--groups", help="YAML or CSV file of class groups, such as all dogs."),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="FORMAT", help="Format of the dataset; by default found out."),
]
SubsetOption = Annotated[
    str | None,
    typer.Option("--subset", metavar="I/N", help="The I-th of N subsets, such as 1/2."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 or mps; by default the best.")
]


def configuration(
    sources: Sequence[str] = (),
    *,
    recipe: str | None = None,
    model: Sequence[str] | None = None,
    data: str | None = None,
    classes: str | None = None,
    top_k: int | None = None,
    checkpoint: Sequence[Path] | None = None,
    categories: Path | None = None,
    groups: Path | None = None,
    device: str | None = None,
    subset: str | None = None,
    overrides: Sequence[str] = (),
) -> RunConfig:
    """Make a configuration from what a command was given.

    Parameters
    ----------
    sources : sequence of str
        One YAML file or the name of a recipe; or image files and folders.
    recipe : str, optional
        By default ``default``; not beside a YAML file.
    model, data, classes, top_k, checkpoint, categories, groups, device, subset
        The options of those names; None where not given. `classes` are separated by commas.
        Several models are averaged; then `checkpoint` has one for each, in their order, or none.
    overrides : sequence of str
        ``key=value``; they win over the named options.

    Raises
    ------
    ConfigError
        If the options contradict each other, or a value is wrong.
    """
    from wsl.run.config import load_config

    base, images = _base(sources, recipe)
    keys: dict[str, Any] = {}
    if images:
        keys |= _data_keys(images, data)
    elif data is not None:
        keys["data.format"] = data
    keys |= _model_keys(model or (), checkpoint or (), categories, device)
    if classes is not None:
        names = [name.strip() for name in classes.split(",") if name.strip()]
        keys |= {"classes.select": "named", "classes.names": names}
    if top_k is not None:
        if classes is not None:
            raise ConfigError("--classes and --top-k must not both be given")
        keys |= {"classes.select": "top_k", "classes.top_k": top_k}
    named = {
        "classes.groups": groups,
        "data.subset": subset,
    }
    keys |= {key: str(value) for key, value in named.items() if value is not None}
    written = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    return load_config(base, [*written, *overrides])


def _model_keys(
    models: Sequence[str],
    checkpoints: Sequence[Path],
    categories: Path | None,
    device: str | None,
) -> dict[str, Any]:
    """Return the configuration's keys of one model, or of several that are averaged."""
    from wsl.models.networks import named_model

    if len(checkpoints) not in (0, max(1, len(models))):
        raise ConfigError(
            f"--checkpoint must be given once for each --model, in the same order, but there are "
            f"{len(checkpoints)} for {len(models)}; models in a YAML file may have one or not"
        )
    own: list[dict[str, Any]] = [{"checkpoint": str(path)} for path in checkpoints]
    own = own or [{}] * max(1, len(models))
    shared = {"categories": categories, "device": device}
    common = {key: str(value) for key, value in shared.items() if value is not None}
    if len(models) > 1:
        members = [
            named_model(name) | common | weights for name, weights in zip(models, own, strict=True)
        ]
        return {"model": None, "models": members}
    named = named_model(models[0]) if models else {}
    keys = {f"model.{key}": value for key, value in {**named, **common, **own[0]}.items()}
    return {"models": None, **keys} if models else keys


def _base(sources: Sequence[str], recipe: str | None) -> tuple[str, Sequence[str]]:
    """Part the sources into what the configuration starts from, and images."""
    from wsl.localize.recipes import recipe_names

    yaml = [source for source in sources if source.lower().endswith((".yaml", ".yml"))]
    if len(sources) == 1 and sources[0] in recipe_names():
        yaml = list(sources)
    if not yaml:
        return recipe or "default", sources
    if len(sources) > 1 or recipe is not None:
        raise ConfigError(
            f"{yaml[0]} is a whole configuration: it must stand alone, without --recipe"
        )
    return yaml[0], ()


def _data_keys(images: Sequence[str], data: str | None) -> dict[str, Any]:
    """Return the configuration's keys of images; the dataset's format is found if not given."""
    remote = [source for source in images if "://" in source]
    missing = [source for source in images if source not in remote and not Path(source).exists()]
    if missing:
        raise ConfigError(f"there is no image, folder, YAML file or recipe {missing[0]!r}")
    if len(images) == 1 and (remote or Path(images[0]).is_dir()):
        from wsl.data.open import find_format

        return {"data.format": data or find_format(images[0]), "data.root": images[0]}
    if data not in (None, "files"):
        raise ConfigError(f"--data {data} must have one folder, but got {len(images)} sources")
    return {"data.format": "files", "data.images": list(images)}
