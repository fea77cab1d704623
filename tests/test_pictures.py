import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsl import pictures


def grey_image(height: int = 40, width: int = 60, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2


def test_scale_map_goes_from_the_minimum_to_the_clipping_quantile() -> None:
    ramp = np.arange(1001, dtype=np.float32).reshape(1, -1) + 5
    scaled = pictures.scale_map(ramp, clip=0.5)
    assert scaled.dtype == np.float32
    assert scaled[0, [0, 250, 500, 1000]].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_scale_map_of_one_bright_pixel_still_shows_it() -> None:
    saliency = np.zeros((100, 100), dtype=np.float32)
    saliency[3, 4] = 7
    assert pictures.scale_map(saliency)[3, 4] == 1
    assert pictures.scale_map(saliency).sum() == 1


@pytest.mark.parametrize("level", [0.0, 3.5], ids=["zeros", "constant"])
def test_scale_map_of_a_flat_map_is_zero(level: float) -> None:
    assert not pictures.scale_map(np.full((3, 4), level, dtype=np.float32)).any()


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
        pictures.scale_map(saliency)


def test_the_colour_map_is_perceptually_even_and_rising() -> None:
    luma = pictures.colour_table() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) >= -0.75).all()  # 8-bit rounding only
    assert luma[0] < 5
    assert luma[-1] > 240


def test_overlay_saliency_at_both_ends_of_the_opacity() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 0] = (255, 0, 0)
    saliency = np.array([[0.0, 1.0]], np.float32)
    only_grey = pictures.overlay_saliency(image, saliency, opacity=0)
    assert only_grey[0].tolist() == [[76] * 3, [0] * 3]  # 0.299 × 255
    only_colour = pictures.overlay_saliency(image, saliency, opacity=1)
    assert only_colour[0].tolist() == pictures.colour_table()[[0, 255]].tolist()


def test_overlay_seeds_shows_four_colours_apart() -> None:
    seeds = np.array([[0, 1, 2, 3]], np.uint8)
    drawn = pictures.overlay_seeds(grey_image(1, 4), seeds).astype(int)[0]
    apart = np.abs(drawn[:, None] - drawn[None]).sum(axis=2)
    assert (apart[~np.eye(4, dtype=bool)] > 80).all()


def test_overlay_seeds_refuses_other_codes() -> None:
    with pytest.raises(ValueError, match="seeds must be 0, 1, 2 or 3, but got 255"):
        pictures.overlay_seeds(grey_image(1, 1), np.array([[255]], np.uint8))


def test_overlay_mask_outline_lies_inside_and_the_inside_is_untouched() -> None:
    image = grey_image(20, 20, level=50)
    mask = np.zeros((20, 20), bool)
    mask[4:14, 0:10] = True  # touches the left border, where the outline must be seen
    drawn = pictures.overlay_mask(image, mask, colour=(1, 2, 3), thickness=2)
    outline = (drawn == (1, 2, 3)).all(axis=2)
    expected = mask.copy()
    expected[6:12, 2:8] = False
    assert (outline == expected).all()
    assert (drawn[6:12, 2:8] == 50).all()
    assert (drawn[~mask] > 50).all()


def test_overlay_of_an_empty_and_of_a_full_mask() -> None:
    image = grey_image(9, 9, level=50)
    assert (pictures.overlay_mask(image, np.zeros((9, 9), bool)) > 50).all()
    full = pictures.overlay_mask(image, np.ones((9, 9), bool), thickness=1)
    assert (full[1:-1, 1:-1] == 50).all()
    assert (full[0] == pictures.PREDICTED).all()


def test_draw_boxes_paints_the_outermost_pixels_of_a_half_open_box() -> None:
    image = grey_image(30, 40)
    drawn = pictures.draw_boxes(image, predicted=(5, 6, 25, 20), thickness=1)
    painted = (drawn == pictures.PREDICTED).all(axis=2)
    assert np.argwhere(painted).min(axis=0).tolist() == [6, 5]
    assert np.argwhere(painted).max(axis=0).tolist() == [19, 24]
    assert painted.sum() == 2 * 20 + 2 * 14 - 4


def test_true_boxes_are_dashed_and_of_another_colour() -> None:
    drawn = pictures.draw_boxes(grey_image(60, 80), true=[(10, 10, 70, 50)], thickness=1)
    edge = drawn[10, 10:70]
    blue = (edge == pictures.TRUE).all(axis=1)
    assert 0.5 < blue.mean() < 0.8
    assert ((edge == 0).all(axis=1) | blue).all()


