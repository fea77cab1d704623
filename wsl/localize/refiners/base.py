"""What every refiner of masks has: a name, options, and one call."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wsl.config.options import Options
from wsl.localize.seeds import PROBABLE_FOREGROUND, Seeds, is_foreground
from wsl.masks import Mask


class RefinerOptions(Options, ABC):
    """Base of the refiners: options and computation in one class per method.

    A subclass has a field ``method``, a `Literal` with the name that configurations use.
    """

    summary: ClassVar[str]
    """One line."""
    reference: ClassVar[str] = ""
    """Where the method comes from."""
    follows_color: ClassVar[bool] = True
    """Whether the image decides about the pixels between the seeds."""
    keeps_seeds: ClassVar[bool] = True
    """Whether definite seeds stay what they are."""

    def __call__(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        *,
        random_seed: int = 0,
    ) -> Mask:
        """Grow seeds into a mask; a pure function of its arguments and the options.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB, at the working size.
        seeds : ndarray of uint8, shape (H, W)
            Seed codes.
        saliency : ndarray of float32, shape (H, W)
            The map that the seeds were taken from.
        random_seed : int
            The only source of randomness (`rng_seed`).

        Returns
        -------
        ndarray of bool, shape (H, W)
            The foreground seeds, definite and probable, where all or none of the seeds are.

        Raises
        ------
        ValueError
            If the sizes differ, or the seeds hold other codes than 0 to 3.
        """
        if not image.shape[:2] == seeds.shape == saliency.shape:
            raise ValueError(
                "image, seeds and map must have one size, "
                f"but got {image.shape[:2]}, {seeds.shape} and {saliency.shape}"
            )
        if seeds.max(initial=0) > PROBABLE_FOREGROUND:
            raise ValueError(f"seeds must hold codes 0 to 3, but got {seeds.max()}")
        foreground = is_foreground(seeds)
        if foreground.all() or not foreground.any():
            return foreground
        return self._refine(image, seeds, saliency, random_seed)

    @abstractmethod
    def _refine(
        self,
        image: NDArray[np.uint8],
        seeds: Seeds,
        saliency: NDArray[np.float32],
        random_seed: int,
    ) -> Mask:
        """Grow seeds of both sides; no argument is changed."""


def rng_seed(image_id: str, label: int, seed: int) -> int:
    """Seed of the random generator for one class of one image, in 0 … 2^31 - 1.

    It depends on nothing else, so that results do not depend on the order of the work, the number
    of workers, or a restart.
    """
    digest = hashlib.blake2b(f"{seed}\0{image_id}\0{label}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
