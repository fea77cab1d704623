"""Pictures of every saliency method, and the arrays behind them, as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsl.data.images import load_image
from wsl.draw.montage import FAINT, Panel, color_bar, side_by_side
from wsl.draw.overlays import Picture, color_table, map_limits, overlay_saliency
from wsl.draw.pictures import file_part, resize_picture, save_png
from wsl.errors import ConfigError
from wsl.models.average import AnyClassifier, ClassifierAverage
from wsl.progress import Progress
from wsl.saliency.activation_maximization import (
    ActivationMaximization,
    maximize_activation,
)
from wsl.saliency.base import SILENT, SaliencyMethod
from wsl.saliency.explain import Explanation, explain, explain_target
from wsl.saliency.targets import TargetLike, TargetOptions
from wsl.storage import whole_file


@dataclass(frozen=True, eq=False)
class Visual:
    """A picture that was written, its arrays beside it, and what it shows."""

    path: Path
    arrays: tuple[Path, ...]
    title: str


def write_overlays(
    classifier: AnyClassifier,
    images: Sequence[Path],
    out: Path,
    saliency: SaliencyMethod,
    *,
    classes: Sequence[int | str] | None = None,
    first: int = 1,
    target: TargetOptions | None = None,
    height: int = 224,
    progress: Progress = SILENT,
) -> Iterator[Visual]:
    """Explain images and write one picture and its arrays per class.

    Parameters
    ----------
    classifier : Classifier or ClassifierAverage
    images : sequence of Path
        Files whose names differ.
    out : Path
        Folder; made if it is not there.
    saliency, classes, first, progress
        As of `explain`.
    target : TargetOptions, optional
        A channel or neuron in place of the classes.
    height : int
        Height of a panel in pixels.

    Yields
    ------
    Visual
        ``NAME-METHOD-CLASS-CATEGORY.png``, ``.npy`` with the map (H, W) of float32, and for
        occlusion ``-scores.npy`` with the scores under each mask.
    """
    _check_names(images)
    by_image = saliency.progress_unit == "images"
    if by_image:
        progress.start(len(images), 0)
    for path in images:
        pixels = load_image(path)
        if target is not None and target.layer is not None:
            found = explain_target(classifier, pixels, saliency, target, progress=progress)
            names = [target.name]
        else:
            found = explain(
                classifier, pixels, saliency, classes=classes, first=first, progress=progress
            )
            names = [f"{each.label} {classifier.categories.names[each.label]}" for each in found]
        for each, name in zip(found, names, strict=True):
            stem = f"{file_part(path.stem)}-{saliency.method}-{file_part(name)}"
            drawn = draw_overlay(pixels, each, method=saliency.method, height=height)
            arrays = {"": each.saliency, **each.arrays}
            yield _write(out, stem, drawn, arrays, "; ".join(filter(None, (each.title, each.note))))
        if by_image:
            progress.advance(1, 0)


def draw_overlay(
    image: Picture, explanation: Explanation, *, method: str, height: int = 224
) -> Picture:
    """Draw an image, its map on it, and the colors' scale, with the title above.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    explanation : Explanation
    method : str
        For the title and the caption.
    height : int
        Height of the panels in pixels.

    Returns
    -------
    ndarray of uint8, shape (height with title and captions, W, 3)
    """
    rows, columns = image.shape[:2]
    scale = min(height / rows, 3 * height / columns)
    size = (max(round(rows * scale), 1), max(round(columns * scale), 1))
    base = resize_picture(image, size)
    overlay = resize_picture(overlay_saliency(image, explanation.saliency), size)
    bar = color_bar(color_table(), map_limits(explanation.saliency), height=size[0])
    panels = [
        Panel(base, (("image", FAINT),)),
        Panel(overlay, ((method, FAINT),)),
        Panel(bar, ()),
    ]
    return side_by_side(panels, title=f"{explanation.title} · {method}", height=height)


def write_maximized(
    classifier: AnyClassifier,
    out: Path,
    options: ActivationMaximization,
    *,
    classes: Sequence[int | str] = (),
    target: TargetOptions | None = None,
    height: int = 224,
    progress: Progress = SILENT,
) -> Iterator[Visual]:
    """Maximize the activation of classes, or of a channel or neuron, and write the images.

    Yields
    ------
    Visual
        ``activation_maximization-CLASS-CATEGORY.png``, contrast stretched; ``.npy`` with the
        network's input (3, h, w) of float32, in which 0 is the training mean; ``-history.npy`` with
        the score before each step and at the end.

    Raises
    ------
    ConfigError
        If neither classes nor a target are given, or both, or the classifier is an average.
    """
    if isinstance(classifier, ClassifierAverage):
        raise ConfigError(
            f"{options.method} is of one network, but {classifier.name} is an average"
        )
    built = None if target is None else target.build()
    if (built is None) == (not classes):
        raise ConfigError(
            f"{options.method} must have classes (--class) or target.layer, and not both"
        )
    labels = [classifier.categories.index(name) for name in classes]
    targets: list[TargetLike] = [built] if built is not None else [*labels]
    names = [f"{label} {classifier.categories.names[label]}" for label in labels]
    if built is not None and target is not None:
        names = [target.name]
    found = maximize_activation(classifier, targets, options, progress=progress)
    what = {"score": "score" if built is None else "activation", "posterior": "log-probability"}
    for index, picture in enumerate(found.pictures(stretch=True)):
        history = found.history[index].numpy()
        rise = f"{what[options.maximize]} {history[0]:.2f} → {history[-1]:.2f}"
        panel = Panel(_fitted(picture, height), ((rise, FAINT),))
        title = names[index].partition(" ")[2] if built is None else names[index]
        drawn = side_by_side([panel], title=title, height=height)
        arrays = {"": found.inputs[index].numpy(), "history": history}
        stem = f"{options.method}-{file_part(names[index])}"
        yield _write(out, stem, drawn, arrays, f"{title}: {rise}")


def _fitted(picture: Picture, height: int) -> Picture:
    scale = height / picture.shape[0]
    return resize_picture(picture, (height, max(round(picture.shape[1] * scale), 1)))


def _write(
    out: Path, stem: str, picture: Picture, arrays: dict[str, NDArray[np.float32]], title: str
) -> Visual:
    path = out / f"{stem}.png"
    save_png(path, picture)
    written = []
    for name, array in arrays.items():
        place = out / f"{stem}{'-' if name else ''}{name}.npy"
        with whole_file(place) as file:
            np.save(file, np.asarray(array, dtype=np.float32))
        written.append(place)
    return Visual(path, tuple(written), title)


def _check_names(images: Sequence[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in images:
        first = stems.setdefault(file_part(path.stem).casefold(), path)
        if first is not path:
            raise ConfigError(
                f"images must differ in their names, but {first} and {path} do not; "
                "give each its own --out"
            )
