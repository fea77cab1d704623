"""What localization gives: a `Localization` per class, a `Prediction` per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Never, overload

import numpy as np
from numpy.typing import NDArray

from wsl.boxes import Box
from wsl.draw.pictures import encode_png, strip
from wsl.masks import Mask, RunLengths


class _MaskField:
    """A field that takes pixels or run lengths and gives pixels: each decoding is made anew."""

    @overload
    def __get__(self, instance: None, owner: type) -> Never: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Mask: ...
    def __get__(self, instance: object | None, owner: type) -> Mask:
        if instance is None:
            raise AttributeError("mask")  # so that the field has no default
        mask: Mask | RunLengths = vars(instance)["mask"]
        return mask.decode() if isinstance(mask, RunLengths) else mask

    def __set__(self, instance: object, mask: Mask | RunLengths) -> None:
        vars(instance)["mask"] = mask


@dataclass(frozen=True, eq=False)
class Localization:
    """Where the object of one class is, in one image.

    Attributes
    ----------
    label : int
        Index into the classifier's categories.
    category : str
        The category's name.
    rank : int
        The class's place in the classifier's order of scores, from 1.
    score : float
        The class's probability in [0, 1]: the softmax of the unnormalized scores, averaged over
        the views of the image.
    box : Box or None
        0-based, half-open, in pixels of the image; None if nothing was found.
    mask : ndarray of bool, shape (H, W)
        In pixels of the image; empty if nothing was found. Given as `RunLengths`, it is decoded
        whenever it is asked for.
    quality : float or None
        How good the localization is, in [0, 1], estimated without annotations; None if
        that was not asked for.
    refined : bool
        Whether the mask was refined.
    in_top_k : bool
        The class is among the classifier's first k.
    is_ground_truth : bool
        The class is the image's label.
    image : ndarray of uint8, shape (H, W, 3), or None
        The image itself, RGB; like `saliency` and `seeds` only in memory: rows of a run have none.
    saliency : ndarray of float32, shape (h, w), or None
        The map in the image's coordinates, at the working size.
    seeds : ndarray of uint8, shape (h, w), or None
        Seed codes, at the working size.
    method : str or None
        The saliency method.

    Examples
    --------
    >>> found = Localization(0, "dog", 1, 0.9, box=(1, 0, 3, 2), mask=np.eye(4, dtype=bool))
    >>> found
    <dog: rank 1, probability 0.900, (1, 0, 3, 2)>
    >>> int(found.mask.sum()), found.size
    (4, (4, 4))
    """

    label: int
    category: str
    rank: int
    score: float
    box: Box | None
    mask: _MaskField = _MaskField()
    quality: float | None = None
    refined: bool = False
    in_top_k: bool = True
    is_ground_truth: bool = False
    image: NDArray[np.uint8] | None = None
    saliency: NDArray[np.float32] | None = None
    seeds: NDArray[np.uint8] | None = None
    method: str | None = None

    def __repr__(self) -> str:
        box = "no box" if self.box is None else tuple(round(side, 1) for side in self.box)
        return f"<{self.category}: rank {self.rank}, probability {self.score:.3f}, {box}>"

    def plot(
        self, *, height: int = 224, gt_boxes: Sequence[Box] = (), title: str | None = None
    ) -> NDArray[np.uint8]:
        """Draw image, saliency map, seeds, mask and box side by side; notebooks show it.

        Parameters
        ----------
        height : int
            Height of a panel in pixels.
        gt_boxes : sequence of Box
            Boxes of the ground truth, drawn dashed.
        title : str, optional
            By default the category, its rank, its probability and the saliency method.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)

        Raises
        ------
        ValueError
            If the localization was read from a run, whose rows have no images.
        """
        if self.image is None:
            raise ValueError(
                "only localizations that a Localizer returned have images; wsl show draws those "
                "of a run"
            )
        return strip(
            self.image,
            self.saliency,
            self.seeds,
            self.mask,
            self.box,
            gt_boxes,
            title=title or self._title,
            height=height,
        )

    @property
    def _title(self) -> str:
        method = "" if self.method is None else f" · {self.method}"
        return f"{self.category}, rank {self.rank}, probability {self.score:.3f}{method}"

    def _repr_png_(self) -> bytes | None:
        return None if self.image is None else encode_png(self.plot())

    def packed(self) -> Localization:
        """Return what a run keeps: the mask as run lengths, and no image, map or seeds."""
        return replace(
            self, mask=self.run_lengths, image=None, saliency=None, seeds=None, method=None
        )

    @property
    def run_lengths(self) -> RunLengths:
        """The mask as run lengths."""
        mask: Mask | RunLengths = vars(self)["mask"]
        return mask if isinstance(mask, RunLengths) else RunLengths.of(mask)

    @property
    def size(self) -> tuple[int, int]:
        """The image's (height, width)."""
        mask: Mask | RunLengths = vars(self)["mask"]
        return mask.size if isinstance(mask, RunLengths) else (mask.shape[0], mask.shape[1])


@dataclass(frozen=True, eq=False)
class Prediction:
    """All that a run says of one image.

    Attributes
    ----------
    image_id : str
    size : (int, int) or None
        The image's (height, width); None if it could not be read.
    localizations : tuple of Localization
        In the order of their ranks; none if the image failed.
    status : {'ok', 'failed'}
    error : str or None
        Why it failed.

    Examples
    --------
    >>> image = Prediction.failed("dog", "dog.jpg is no image")
    >>> image.status, image.localizations
    ('failed', ())
    """

    image_id: str
    size: tuple[int, int] | None
    localizations: tuple[Localization, ...]
    status: str = "ok"
    error: str | None = None

    @classmethod
    def failed(
        cls, image_id: str, error: str, *, size: tuple[int, int] | None = None
    ) -> Prediction:
        """Record that an image could not be processed, and why."""
        return cls(image_id, size, (), status="failed", error=error)
