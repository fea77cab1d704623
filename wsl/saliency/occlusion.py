"""Occlusion sensitivity: how the score changes while a mask slides over the image.

`occlusion_saliency` is the saliency method of the configuration. `occlude` is the whole experiment
on one image: scores at every position, and what the image is mistaken for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from wsl.boxes import Box
from wsl.errors import ConfigError, choices_hint
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.base import SaliencyMaps, Select, choose
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.occlusion_grid import Anchor, MaskGrid
from wsl.saliency.probe import Probe
from wsl.saliency.targets import TargetLike

__all__ = ["Fill", "Lowest", "Occlusion", "make_fill", "occlude", "occlusion_saliency"]

NamedFill = Literal["gray", "mean", "blurred", "noise"]
Fill = NamedFill | tuple[int, int, int]
Score = Literal["unnormalized", "probability"]
Report = Callable[[int, int], None]

# From masked inputs (B, C, h, w) to what is kept of them, each tensor with B rows.
_Read = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Lowest:
    """The mask under which a value is lowest.

    Attributes
    ----------
    value : float
    center : (float, float)
        (y, x) of the mask's center in pixels of the input, before the mask is clipped.
    box : Box
        What the mask covers, in pixels of the input.
    winner : int or None
        The class of the highest score there: what the image is mistaken for, if it is another one.
    """

    value: float
    center: tuple[float, float]
    box: Box
    winner: int | None


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What an occlusion experiment found for one image and K targets.

    Attributes
    ----------
    grid : MaskGrid
        Where the masks lie.
    unmasked : Tensor of float32, shape (K,)
        The targets' values for the image as it is.
    values : Tensor of float32, shape (K, rows, columns)
        Under each mask.
    winners : Tensor of int64, shape (rows, columns), or None
        The class of the highest score under each mask; None where the output is not classes.
    """

    grid: MaskGrid
    unmasked: Tensor
    values: Tensor
    winners: Tensor | None

    @property
    def drops(self) -> Tensor:
        """How much each mask takes from the values; negative where it adds: (K, rows, columns)."""
        return self.unmasked[:, None, None] - self.values

    def lowest(self, target: int = 0) -> Lowest:
        """Find the mask under which a target's value is lowest; the first of several."""
        index = int(self.values[target].argmin())
        row, column = divmod(index, self.grid.shape[1])
        rows, columns = list(self.grid)[index]
        return Lowest(
            value=float(self.values[target, row, column]),
            center=self.grid.center(row, column),
            box=(columns.start, rows.start, columns.stop, rows.stop),
            winner=None if self.winners is None else int(self.winners[row, column]),
        )


def occlude(
    model: Classifier | nn.Module,
    image: Tensor,
    targets: Sequence[TargetLike | str],
    *,
    size: int,
    stride: int = 1,
    fill: Fill | Tensor = "gray",
    score: Score = "unnormalized",
    anchor: Anchor = "center",
    batch_size: int = 64,
    seed: int = 0,
    progress: Report | None = None,
) -> Occlusion:
    """Slide a mask over an image and read the targets at every position.

    Parameters
    ----------
    model : Classifier or torch.nn.Module
        Any classifier or regressor.
    image : Tensor of float32, shape (C, h, w)
        As the network takes it.
    targets : sequence of target
        Classes, regression outputs, channels of a layer (their mean activation), neurons; see
        `wsl.saliency.targets`. One experiment serves all.
    size, stride, anchor
        As of `MaskGrid`; 71 and 1 on an input of 227 x 227 give a map of that size.
    fill : str, color or Tensor
        As of `make_fill`; or the picture itself, (C, h, w) or what expands to it, in the input's
        units. A bare module, whose normalization is not known, takes a tensor, ``blurred`` or
        ``noise``.
    score : {'unnormalized', 'probability'}
        Classes before or after the softmax.
    batch_size : int
        Masked images per forward pass.
    seed : int
        Of the fill ``noise``.
    progress : callable, optional
        Called with the number of finished and of all masked images.

    Returns
    -------
    Occlusion
        On the CPU.

    Raises
    ------
    ConfigError
        If an option is wrong.
    ModelError
        If there is no such layer.

    References
    ----------
    M. D. Zeiler, R. Fergus. Visualizing and understanding convolutional networks. ECCV 2014,
    sec. 4.2.
    """
    _check(score, batch_size)
    grid = MaskGrid((image.shape[1], image.shape[2]), size, stride, anchor)
    probe = Probe(model, targets, reading=score)
    with probe.ready(), torch.no_grad():
        image = image.detach().to(probe.device, torch.float32)
        filled = _fill_of(model, fill, image, seed)

        def read(masked: Tensor) -> tuple[Tensor, ...]:
            values, output = probe(masked)
            return (values, output.argmax(dim=1)) if probe.knows_classes else (values,)

        unmasked = read(image[None])[0][0]
        values, *winners = _sweep(read, image, grid, filled, batch_size, progress)
    return Occlusion(
        grid=grid,
        unmasked=unmasked.cpu(),
        values=values.cpu().T.reshape(-1, *grid.shape),
        winners=winners[0].cpu().reshape(grid.shape) if winners else None,
    )


