import io

import numpy as np
import pytest
from drawn_arrays import disc, gray_image
from PIL import Image

from wsl.draw import overlays, pictures


def test_no_argument_is_changed() -> None:
    image, mask = gray_image(), disc(40, 60)
    seeds, saliency = mask.astype(np.uint8), mask.astype(np.float32)
    for array in (image, mask, seeds, saliency):
        array.setflags(write=False)
    pictures.strip(image, saliency, seeds, mask, (1, 1, 9, 9), [(2, 2, 30, 30)], height=64)
    assert (image == 128).all()


def test_a_strip_without_captions_is_its_panels_and_gaps() -> None:
    image, mask = gray_image(), disc(40, 60)
    drawn = pictures.strip(
        image, mask.astype(np.float32), mask.astype(np.uint8), mask, height=40, captions=False
    )
    assert drawn.shape == (40, 5 * 60 + 4 * 5, 3)
    assert (drawn[:, :60] == image).all()
    assert (drawn[:, 60:65] == 255).all()


def test_a_scale_stands_beside_the_map_where_there_are_captions() -> None:
    saliency = np.eye(40, 60, dtype=np.float32)
    with_map = pictures.strip(gray_image(), saliency, height=64, method="grad_cam")
    without = pictures.strip(gray_image(), height=64)
    levels = np.rint(np.linspace(255, 0, 64)).astype(int)
    bar = overlays.color_table()[levels]
    columns = [(with_map[:, at] == bar[0]).all(axis=1).argmax() for at in range(with_map.shape[1])]
    assert any(np.array_equal(with_map[top : top + 64, at], bar) for at, top in enumerate(columns))
    assert with_map.shape[1] > 2 * without.shape[1]


def test_the_native_size_keeps_every_pixel_of_the_boundary() -> None:
    image = gray_image(150, 90)
    mask = disc(150, 90)
    drawn = pictures.strip(image, None, None, mask, height=None, captions=False)
    expected = overlays.overlay_mask(image, mask, thickness=2)
    assert drawn.shape[0] == 150
    width = image.shape[1]
    assert any(
        np.array_equal(drawn[:, left : left + width], expected)
        for left in range(drawn.shape[1] - width)
    )


def test_boxes_of_a_mask_picture_are_scaled_with_it() -> None:
    image, mask = gray_image(40, 60), disc(40, 60)
    drawn = pictures.mask_picture(
        image, mask, (80, 120), pred_box=(10, 10, 50, 30), gt_boxes=[(5, 5, 20, 20)]
    )
    assert drawn.shape == (80, 120, 3)
    painted = (drawn == overlays.PREDICTED).all(axis=2)
    assert painted[20, 20:100].all()
    assert (drawn == overlays.TRUE).all(axis=2).any()


def test_what_is_missing_leaves_its_panel_out() -> None:
    image = gray_image()
    widths = [
        pictures.strip(image, *rest, height=40, captions=False).shape[1]
        for rest in [(), (None, None, disc(40, 60)), (np.eye(40, 60, dtype=np.float32),)]
    ]
    assert widths == [60, 60 * 3 + 10, 60 * 2 + 5]


def test_maps_and_seeds_of_the_working_size_are_stretched_to_the_image() -> None:
    seeds = np.array([[1, 0]], np.uint8)
    drawn = pictures.strip(gray_image(40, 80), None, seeds, height=40, captions=False)[:, 85:]
    whole = np.repeat(np.repeat(seeds, 40, axis=0), 40, axis=1)
    assert (drawn == overlays.overlay_seeds(gray_image(40, 80), whole)).all()


def test_title_and_captions_add_lines_and_a_long_title_no_width() -> None:
    plain = pictures.strip(gray_image(), height=64)
    titled = pictures.strip(gray_image(), height=64, title="long " * 100)
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
    ids=["gray", "float", "mask", "seeds", "saliency", "height"],
)
def test_strip_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pictures.strip(**({"image": np.zeros((4, 4, 3), np.uint8)} | arguments))


def test_png_keeps_every_pixel(tmp_path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pictures.save_png(tmp_path / "new" / "strip.png", image)
    with Image.open(tmp_path / "new" / "strip.png") as read:
        assert (np.array(read) == image).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["strip.png"]


def test_jpeg_is_near_and_smaller_at_lower_quality(tmp_path) -> None:
    image = overlays.overlay_mask(gray_image(120, 120), disc(120, 120))
    pictures.save_jpeg(tmp_path / "strip.jpg", image)
    with Image.open(tmp_path / "strip.jpg") as read:
        assert np.abs(np.array(read).astype(int) - image).mean() < 4
    low, high = (pictures.encode_jpeg(image, quality=quality) for quality in (30, 95))
    assert len(low) < len(high)
    assert Image.open(io.BytesIO(low)).format == "JPEG"
    with pytest.raises(ValueError, match="quality must be in 1 to 95, but got 101"):
        pictures.encode_jpeg(image, quality=101)
