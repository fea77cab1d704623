from __future__ import annotations

import functools
import io
import os
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, WebPImagePlugin

from wsl.data.images import image_size, load_image, to_rgb
from wsl.errors import ImageError

# What an image is stored as so that it is upright after its EXIF orientation: 1 2 3 over 4 5 6.
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[3, 6], [2, 5], [1, 4]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[4, 1], [5, 2], [6, 3]],
}


def picture(height: int = 24, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(
    width: int, height: int, *, depth: int = 8, color: int = 0, data=b"", before=(), after=()
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *before,
            chunk(b"IDAT", zlib.compress(data, 9)),
            *after,
            chunk(b"IEND", b""),
        ]
    )


def jpeg_bytes(image: Image.Image | None = None, **options) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(picture())).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ending", [".png", ".bmp", ".webp"])
def test_lossless_formats_give_the_pixels_back(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    Image.fromarray(picture()).save(path, **({"lossless": True} if ending == ".webp" else {}))
    pixels = load_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, picture())
    assert image_size(path) == (24, 40)


def test_a_jpeg_is_decoded_as_pillow_does(tmp_path):
    path = written(tmp_path / "image.JPEG", jpeg_bytes())
    np.testing.assert_array_equal(load_image(path), np.asarray(Image.open(path)))
    assert image_size(path) == (24, 40)