def occlusion_saliency(
    classifier: Classifier,
    inputs: Tensor,
    select: Select,
    *,
    size: int = 45,
    stride: int = 8,
    fill: Fill = "gray",
    score: Score = "unnormalized",
    anchor: Anchor = "center",
    batch_size: int = 64,
    seed: int = 0,
    progress: Report | None = None,
) -> SaliencyMaps:
    """Compute maps of how much a mask at each place takes from the class scores.

    Parameters
    ----------
    classifier : Classifier
    inputs : Tensor of float32, shape (N, 3, h, w)
        Normalized as the classifier's preprocessing says.
    select : Select
        Chooses K classes per input from the unmasked scores.
    size, stride, anchor
        As of `MaskGrid`.
    fill, seed
        As of `make_fill`.
    score : {'unnormalized', 'probability'}
        What drops: the score before the softmax, or after it as in the paper.
    batch_size : int
        Masked images per forward pass.
    progress : callable, optional
        Called with the number of finished and of all masked images.

    Returns
    -------
    SaliencyMaps
        max(drop, 0) at the masks' centers, linearly between them. On the classifier's device.

    Notes
    -----
    The masks' forward passes serve all K classes of an image. Memory does not grow with the number
    of masks.

    References
    ----------
    M. D. Zeiler, R. Fergus. Visualizing and understanding convolutional networks. ECCV 2014,
    sec. 4.2.
    """
    _check(score, batch_size)
    grid = MaskGrid((inputs.shape[2], inputs.shape[3]), size, stride, anchor)
    with classifier.inference(), torch.no_grad():
        inputs = inputs.detach().to(classifier.device, torch.float32)
        scores = classifier.scores(inputs)
        classes = choose(select, scores)
        given = classes >= 0
        report = _over_images(progress, int(given.any(dim=1).sum()), len(grid))
        unmasked = _scored(scores, score)
        maps = inputs.new_zeros((*classes.shape, *inputs.shape[2:]))
        for index in given.any(dim=1).nonzero().flatten().tolist():
            image, chosen = inputs[index], classes[index, given[index]]

            def read(masked: Tensor, chosen: Tensor = chosen) -> tuple[Tensor, ...]:
                return (_scored(classifier.scores(masked), score)[:, chosen],)

            filled = make_fill(fill, image, classifier.preprocessing, seed=seed)
            (values,) = _sweep(read, image, grid, filled, batch_size, report)
            drops = (unmasked[index, chosen] - values).clamp_(min=0)  # (masks, K)
            maps[index, given[index]] = grid.interpolate(drops.T.reshape(-1, *grid.shape))
    return SaliencyMaps(scores=scores, classes=classes, maps=maps)


