"""Occlusion sensitivity: how the score changes while a mask slides over the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.geometry import Geometry
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.progress import Progress
from wsl.saliency.base import SILENT, Attributions, SaliencyMethod, scores_only
from wsl.saliency.blur import gaussian_blur
from wsl.saliency.occlusion_grid import MaskGrid

Level = Annotated[int, Field(ge=0, le=255)]
Fill = Literal["gray", "mean", "blurred", "noise"] | tuple[Level, Level, Level]


class Occlusion(SaliencyMethod):
    """What a mask at each place takes from the class score, at the masks' centers.

    An image's forward passes serve all its classes. Memory does not grow with the number of masks.
    """

    summary: ClassVar = "Drop of the class score under a mask at each place."
    progress_unit: ClassVar = "forward passes"
    reference: ClassVar = "Zeiler, Fergus 2014, arXiv:1311.2901"

    method: Literal["occlusion"] = "occlusion"
    """The saliency method."""

    size: PositiveInt = 45
    """Side of the square mask, in pixels of the classifier's input."""

    stride: PositiveInt = 8
    """Step between masks, in pixels; one forward pass each. 1 gives every pixel its own."""

    fill: Fill = "gray"
    """What shows through the mask: ``gray`` is 128 in each channel; ``mean`` the color mean of the
    training images; ``blurred`` the image itself, blurred; ``noise`` normal noise with the mean
    and deviation of the training images; three numbers from 0 to 255 a color, RGB."""

    score: Literal["unnormalized", "probability"] = "unnormalized"
    """What drops: the class score before the softmax, or after it."""

    batch_size: PositiveInt = 64
    """Masked images per forward pass of the network; changes nothing but memory and speed."""

    seed: int = Field(default=0, ge=0)
    """Seed of the fill ``noise``, which is the same for all images."""

    def attributions(
        self, classifier: Classifier, inputs: Tensor, progress: Progress = SILENT
    ) -> Attributions:
        """Slide the mask over each input; a mask that adds to the score counts as 0."""
        found = Attributions(scores_only(classifier, inputs), lambda classes: of(classes))

        def of(classes: Tensor) -> Iterator[tuple[int, Tensor]]:
            used = (classes >= 0).any(dim=1)
            drops = inputs.new_zeros((*classes.shape, *inputs.shape[2:]))
            for index in used.nonzero().flatten().tolist():
                given = classes[index] >= 0
                occlusion = occlude(
                    classifier, inputs[index], classes[index, given].tolist(), self, progress
                )
                drops[index, given] = occlusion.grid.interpolate(
                    occlusion.drops.clamp(min=0).to(drops)
                )
                found.details.append(occlusion)
            for slot in range(classes.shape[1]):
                yield slot, drops[:, slot, None]

        return found

    def describe(
        self, detail: Any, slot: int, geometry: Geometry, categories: Categories
    ) -> tuple[str, dict[str, NDArray[np.float32]]]:
        """Say where the score is lowest, and what the image is taken for there."""
        assert isinstance(detail, OcclusionScores)
        lowest = detail.lowest(slot)
        y, x = lowest.center
        x0, y0, x1, y1 = geometry.box_to_image((x, y, x + 1, y + 1))
        note = f"lowest, {lowest.value:.3g}, under the mask at x {(x0 + x1) / 2:.0f}, "
        note += f"y {(y0 + y1) / 2:.0f}"
        if len(categories) > 1:
            winner = categories.names[lowest.winner].split(",")[0]
            changed = lowest.winner != detail.classes[slot]
            note += f", and taken for {winner}" if changed else ", and still first"
        return note, {"scores": detail.values[slot].numpy()}


@dataclass(frozen=True)
class Lowest:
    """The mask under which a class's score is lowest."""

    value: float
    center: tuple[float, float]
    """(y, x) of the mask's center in pixels of the input, before the mask is clipped."""
    box: Box
    """What the mask covers, in pixels of the input."""
    winner: int
    """The class of the highest score there: what the image is mistaken for, if it is another
    one."""


