"""Where the masks of an occlusion experiment lie, and how their values become a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskGrid:
    """A grid of square masks over an input.

    Raises
    ------
    ValueError
        If a size or the stride is less than 1.
    """

    input_size: tuple[int, int]
    """The input's (height, width) in pixels."""
    size: int
    """Side of a mask in pixels."""
    stride: int = 1
    """Step from one mask to the next, in pixels. The masks' centers lie on the pixels 0, stride, 2
    stride, ... (moved by the same amount from both borders where they do not end on the last
    pixel), and a mask that reaches over a border is clipped there. With stride 1 every pixel has a
    mask of its own. A mask of even side reaches one pixel further up and left than down and
    right."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1 or min(self.input_size) < 1:
            raise ValueError(
                f"mask size, stride and input size must be at least 1, but got {self.size}, "
                f"{self.stride} and {self.input_size}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of masks along (height, width)."""
        return (len(self._begins(0)), len(self._begins(1)))

    def __len__(self) -> int:
        rows, columns = self.shape
        return rows * columns

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of the input that each mask covers, row by row."""
        columns = list(self._spans(1))
        for rows in self._spans(0):
            for span in columns:
                yield rows, span

    def center(self, row: int, column: int) -> tuple[int, int]:
        """(y, x) of a mask's center in pixels of the input, before it is clipped."""
        return (self._centers(0)[row], self._centers(1)[column])

    def interpolate(self, values: Tensor) -> Tensor:
        """Lay the masks' values onto the input: linearly between centers, constant beyond them.

        Parameters
        ----------
        values : Tensor of float32, shape (..., rows, columns)

        Returns
        -------
        Tensor of float32, shape (..., h, w)
            With stride 1 and masks at every pixel: `values` themselves.
        """
        vertical, horizontal = (self._weights(axis).to(values) for axis in (0, 1))
        return vertical @ values @ horizontal.T

    def _begins(self, axis: int) -> range:
        """First pixels of the masks along an axis; before the input for masks to be clipped."""
        length = self.input_size[axis]
        first = (length - 1) % self.stride // 2
        return range(first - self.size // 2, length - self.size // 2, self.stride)

    def _spans(self, axis: int) -> Iterator[slice]:
        length = self.input_size[axis]
        for begin in self._begins(axis):
            yield slice(max(begin, 0), min(begin + self.size, length))

    def _centers(self, axis: int) -> list[int]:
        return [begin + self.size // 2 for begin in self._begins(axis)]

    def _weights(self, axis: int) -> Tensor:
        """Weights (length, masks) of linear interpolation between the masks' centers."""
        centers = torch.tensor(self._centers(axis), dtype=torch.float64)
        pixels = torch.arange(self.input_size[axis], dtype=torch.float64)
        place = ((pixels - centers[0]) / self.stride).clamp(0, len(centers) - 1)
        distance = (place[:, None] - torch.arange(len(centers))).abs()
        return (1 - distance).clamp(min=0)
