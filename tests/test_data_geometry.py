"""A view's way from the image and back: what is drawn in the image is found in the input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsl.data.geometry import Geometry
from wsl.masks import mask_to_box


@st.composite
def views_of_a_box(draw):
    """A view that shows a whole box of the image, enlarged by a whole factor."""
    factor, (height, width) = draw(st.integers(1, 3)), draw(st.tuples(*[st.integers(2, 12)] * 2))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    top, left = (factor * at - draw(st.integers(0, 5)) for at in (y0, x0))
    bottom, right = (factor * at + draw(st.integers(0, 5)) for at in (y1, x1))
    resized = (factor * height, factor * width)
    crop = (top, left, bottom - top, right - left)
    return Geometry((height, width), resized, crop, draw(st.booleans())), (x0, y0, x1, y1)


@given(views_of_a_box())
def test_a_box_of_the_input_is_the_one_that_was_drawn_in_the_image(case):
    geometry, (x0, y0, x1, y1) = case
    image = np.zeros((*geometry.image_size, 3), dtype=np.uint8)
    image[y0:y1, x0:x1] = 255
    seen = geometry.to_input(image, interpolation="nearest")
    assert seen.shape[:2] == geometry.input_size
    assert geometry.box_to_image(mask_to_box(seen[..., 0] > 0)) == (x0, y0, x1, y1)
