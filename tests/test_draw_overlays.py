import numpy as np
import pytest
from drawn_arrays import gray_image
from hypothesis import given
from hypothesis import strategies as st

from wsl.draw import overlays


def test_scale_map_goes_from_the_minimum_to_the_clipping_quantile() -> None:
    ramp = np.arange(1001, dtype=np.float32).reshape(1, -1) + 5
    scaled = overlays.scale_map(ramp, clip=0.5)
    assert scaled.dtype == np.float32
    assert scaled[0, [0, 250, 500, 1000]].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_scale_map_of_one_bright_pixel_still_shows_it() -> None:
    saliency = np.zeros((100, 100), dtype=np.float32)
    saliency[3, 4] = 7
    assert overlays.scale_map(saliency)[3, 4] == 1
    assert overlays.scale_map(saliency).sum() == 1


@pytest.mark.parametrize("level", [0.0, 3.5], ids=["zeros", "constant"])
def test_scale_map_of_a_flat_map_is_zero(level: float) -> None:
    assert not overlays.scale_map(np.full((3, 4), level, dtype=np.float32)).any()


@pytest.mark.parametrize(
    ("saliency", "message"),
    [
        (np.zeros((2, 2, 2), np.float32), r"must be \(H, W\), but got shape \(2, 2, 2\)"),
        (np.zeros((0, 2), np.float32), r"must be \(H, W\), but got shape \(0, 2\)"),
        (np.array([[np.nan]], np.float32), "must be finite"),
        (np.array([[np.inf]], np.float32), "must be finite"),
    ],
    ids=["three axes", "empty", "nan", "infinity"],
)
def test_scale_map_refuses(saliency: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlays.scale_map(saliency)


def test_the_color_map_is_perceptually_even_and_rising() -> None:
    luma = overlays.color_table() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) >= -0.75).all()  # 8-bit rounding only
    assert luma[0] < 5
    assert luma[-1] > 240


def test_overlay_saliency_at_both_ends_of_the_opacity() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 0] = (255, 0, 0)
    saliency = np.array([[0.0, 1.0]], np.float32)
    only_gray = overlays.overlay_saliency(image, saliency, opacity=0)
    assert only_gray[0].tolist() == [[76] * 3, [0] * 3]  # 0.299 × 255
    only_color = overlays.overlay_saliency(image, saliency, opacity=1)
    assert only_color[0].tolist() == overlays.color_table()[[0, 255]].tolist()


def test_overlay_seeds_shows_four_colors_apart() -> None:
    seeds = np.array([[0, 1, 2, 3]], np.uint8)
    drawn = overlays.overlay_seeds(gray_image(1, 4), seeds).astype(int)[0]
    apart = np.abs(drawn[:, None] - drawn[None]).sum(axis=2)
    assert (apart[~np.eye(4, dtype=bool)] > 80).all()


def test_overlay_seeds_refuses_other_codes() -> None:
    with pytest.raises(ValueError, match="seeds must be 0, 1, 2 or 3, but got 255"):
        overlays.overlay_seeds(gray_image(1, 1), np.array([[255]], np.uint8))


def test_overlay_mask_outline_lies_inside_and_the_inside_is_untouched() -> None:
    image = gray_image(20, 20, level=50)
    mask = np.zeros((20, 20), bool)
    mask[4:14, 0:10] = True  # touches the left border, where the outline must be seen
    drawn = overlays.overlay_mask(image, mask, color=(1, 2, 3), thickness=2)
    outline = (drawn == (1, 2, 3)).all(axis=2)
    expected = mask.copy()
    expected[6:12, 2:8] = False
    assert (outline == expected).all()
    assert (drawn[6:12, 2:8] == 50).all()
    assert (drawn[~mask] > 50).all()


def test_overlay_of_an_empty_and_of_a_full_mask() -> None:
    image = gray_image(9, 9, level=50)
    assert (overlays.overlay_mask(image, np.zeros((9, 9), bool)) > 50).all()
    full = overlays.overlay_mask(image, np.ones((9, 9), bool), thickness=1)
    assert (full[1:-1, 1:-1] == 50).all()
    assert (full[0] == overlays.PREDICTED).all()


def test_draw_boxes_paints_the_outermost_pixels_of_a_half_open_box() -> None:
    image = gray_image(30, 40)
    drawn = overlays.draw_boxes(image, predicted=(5, 6, 25, 20), thickness=1)
    painted = (drawn == overlays.PREDICTED).all(axis=2)
    assert np.argwhere(painted).min(axis=0).tolist() == [6, 5]
    assert np.argwhere(painted).max(axis=0).tolist() == [19, 24]
    assert painted.sum() == 2 * 20 + 2 * 14 - 4


def test_true_boxes_are_dashed_and_of_another_color() -> None:
    drawn = overlays.draw_boxes(gray_image(60, 80), true=[(10, 10, 70, 50)], thickness=1)
    edge = drawn[10, 10:70]
    blue = (edge == overlays.TRUE).all(axis=1)
    assert 0.5 < blue.mean() < 0.8
    assert ((edge == 0).all(axis=1) | blue).all()


@given(box=st.tuples(*[st.floats(-50, 120)] * 4))
def test_boxes_outside_of_the_image_are_drawn_at_its_border(
    box: tuple[float, float, float, float],
) -> None:
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    drawn = overlays.draw_boxes(gray_image(), predicted=(x0, y0, x1, y1), true=[(x0, y0, x1, y1)])
    assert drawn.shape == (40, 60, 3)
    assert (drawn == overlays.PREDICTED).all(axis=2).any()


def test_opacity_is_checked() -> None:
    with pytest.raises(ValueError, match=r"opacity must be in \[0, 1\], but got 2"):
        overlays.overlay_saliency(gray_image(2, 2), np.eye(2, dtype=np.float32), opacity=2)