@given(box=st.tuples(*[st.floats(-50, 120)] * 4))
def test_boxes_outside_of_the_image_are_drawn_at_its_border(
    box: tuple[float, float, float, float],
) -> None:
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    drawn = pictures.draw_boxes(grey_image(), predicted=(x0, y0, x1, y1), true=[(x0, y0, x1, y1)])
    assert drawn.shape == (40, 60, 3)
    assert (drawn == pictures.PREDICTED).all(axis=2).any()


def test_no_argument_is_changed() -> None:
    image, mask = grey_image(), disc(40, 60)
    seeds, saliency = mask.astype(np.uint8), mask.astype(np.float32)
    for array in (image, mask, seeds, saliency):
        array.setflags(write=False)
    pictures.strip(image, saliency, seeds, mask, (1, 1, 9, 9), [(2, 2, 30, 30)], height=64)
    assert (image == 128).all()


def test_a_strip_without_captions_is_its_panels_and_gaps() -> None:
    image, mask = grey_image(), disc(40, 60)
    drawn = pictures.strip(
        image, mask.astype(np.float32), mask.astype(np.uint8), mask, height=40, captions=False
    )
    assert drawn.shape == (40, 5 * 60 + 4 * 5, 3)
    assert (drawn[:, :60] == image).all()
    assert (drawn[:, 60:65] == 255).all()


def test_what_is_missing_leaves_its_panel_out() -> None:
    image = grey_image()
    widths = [
        pictures.strip(image, *rest, height=40, captions=False).shape[1]
        for rest in [(), (None, None, disc(40, 60)), (np.eye(40, 60, dtype=np.float32),)]
    ]
    assert widths == [60, 60 * 3 + 10, 60 * 2 + 5]


def test_maps_and_seeds_of_the_working_size_are_stretched_to_the_image() -> None:
    seeds = np.array([[1, 0]], np.uint8)
    drawn = pictures.strip(grey_image(40, 80), None, seeds, height=40, captions=False)[:, 85:]
    whole = np.repeat(np.repeat(seeds, 40, axis=0), 40, axis=1)
    assert (drawn == pictures.overlay_seeds(grey_image(40, 80), whole)).all()


def test_title_and_captions_add_lines_and_a_long_title_no_width() -> None:
    plain = pictures.strip(grey_image(), height=64)
    titled = pictures.strip(grey_image(), height=64, title="long " * 100)
    assert titled.shape[0] > plain.shape[0] > 64
    assert titled.shape[1] == plain.shape[1]
    assert (plain[-12:] < 200).any()  # the caption is there


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)], ids=str)
def test_strips_of_extreme_images_stay_within_bounds(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    mask = np.ones(shape, bool)
    drawn = pictures.strip(image, mask.astype(np.float32), None, mask, (0, 0, 1, 1), height=32)
    assert drawn.shape[1] < 4 * 3 * 32 + 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"image must be \(H, W, 3\) of uint8"),
        ({"image": np.zeros((4, 4, 3))}, "but got float64"),
        ({"mask": np.zeros((5, 4), bool)}, r"mask must have the image's size \(4, 4\)"),
        ({"seeds": np.zeros((4, 5, 1), np.uint8)}, r"seeds must be \(h, w\), but got shape"),
        ({"saliency": np.zeros((0, 1), np.float32)}, r"saliency must be \(h, w\), but got shape"),
        ({"height": 3}, "height must be at least 16, but got 3"),
    ],
    ids=["grey", "float", "mask", "seeds", "saliency", "height"],
)
def test_strip_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pictures.strip(**({"image": np.zeros((4, 4, 3), np.uint8)} | arguments))


def test_opacity_is_checked() -> None:
    with pytest.raises(ValueError, match=r"opacity must be in \[0, 1\], but got 2"):
        pictures.overlay_saliency(grey_image(2, 2), np.eye(2, dtype=np.float32), opacity=2)


def test_png_keeps_every_pixel(tmp_path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pictures.save_png(tmp_path / "new" / "strip.png", image)
    with Image.open(tmp_path / "new" / "strip.png") as read:
        assert (np.array(read) == image).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["strip.png"]


def test_jpeg_is_near_and_smaller_at_lower_quality(tmp_path) -> None:
    image = pictures.overlay_mask(grey_image(120, 120), disc(120, 120))
    pictures.save_jpeg(tmp_path / "strip.jpg", image)
    with Image.open(tmp_path / "strip.jpg") as read:
        assert np.abs(np.array(read).astype(int) - image).mean() < 4
    low, high = (pictures.encode_jpeg(image, quality=quality) for quality in (30, 95))
    assert len(low) < len(high)
    assert Image.open(io.BytesIO(low)).format == "JPEG"
    with pytest.raises(ValueError, match="quality must be in 1 to 95, but got 101"):
        pictures.encode_jpeg(image, quality=101)
