"""Pseudo-labels for segmentation: one label per pixel, made of the masks of an image's classes.

The rules, in their order:

1. A pixel outside of all masks is background, 0. A pixel inside one mask has that class's value:
   its position in ``classes.csv`` (or 1, with `foreground_only`).
2. A pixel inside several masks goes to the class whose saliency is stronger there. Maps of two
   classes are compared after each was smoothed by a Gaussian whose standard deviation is
   `overlap_smoothing` of the image's diagonal (single pixels of a gradient are noise) and divided
   by its maximum (the classes' scores differ in scale). Equals go to the class that ranks higher.
   Where the run stored no maps, all the contested pixels of two classes go to the more probable
   one.
3. A pixel is uncertain, and gets the ignore value, if a pixel that belongs to another mask or
   to the background lies within the band's width: `boundary_ignore` of the diagonal, or
   `boundary_ignore_pixels`, measured between pixel centers. The image's border is no boundary.
   Objects thinner than that become uncertain as a whole.

In an image without any mask everything is uncertain: it shows something that was not found. (Such
images go in only if asked for, see `ImageOptions.empty_images`.)

The format ``segmentation``::

    OUT/labels/NAME.png        value per pixel, with VOC's palette
    OUT/images/NAME.jpg        if `images` is link or copy
    OUT/<split>.txt            NAME, one per line
    OUT/classes.csv            value, category, id

The ignore value is 255. More than 254 classes do not fit into 8 bits: then the
files are 16-bit grayscale and the ignore value is 65535, as the summary says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from wsl.export.exporter import Context, Exporter, csv_line, image_size
from wsl.export.options import DatasetOptions, Proportion
from wsl.export.png import png_bytes
from wsl.export.staging import Chunk, Staging
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import Mask
from wsl.run.maps import Maps

__all__ = [
    "LabelImageOptions",
    "LabelImages",
    "PseudoLabels",
    "SegmentationExporter",
    "SegmentationOptions",
    "indexed_png",
    "owners",
    "pseudo_labels",
    "uncertain_band",
    "voc_palette",
]

IGNORE = 255
WIDE_IGNORE = 65535

Saliency = NDArray[np.float32]


class LabelImageOptions(DatasetOptions):
    """Options of formats that write label images."""

    boundary_ignore: Proportion = 0.01
    """Width of the uncertain band, as a fraction of the image's diagonal: a pixel with another
    label within this distance makes a pixel uncertain. 0: no pixel."""

    boundary_ignore_pixels: Annotated[float, Field(ge=0)] | None = None
    """The same distance in pixels, instead of `boundary_ignore`."""

    overlap_smoothing: Proportion = 0.02
    """Standard deviation of the Gaussian that smooths saliency maps before they are compared where
    masks overlap, as a fraction of the image's diagonal."""

    foreground_only: bool = False
    """Whether all classes become the one class 1."""


class SegmentationOptions(LabelImageOptions):
    """Label images alone."""

    label = "label images"
    summary = "one label per pixel, for any network that learns segmentation"

    format: Literal["segmentation"] = "segmentation"

    def exporter(self, context: Context) -> SegmentationExporter:
        """Build the exporter."""
        return SegmentationExporter(self, context)


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """The labels of one image.

    Attributes
    ----------
    owners : ndarray of int32, shape (H, W)
        0 for background, i + 1 for the i-th mask.
    uncertain : ndarray of bool, shape (H, W)
    contested : int
        Number of pixels in several masks.
    by_score : bool
        Contested pixels were settled by probability, for want of maps.
    """

    owners: NDArray[np.int32]
    uncertain: Mask
    contested: int
    by_score: bool

    def values(self, values: Sequence[int], *, ignore: int) -> NDArray[np.uint16]:
        """Label image, with a value for each mask: shape (H, W)."""
        table = np.array([0, *values], dtype=np.uint16)
        return np.where(self.uncertain, np.uint16(ignore), table[self.owners])


