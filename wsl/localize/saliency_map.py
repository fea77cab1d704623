"""A saliency map as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsl.draw.attributions import draw_overlay
from wsl.draw.pictures import encode_png
from wsl.saliency.explain import Explanation


@dataclass(frozen=True, eq=False, repr=False)
class SaliencyMap(Explanation):
    """The saliency of an image for one class, by one method, with the image.

    Examples
    --------
    >>> from wsl import Localizer, load_classifier
    >>> from wsl.demo.scene import draw_image
    >>> localizer = Localizer(load_classifier("demo"))
    >>> (found,) = localizer.saliency(draw_image(5, seed=0).image, method="grad_cam")
    >>> found.method, found.saliency.shape
    ('grad_cam', (355, 318))
    """

    method: str = field(kw_only=True)
    image: NDArray[np.uint8] = field(kw_only=True)
    """Shape (H, W, 3). RGB."""

    def __repr__(self) -> str:
        rows, columns = self.saliency.shape
        return f"<{self.title} · {self.method}: map of {rows} x {columns} px>"

    def plot(self, *, height: int = 224) -> NDArray[np.uint8]:
        """Draw the image and the map on it side by side, with the colors' scale.

        Parameters
        ----------
        height : int
            Height of a panel in pixels.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)
        """
        return draw_overlay(self.image, self, method=self.method, height=height)

    def _repr_png_(self) -> bytes:
        return encode_png(self.plot())
