"""Generators of random values that several test files draw from."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

coordinates = st.floats(-1e4, 1e4)
fractional_boxes = st.tuples(coordinates, coordinates, coordinates, coordinates).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
"""Boxes anywhere, with x0 <= x1 and y0 <= y1."""

maps = arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.integers(0, 9).map(lambda value: value / 8),
)
"""Small saliency maps of few values, so that ties are common."""


def masks(max_side: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Masks (H, W) of at most so many pixels on a side."""
    return arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=max_side))


def mask_pairs(max_side: int = 12) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Two masks of one size."""
    return array_shapes(min_dims=2, max_dims=2, max_side=max_side).flatmap(
        lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
    )


@st.composite
def integer_boxes(draw: st.DrawFn, *, side: int = 20) -> tuple[int, int, int, int]:
    """Boxes of whole pixels within a square."""
    x0, x1 = sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side))))
    y0, y1 = sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side))))
    return (x0, y0, x1, y1)