def pseudo_labels(
    image: Prediction, taken: Sequence[Localization], maps: Maps, options: LabelImageOptions
) -> PseudoLabels:
    """Labels of one image by the rules above.

    Parameters
    ----------
    image : Prediction
        With a size.
    taken : sequence of Localization
        In the order of their ranks.
    maps : Maps
    options : LabelImageOptions
    """
    size = image_size(image)
    diagonal = math.hypot(*size)
    if not taken:
        nothing = np.zeros(size, dtype=np.int32)
        return PseudoLabels(nothing, np.ones(size, dtype=bool), 0, by_score=False)
    masks = [found.mask for found in taken]
    contested = np.sum(masks, axis=0) > 1
    strengths = None
    if contested.any():
        strengths = _strengths(image.image_id, taken, maps, options.overlap_smoothing * diagonal)
    settled = owners(masks, scores=[found.score for found in taken], strengths=strengths)
    band = options.boundary_ignore_pixels
    uncertain = uncertain_band(
        settled, options.boundary_ignore * diagonal if band is None else band
    )
    count = int(np.count_nonzero(contested))
    return PseudoLabels(settled, uncertain, count, by_score=count > 0 and strengths is None)


def owners(
    masks: Sequence[Mask],
    *,
    scores: Sequence[float],
    strengths: Sequence[Saliency] | None = None,
) -> NDArray[np.int32]:
    """To which mask each pixel goes.

    Parameters
    ----------
    masks : sequence of ndarray of bool, shape (H, W)
        At least one.
    scores : sequence of float
        One per mask; they decide where there are no strengths.
    strengths : sequence of ndarray of float32, shape (H, W), optional
        One per mask, comparable with each other.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 for background, i + 1 for ``masks[i]``. Of equals the first wins.

    Examples
    --------
    >>> masks = [np.array([[True, True, False]]), np.array([[False, True, False]])]
    >>> owners(masks, scores=[0.2, 0.7]).tolist()
    [[1, 2, 0]]
    """
    settled = np.zeros(masks[0].shape, dtype=np.int32)
    strongest = np.full(masks[0].shape, -np.inf, dtype=np.float64)
    for position, mask in enumerate(masks):
        strength = scores[position] if strengths is None else strengths[position]
        wins = mask & ((settled == 0) | (strength > strongest))
        settled[wins] = position + 1
        strongest[wins] = strength if strengths is None else strengths[position][wins]
    return settled