def make_fill(
    fill: Fill,
    image: Tensor,
    preprocessing: Preprocessing,
    *,
    blur: float = 10.0,
    seed: int = 0,
) -> Tensor:
    """Make the picture that shows through the masks.

    Parameters
    ----------
    fill : {'gray', 'mean', 'blurred', 'noise'} or (int, int, int)
        ``gray``: 128 in each channel. ``mean``: the mean of the training images. ``blurred``: the
        image, blurred. ``noise``: normal noise with mean and standard deviation of the training
        images; the same picture for all images of a size. Three numbers from 0 to 255: a color,
        RGB.
    image : Tensor of float32, shape (3, h, w)
        Normalized.
    preprocessing : Preprocessing
        How the image was normalized.
    blur : float
        Standard deviation of ``blurred`` in pixels.
    seed : int
        Of ``noise``.

    Returns
    -------
    Tensor of float32, shape (3, h, w)

    Raises
    ------
    ConfigError
        If there is no such fill, or a color is not three numbers from 0 to 255.
    """
    if fill == "blurred":
        return gaussian_blur(image[None], blur)[0]
    if fill == "noise":
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(image.shape, generator=generator).to(image)
    if fill == "mean":
        return torch.zeros_like(image)
    if isinstance(fill, str) and fill != "gray":
        names = get_args(NamedFill)
        raise ConfigError(f"there is no fill {fill!r}. {choices_hint(fill, names)}")
    color = (128, 128, 128) if fill == "gray" else tuple(fill)
    if len(color) != 3 or not all(0 <= value <= 255 for value in color):
        raise ConfigError(f"a color must be three numbers from 0 to 255, but got {fill}")
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    normalized = (torch.tensor(color) / 255 - mean) / std
    return normalized.to(image)[:, None, None].expand_as(image)


def _fill_of(
    model: Classifier | nn.Module, fill: Fill | Tensor, image: Tensor, seed: int
) -> Tensor:
    if isinstance(fill, Tensor):
        return fill.to(image).expand_as(image)
    if isinstance(model, Classifier):
        return make_fill(fill, image, model.preprocessing, seed=seed)
    if fill not in ("blurred", "noise"):
        raise ConfigError(
            f"the fill of a bare module must be a tensor, 'blurred' or 'noise', but got {fill!r}: "
            "how colors are normalized is known of classifiers only"
        )
    return make_fill(fill, image, Preprocessing(), seed=seed)


def _sweep(
    read: _Read,
    image: Tensor,
    grid: MaskGrid,
    fill: Tensor,
    batch_size: int,
    report: Report | None,
) -> tuple[Tensor, ...]:
    """Read the image (C, h, w) under every mask; each tensor with one row per mask, in order.

    One buffer holds the batch: only the masked patches are written and put back, never the whole
    images.
    """
    masks = list(grid)
    buffer = image.expand(min(batch_size, len(masks)), *image.shape).clone()
    found: tuple[Tensor, ...] = ()
    for start in range(0, len(masks), batch_size):
        batch = masks[start : start + batch_size]
        for row, (rows, columns) in enumerate(batch):
            buffer[row, :, rows, columns] = fill[:, rows, columns]
        parts = read(buffer[: len(batch)])
        for row, (rows, columns) in enumerate(batch):
            buffer[row, :, rows, columns] = image[:, rows, columns]
        # Written into place: kept one by one, the small results would lie between the large
        # blocks that every pass frees, which the system then could not have back.
        found = found or tuple(part.new_empty(len(masks), *part.shape[1:]) for part in parts)
        for whole, part in zip(found, parts, strict=True):
            whole[start : start + len(batch)] = part
        if report is not None:
            report(start + len(batch), len(masks))
    return found


def _over_images(progress: Report | None, images: int, masks: int) -> Report | None:
    """Count the masks of several images, one after the other, as one piece of work."""
    if progress is None:
        return None
    finished = 0

    def report(done: int, total: int) -> None:
        nonlocal finished
        progress(finished + done, images * masks)
        finished += masks if done == total else 0

    return report


def _scored(scores: Tensor, score: Score) -> Tensor:
    return scores.softmax(dim=1) if score == "probability" else scores


def _check(score: str, batch_size: int) -> None:
    if score not in get_args(Score):
        raise ConfigError(f"score must be 'unnormalized' or 'probability', but got {score!r}")
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, but got {batch_size}")
