"""What localization gives: a `Localization` per class, a `Prediction` per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Never, overload

from wsl.boxes import Box
from wsl.masks import Mask, RunLengths

__all__ = ["Localization", "Prediction"]


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
        How far the localization is to be trusted, in [0, 1], judged without annotations; None if
        that was not asked for.
    refined : bool
        Whether the mask was refined.
    in_top_k : bool
        The class is among the classifier's first k.
    is_ground_truth : bool
        The class is the image's label.
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