def _strengths(
    image_id: str, taken: Sequence[Localization], maps: Maps, sigma: float
) -> list[Saliency] | None:
    """Smoothed maps of all classes, each with the maximum 1; None if one of them is missing."""
    strengths = []
    for found in taken:
        saliency = maps.get(image_id, found.label, found.size)
        if saliency is None:
            return None
        if sigma > 0:
            saliency = np.asarray(
                cv2.GaussianBlur(saliency, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
            )
        top = float(saliency.max())
        strengths.append(np.asarray(saliency / top if top > 0 else saliency, dtype=np.float32))
    return strengths


def uncertain_band(labels: NDArray[np.int32], width: float) -> Mask:
    """Pixels near a boundary.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        >= 0; 0 is the background.
    width : float
        In pixels, >= 0.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where the nearest pixel with another label is at most `width` away, center to center.
        With 1, that is the last row of pixels on each side of a straight boundary.

    Examples
    --------
    >>> uncertain_band(np.array([[0, 0, 0, 5, 5, 5]], dtype=np.int32), 1).tolist()
    [[False, False, True, True, False, False]]
    """
    uncertain = np.zeros(labels.shape, dtype=bool)
    if width < 1 or not labels.any():
        return uncertain
    around = _surroundings(labels, math.ceil(width) + 1)
    near, within = labels[around], uncertain[around]
    for label in np.flatnonzero(np.bincount(near.ravel())):
        own = near == label
        if own.all():
            break
        distance = cv2.distanceTransform(own.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # OpenCV's float32 roots may lie a hair above a whole distance.
        within |= own & (distance <= width + 1e-3)
    return uncertain


def _surroundings(labels: NDArray[np.int32], margin: int) -> tuple[slice, slice]:
    """Rows and columns of all that is not background, and a margin."""
    spans = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in spans)
    return rows, columns


def voc_palette() -> list[int]:
    """VOC's 256 colors, red, green, blue in turn: the bits of the index dealt out to the three.

    Examples
    --------
    >>> palette = voc_palette()
    >>> palette[3:6], palette[45:48], palette[765:]
    ([128, 0, 0], [192, 128, 128], [224, 224, 192])
    """
    colors = []
    for index in range(256):
        for channel in range(3):
            bits = (index >> channel & 1, index >> channel + 3 & 1, index >> channel + 6 & 1)
            colors.append(bits[0] << 7 | bits[1] << 6 | bits[2] << 5)
    return colors


_PALETTE = voc_palette()


def indexed_png(values: NDArray[np.uint16], *, wide: bool = False) -> bytes:
    """Label image as PNG: 8 bits with VOC's palette, or 16-bit grayscale if `wide`."""
    if wide:
        picture = Image.fromarray(values)
    else:
        picture = Image.fromarray(values.astype(np.uint8))
        picture.putpalette(_PALETTE)
    return png_bytes(picture, "areas")


LabelImageOptionsT = TypeVar("LabelImageOptionsT", bound=LabelImageOptions)


class LabelImages(Exporter[LabelImageOptionsT]):
    """Base of the formats that write label images."""

    @property
    def wide(self) -> bool:
        """Whether the classes do not fit into 8 bits."""
        classes = 1 if self.options.foreground_only else len(self.context.classes)
        return classes > IGNORE - 1

    def label_image(
        self, image: Prediction, taken: Sequence[Localization], chunk: Chunk, maps: Maps
    ) -> tuple[PseudoLabels, NDArray[np.uint16]]:
        """Labels of an image and their values, counted."""
        labels = pseudo_labels(image, taken, maps, self.options)
        position, one = self.context.classes.position, self.options.foreground_only
        classes = [1 if one else position(found.label) + 1 for found in taken]
        ignore = WIDE_IGNORE if self.wide else IGNORE
        chunk.counts["contested"] += int(labels.contested > 0)
        chunk.counts["settled by score"] += int(labels.by_score)
        certain = np.bincount(labels.owners[~labels.uncertain], minlength=len(taken) + 1)
        chunk.counts["wholly uncertain"] += len(taken) - int(np.count_nonzero(certain[1:]))
        return labels, labels.values(classes, ignore=ignore)

    def classes_file(self, staging: Staging, path: str) -> None:
        """Write what the values mean."""
        classes = self.context.classes
        rows: list[list[object]] = [["value", "category", "id"], [0, "background", None]]
        if self.options.foreground_only:
            rows.append([1, "foreground", None])
        else:
            rows += [
                [value, classes.name(label), classes.id(label)]
                for value, label in enumerate(classes.labels, 1)
            ]
        rows.append([WIDE_IGNORE if self.wide else IGNORE, "uncertain", None])
        with staging.whole_file(path) as file:
            file.writelines(f"{csv_line(row)}\n".encode() for row in rows)

    def notes(self, counts: Counter[str]) -> list[str]:
        """Say how overlaps were settled, and what the band took away."""
        notes = super().notes(counts)
        if counts["contested"]:
            by_score = counts["settled by score"]
            notes.append(
                f"masks overlap in {counts['contested']:,} images, settled by saliency in "
                f"{counts['contested'] - by_score:,} and, without maps, by probability in "
                f"{by_score:,}"
            )
        if counts["wholly uncertain"]:
            notes.append(f"{counts['wholly uncertain']:,} masks have no certain pixel left")
        if self.wide:
            notes.append(
                f"more than {IGNORE - 1} classes: class label images are 16-bit and the ignore "
                f"value is {WIDE_IGNORE}"
            )
        return notes if self.options.foreground_only else [*notes, *self.numbering_notes()]


class SegmentationExporter(LabelImages[SegmentationOptions]):
    """Label images alone."""

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Write an image's label image; see `Exporter.image`."""
        stem = self.context.stem(image.image_id)
        self.place(image, chunk, "images")
        _, values = self.label_image(image, taken, chunk, maps)
        chunk.file(f"labels/{stem}.png", indexed_png(values, wide=self.wide))
        chunk.line("list", stem)
        return len(taken)

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the list of images and the list of classes."""
        listed = f"{self.options.split}.txt"
        staging.text_file(listed, "list")
        self.classes_file(staging, "classes.csv")
        return [listed, "classes.csv"] if counts["exported"] else ["classes.csv"]