def test_the_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "image.JPEG"
    Image.fromarray(picture()).save(path, "PNG")
    np.testing.assert_array_equal(load_image(path), picture())
    Image.fromarray(picture()).save(path, "BMP")
    np.testing.assert_array_equal(load_image(path), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(tmp_path, orientation):
    gray = np.array(STORED[orientation], dtype=np.uint8) * 40
    path = tmp_path / "turned.png"
    Image.fromarray(np.stack([gray] * 3, axis=2)).save(path, exif=exif(orientation))
    assert load_image(path)[:, :, 1].tolist() == [[40, 80, 120], [160, 200, 240]]
    assert image_size(path) == (2, 3)


@pytest.mark.parametrize("ending", ["jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(tmp_path, orientation, ending):
    path = tmp_path / f"turned.{ending}"
    Image.fromarray(picture()).save(path, exif=exif(orientation))
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    np.testing.assert_array_equal(load_image(path), expected)
    assert image_size(path) == expected.shape[:2]


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path):
    tiff = b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    rows = b"".join(b"\0" + bytes(row) for row in STORED[6])
    path = written(tmp_path / "late.png", png(2, 3, data=rows, after=[chunk(b"eXIf", tiff)]))
    assert load_image(path)[:, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert image_size(path) == (2, 3)


@given(st.binary(max_size=60))
def test_damaged_exif_is_no_orientation_and_no_warning(tmp_path_factory, rubbish):
    path = tmp_path_factory.mktemp("exif") / "image.jpg"
    written(path, jpeg_bytes(exif=b"Exif\0\0II*\0\x08\0\0\0" + rubbish))
    pixels = load_image(path)
    assert sorted(pixels.shape) == [3, 24, 40]


@pytest.mark.parametrize(("orientation", "kind"), [(0, 3), (9, 3), (6, 2)])
def test_an_orientation_outside_of_the_standard_is_ignored(tmp_path, orientation, kind):
    tiff = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, kind, 1, orientation, 0)
    path = written(tmp_path / "image.jpg", jpeg_bytes(exif=b"Exif\0\0" + tiff))
    assert image_size(path) == (24, 40)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_gray_palette_and_one_bit_become_rgb(tmp_path, mode):
    path = tmp_path / "image.png"
    image = Image.fromarray(picture()).convert(mode)
    image.save(path)
    np.testing.assert_array_equal(load_image(path), np.asarray(image.convert("RGB")))


def test_a_gray_jpeg_has_three_equal_channels(tmp_path):
    path = written(tmp_path / "gray.jpg", jpeg_bytes(Image.fromarray(picture()).convert("L")))
    pixels = load_image(path)
    assert (pixels == pixels[:, :, :1]).all()
    assert np.ptp(pixels) > 100


def test_cmyk_keeps_its_colors(tmp_path):
    # Pillow writes CMYK inverted, as Adobe's programs do; read wrongly, red would be cyan.
    red = Image.new("RGB", (16, 16), (250, 20, 10))
    path = written(tmp_path / "cmyk.jpg", jpeg_bytes(red.convert("CMYK")))
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    assert np.abs(load_image(path).astype(int) - (250, 20, 10)).max() <= 4


def test_alpha_is_composited_over_white(tmp_path):
    path = tmp_path / "alpha.png"
    rgba = np.array([[(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 128)]], dtype=np.uint8)
    Image.fromarray(rgba).save(path)
    half = [round((128 * c + 127 * 255) / 255) for c in (200, 100, 0)]
    assert load_image(path).tolist() == [[[200, 100, 0], [255, 255, 255], half]]


def test_transparent_palette_and_gray_entries_are_white(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=1)
    assert load_image(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [255] * 3]]
    palette.save(tmp_path / "bytes.png", transparency=b"\x00\xff")
    assert load_image(tmp_path / "bytes.png").tolist() == [[[255] * 3, [40, 50, 60]]]
    gray = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    gray.save(tmp_path / "gray.png", transparency=8)
    assert load_image(tmp_path / "gray.png").tolist() == [[[7] * 3, [255] * 3]]
    wide = png(
        2,
        1,
        depth=16,
        data=b"\0" + struct.pack(">HH", 700, 800),
        before=[chunk(b"tRNS", b"\3\x20")],
    )
    path = written(tmp_path / "wide.png", wide)
    assert load_image(path).tolist() == [[[3] * 3, [255] * 3]]


def test_16_bit_gray_is_scaled_and_not_clipped(tmp_path):
    values = [0, 128, 129, 256, 257, 32768, 65406, 65407, 65535]
    expected = [0, 0, 1, 1, 1, 128, 254, 255, 255]
    data = b"\0" + struct.pack(">9H", *values)
    path = written(tmp_path / "wide.png", png(9, 1, depth=16, data=data))
    assert load_image(path)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_modes_of_16_bit_gray_agree(mode):
    dtype = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
    data = np.array([[0, 1000, 65535]], dtype=dtype).tobytes()
    image = Image.frombytes(mode, (3, 1), data)
    assert to_rgb(image)[0, :, 2].tolist() == [0, 4, 255]


def test_gray_beyond_16_bits_is_refused():
    with pytest.raises(ImageError, match=r"must lie in 0\.\.65535, but spans 0\.\.65536"):
        to_rgb(Image.fromarray(np.array([[0, 65536]], dtype=np.int32)))


def test_floating_point_pixels_are_refused():
    with pytest.raises(ImageError, match="32-bit floating-point"):
        to_rgb(Image.fromarray(np.zeros((2, 2), dtype=np.float32)))


def test_a_mode_without_rgb_is_refused():
    with pytest.raises(ImageError, match="cannot be turned into RGB: conversion from La"):
        to_rgb(Image.new("La", (2, 2)))


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_the_first_frame_of_an_animation_is_read(tmp_path, ending):
    path = tmp_path / f"moving.{ending}"
    frames = [Image.new("RGB", (6, 5), (40 * n, 0, 0)) for n in (1, 2, 3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert (load_image(path) == (40, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes(tmp_path, size):
    path = tmp_path / "thin.jpg"
    Image.new("RGB", size[::-1], (9, 9, 9)).save(path)
    assert load_image(path).shape == (*size, 3)
    assert image_size(path) == size


@pytest.mark.parametrize("name", ["blaues Bild.JPEG", "größe-図.png", "a'b\"c %s {}.bmp"])
def test_names_with_spaces_and_other_letters(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(picture()).save(path)
    assert load_image(path).shape == (24, 40, 3)


@functools.cache
def hostile_files() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg, whole_png = jpeg_bytes(Image.fromarray(noise)), io.BytesIO()
    Image.fromarray(noise).save(whole_png, "PNG")
    webp, bmp, gif, tiff = (io.BytesIO() for _ in range(4))
    Image.fromarray(noise).save(webp, "WEBP")
    Image.fromarray(noise).save(bmp, "BMP")
    Image.fromarray(picture()).save(gif, "GIF")
    Image.fromarray(picture()).save(tiff, "TIFF")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 30_000_000, zip=True)
    text_bomb = io.BytesIO()
    Image.fromarray(picture()).save(text_bomb, "PNG", pnginfo=text)
    return {
        "empty": b"",
        "one byte": b"\xff",
        "text": b"This is not a picture.\n",
        "html": b"<html><body>404</body></html>",
        "magic only jpeg": b"\xff\xd8\xff",
        "magic only png": b"\x89PNG\r\n\x1a\n",
        "magic only webp": b"RIFF\x10\0\0\0WEBP",
        "magic only bmp": b"BM",
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "jpeg header": jpeg[:40],
        "jpeg without end": jpeg[:-2],
        "jpeg with rubbish": jpeg[:200] + bytes(300),
        "jpeg profile only": b"\xff\xd8\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile,
        "half a png": whole_png.getvalue()[:6000],
        "png without end": whole_png.getvalue()[:-12],
        "png header": whole_png.getvalue()[:20],
        "png with a wrong sum": whole_png.getvalue()[:29] + b"\0\0\0\0" + whole_png.getvalue()[33:],
        "png with wrong pixels": png(4, 4, data=bytes(20)).replace(b"\x78\xda", b"\x78\xdb"),
        "png of width 0": png(0, 4),
        "png text bomb": text_bomb.getvalue(),
        "half a webp": webp.getvalue()[: len(webp.getvalue()) // 2],
        "half a bmp": bmp.getvalue()[:6000],
        "gif": gif.getvalue(),
        "tiff": tiff.getvalue(),
    }


REASONS = {
    "empty": "the file is empty",
    "text": "must be a JPEG, PNG, WebP or BMP, but is none of them",
    "html": "must be a JPEG, PNG, WebP or BMP, but is none of them",
    "gif": "must be a JPEG, PNG, WebP or BMP, but is a GIF",
    "tiff": "must be a JPEG, PNG, WebP or BMP, but is a TIFF",
    "half a jpeg": "truncated",
    "jpeg without end": "truncated",
    "half a png": "truncated",
    "png without end": "truncated",
    "half a bmp": "truncated",
    "png of width 0": "states a size of 0",
    "png text bomb": "Decompressed data too large",
}
KINDS = [
    *REASONS,
    "one byte",
    "magic only jpeg",
    "magic only png",
    "magic only webp",
    "magic only bmp",
    "jpeg header",
    "jpeg with rubbish",
    "jpeg profile only",
    "png header",
    "png with a wrong sum",
    "png with wrong pixels",
    "half a webp",
]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_are_refused_by_name(tmp_path, kind):
    path = written(tmp_path / "bad picture.JPEG", hostile_files()[kind])
    with pytest.raises(ImageError, match=REASONS.get(kind, "cannot|must|truncated")) as caught:
        load_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["half a jpeg", "jpeg without end", "half a png", "half a bmp"])
def test_a_global_leave_to_pad_changes_nothing(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = written(tmp_path / "bad.JPEG", hostile_files()[kind])
    with pytest.raises(ImageError, match="truncated"):
        load_image(path)
    Image.fromarray(picture()).save(tmp_path / "good.png")
    assert load_image(tmp_path / "good.png").shape == (24, 40, 3)
    assert load_image(written(tmp_path / "good.jpg", jpeg_bytes())).shape == (24, 40, 3)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: there is no such file"):
        load_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="but is a folder or a device"):
        image_size(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="but is a folder or a device"):
        load_image(tmp_path / "pipe.jpg")


@functools.cache
def vast(kind: str) -> bytes:
    """Files of a few bytes that claim 12000 x 12000 pixels (the PNG has them: 144 MB of zeros)."""
    if kind == "png":
        return png(12000, 12000, data=bytes(12001 * 12000))
    if kind == "bmp":
        return b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 12000, 12000, 1, 24, *[0] * 6)
    if kind == "jpeg":
        small = jpeg_bytes()
        frame = small.index(b"\xff\xc0")
        return small[: frame + 5] + struct.pack(">HH", 12000, 12000) + small[frame + 9 :]
    chunks = {
        "webp VP8X": b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xdf\x2e\x00" * 2,
        "webp VP8L": b"VP8L\x05\0\0\0\x2f" + struct.pack("<I", 11999 | 11999 << 14),
        "webp VP8": b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 12000, 12000),
    }
    body = b"WEBP" + chunks[kind]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["png", "bmp", "jpeg", "webp VP8X", "webp VP8L", "webp VP8"])
@pytest.mark.parametrize("read", [load_image, image_size])
def test_a_bomb_is_refused_by_its_header(tmp_path, kind, read, monkeypatch):
    def decode(*_):
        raise MemoryError("pixels were asked for")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "_open", decode)  # makes the decoder
    path = written(tmp_path / "vast.JPEG", vast(kind))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"at most 89,478,485 pixels .* 12000 × 12000"):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_the_limit_is_the_callers_and_not_pillows(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    Image.fromarray(picture(10, 10)).save(path)
    assert load_image(path, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="at most 99 pixels"):
        load_image(path, max_pixels=99)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)  # Pillow alone would warn
    assert load_image(path, max_pixels=100).shape == (10, 10, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow alone would refuse
    assert load_image(path, max_pixels=100).shape == (10, 10, 3)


def test_nothing_is_warned_of(tmp_path):
    path = written(tmp_path / "vast.png", vast("png"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match="at most"):
            load_image(path)
    assert not caught


def test_threads_read_alike(tmp_path):
    paths = []
    for number in range(8):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(picture(20 + number, 30)).save(paths[-1])
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(load_image, paths * 4))
    for number, pixels in enumerate(read):
        np.testing.assert_array_equal(pixels, picture(20 + number % 8, 30))


@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]))
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.mktemp("damaged") / "image.jpg", bytes(content))
    try:
        # A size that damage made larger than this is refused, which keeps the test quick.
        pixels = load_image(path, max_pixels=100_000)
    except ImageError as caught:
        error = caught
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape == (*image_size(path), 3)
        return
    assert str(path) in str(error)