@dataclass(frozen=True, eq=False)
class OcclusionScores:
    """Scores of K classes of one image under a sliding mask."""

    grid: MaskGrid
    """Positions of the masks."""
    classes: tuple[int, ...]
    unmasked: Tensor
    """Shape (K,). The scores of the image as it is."""
    values: Tensor
    """Shape (K, rows, columns). Under each mask."""
    winners: Tensor
    """Shape (rows, columns). The class of the highest score under each mask."""

    @property
    def drops(self) -> Tensor:
        """How much each mask takes from the scores; negative where it adds: (K, rows, columns)."""
        return self.unmasked[:, None, None] - self.values

    def lowest(self, slot: int = 0) -> Lowest:
        """Find the mask under which a class's score is lowest; the first of several."""
        index = int(self.values[slot].argmin())
        row, column = divmod(index, self.grid.shape[1])
        rows, columns = list(self.grid)[index]
        return Lowest(
            value=float(self.values[slot, row, column]),
            center=self.grid.center(row, column),
            box=(columns.start, rows.start, columns.stop, rows.stop),
            winner=int(self.winners[row, column]),
        )


def occlude(
    classifier: Classifier,
    image: Tensor,
    classes: list[int],
    options: Occlusion,
    progress: Progress = SILENT,
) -> OcclusionScores:
    """Slide a mask over an image and score some classes at every position.

    Parameters
    ----------
    classifier : Classifier
    image : Tensor of float32, shape (C, h, w)
        On the classifier's device; not changed.
    classes : list of int
    options : Occlusion
        A mask of 71 with stride 1 on an input of 227 x 227 gives a map of that size.
    progress : Progress

    Returns
    -------
    OcclusionScores
        On the CPU.

    References
    ----------
    M. D. Zeiler, R. Fergus. Visualizing and understanding convolutional networks. ECCV 2014,
    sec. 4.2.
    """
    grid = MaskGrid((image.shape[1], image.shape[2]), options.size, options.stride)
    fill = make_fill(options.fill, image, classifier.preprocessing, seed=options.seed)

    def read(masked: Tensor) -> tuple[Tensor, Tensor]:
        scores = scores_only(classifier, masked)
        if options.score == "probability":
            return classifier.probabilities(scores)[:, classes], scores.argmax(dim=1)
        return scores[:, classes], scores.argmax(dim=1)

    with classifier.inference():
        unmasked, _ = read(image[None])
        values, winners = _sweep(read, image, grid, fill, options.batch_size, progress)
    return OcclusionScores(
        grid=grid,
        classes=tuple(classes),
        unmasked=unmasked[0].cpu(),
        values=values.cpu().T.reshape(-1, *grid.shape),
        winners=winners.cpu().reshape(grid.shape),
    )


def make_fill(
    fill: Fill, image: Tensor, preprocessing: Preprocessing, *, blur: float = 10.0, seed: int = 0
) -> Tensor:
    """Make the picture that shows through the masks.

    Parameters
    ----------
    fill : {'gray', 'mean', 'blurred', 'noise'} or (int, int, int)
        See `Occlusion`; ``noise`` is the same picture for all images of a size.
    image : Tensor of float32, shape (C, h, w)
        Normalized.
    preprocessing : Preprocessing
        How the image was normalized.
    blur : float
        Standard deviation of ``blurred`` in pixels.
    seed : int
        Seed of ``noise``.

    Returns
    -------
    Tensor of float32, shape (C, h, w)
    """
    if fill == "blurred":
        return gaussian_blur(image[None], blur)[0]
    if fill == "noise":
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(image.shape, generator=generator).to(image)
    if fill == "mean":
        return torch.zeros_like(image)
    color = (128, 128, 128) if fill == "gray" else fill
    pixel = preprocessing.normalize(np.array([[color]], np.uint8))
    return pixel.to(image).expand_as(image)


def _sweep(
    read: Callable[[Tensor], tuple[Tensor, Tensor]],
    image: Tensor,
    grid: MaskGrid,
    fill: Tensor,
    batch_size: int,
    progress: Progress,
) -> tuple[Tensor, ...]:
    """Read the image (C, h, w) under every mask; each tensor with one row per mask, in order.

    One buffer holds the batch: only the masked patches are written and put back, never the whole
    images.
    """
    masks = list(grid)
    progress.start(len(masks), 0)
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
        progress.advance(len(batch), 0)
    return found
