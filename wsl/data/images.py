"""Image files to pixels.

Pillow decodes; which file is read how is decided here:

- JPEG, PNG, WebP and BMP are read, told apart by their content whatever the file's name says.
- The EXIF orientation is applied (PNG: that of the eXIf chunk), so that rows go from top to bottom
  and columns from left to right of the picture as seen.
- Gray, palette and 1-bit images become RGB; CMYK becomes RGB by Pillow's plain formula, color
  profiles are not applied; alpha is composited over white; of an animation the first frame is read.
- 16-bit gray is scaled linearly from 0..65535 to 0..255. (Pillow itself keeps the upper eight bits
  of 16-bit color.)
- A file that is not whole is refused, never padded.

Nothing here touches Pillow's global settings or Python's warning filters, so decoding can run in
threads.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from wsl.data.exif import UPRIGHT, orientation_of, png_exif
from wsl.errors import ImageError
from wsl.storage import RemotePath, as_path

# Pillow's own limit: a quarter of a gigabyte at three bytes per pixel.
DEFAULT_MAX_PIXELS = 89_478_485

IMAGE_EXTENSIONS = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})
"""Extensions, in lower case, of the files that readers list as images."""

# An image of the largest size allowed, in 16 bits and with alpha, without compression.
_MAX_REMOTE_BYTES = 8 * DEFAULT_MAX_PIXELS

DECODING_BYTES = 9
"""Memory per pixel: Pillow's own, the array made of it, and a second one where it is turned."""

_WHITE = (255, 255, 255, 255)


def load_image(
    path: Path | str,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    admit: Callable[[int], object] = lambda size: None,
) -> NDArray[np.uint8]:
    """Decode an image file.

    Parameters
    ----------
    path : Path or str
        A JPEG, PNG, WebP or BMP file; its name does not matter.
    max_pixels : int
        A file whose header states more pixels is refused without being decoded.
    admit : callable
        Called before decoding, with the bytes of memory that it will take; it may wait, to bound
        what several threads take together.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, upright (see the module's text); a new, writable array.

    Raises
    ------
    ImageError
        If the file is missing, of another format, damaged, truncated, without pixels, too large, or
        holds 32-bit floating-point pixels. The message names the file.
    """
    with _opened(as_path(path), max_pixels, admit) as (image, orientation):
        return np.ascontiguousarray(UPRIGHT[orientation](to_rgb(image)))


def image_size(path: Path | str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Read an image's size from its header.

    Parameters
    ----------
    path, max_pixels
        As for `load_image`.

    Returns
    -------
    (int, int)
        (height, width) of what `load_image` returns.

    Raises
    ------
    ImageError
        As `load_image`, but damage behind the header goes unseen.
    """
    with _opened(as_path(path), max_pixels) as (image, orientation):
        width, height = image.size
        return (width, height) if orientation >= 5 else (height, width)


def load_values(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    colors: bool = False,
) -> NDArray[np.uint8]:
    """Decode an image whose pixels are numbers, such as a mask or a label image.

    Parameters
    ----------
    path, max_pixels
        As for `load_image`.
    size : (int, int) or None
        The (height, width) that it must have; another is refused without being decoded.
    colors : bool
        Whether colors may become their gray, and lossy formats are allowed. Otherwise it must be a
        PNG or BMP file, indexed or gray.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Upright: indices, or gray values.

    Raises
    ------
    ImageError
        As `load_image`; or if the size is another, a pixel has more than 8 bits, or the file is of
        another kind.
    """
    with _opened(as_path(path), max_pixels) as (image, orientation):
        if size is not None and image.size != (size if orientation >= 5 else size[::-1]):
            width, height = image.size
            raise ImageError(f"must be {size[1]} × {size[0]} pixels, but is {width} × {height}")
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            raise ImageError("must have at most 8 bits per pixel, but has more")
        if not colors and (image.mode not in ("1", "L", "P") or image.format not in ("PNG", "BMP")):
            raise ImageError(
                "must be an indexed or gray PNG or BMP, "
                f"but is a {image.format} of mode {image.mode}"
            )
        values = np.asarray(image.convert("L") if colors else image, dtype=np.uint8)
        return np.ascontiguousarray(UPRIGHT[orientation](values))


def is_upright(path: Path | str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bool:
    """Whether an image is stored as it is seen: its EXIF orientation asks for no turning.

    Parameters
    ----------
    path, max_pixels
        As for `load_image`.

    Raises
    ------
    ImageError
        As `image_size`.
    """
    with _opened(as_path(path), max_pixels) as (_, orientation):
        return orientation == 1


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of a Pillow image as RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode but 32-bit floating point. It is not rotated: an EXIF orientation belongs to the
        file, and `load_image` applies it.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Alpha is composited over white, 16-bit gray scaled linearly.

    Raises
    ------
    ImageError
        If the mode has no 8-bit RGB, 32-bit gray exceeds 0..65535, or the image's file cannot be
        decoded.
    """
    with _pillow_errors("cannot be turned into RGB"):
        if image.mode == "F":
            raise ImageError("must hold 8- or 16-bit pixels, but holds 32-bit floating-point ones")
        if image.mode.startswith("I"):
            return _gray_to_rgb(image)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba)
        return np.array(image.convert("RGB"))


# 65535 = 255 · 257; the nearest of the 256 levels.
_EIGHT_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def _gray_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """16-bit gray, which Pillow holds with 16 or with 32 bits and otherwise clips at 255."""
    wide = np.asarray(image)
    lowest, highest = int(wide.min()), int(wide.max())
    if lowest < 0 or highest > 65535:
        raise ImageError(f"32-bit gray must lie in 0..65535, but spans {lowest}..{highest}")
    gray = _EIGHT_BITS[wide]
    if "transparency" in image.info:  # the one gray value that stands for transparent
        gray[wide == image.info["transparency"]] = 255
    return np.repeat(gray[:, :, None], 3, axis=2)


class _WholeFile(io.BufferedReader):
    """A file in which reading on at the end is an error.

    Pillow asks for more only where something is missing. Where a program has set its
    ``LOAD_TRUNCATED_IMAGES``, Pillow would take the missing part for gray without a word.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size and not data:
            raise OSError("the file is truncated")
        return data


class _JpegFile(JpegImagePlugin.JpegImageFile):
    def getexif(self) -> Image.Exif:
        # Pillow looks here for the resolution, and warns of damaged EXIF data. Neither is wanted.
        return Image.Exif()


# The plugins are used directly: `Image.open` would first warn of, then refuse, images beyond
# Pillow's global limit, which is not `max_pixels`.
_FORMATS: dict[str, Callable[[_WholeFile], ImageFile.ImageFile]] = {
    "JPEG": _JpegFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}


@contextmanager
def _opened(
    path: Path, max_pixels: int, admit: Callable[[int], object] = lambda size: None
) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """Open an image file as a Pillow image, not yet decoded, with its EXIF orientation.

    Every error that leaves the block names the file.
    """
    try:
        with _pillow_errors("cannot be read"):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("must be an image file, but is a folder or a device")

            def check(size: tuple[int, int]) -> None:
                _check_size(size, max_pixels)
                admit(DECODING_BYTES * size[0] * size[1])

            with _WholeFile(_raw(path, status.st_size)) as file:
                yield _parsed(file, check)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__


def _raw(path: Path, size: int) -> io.RawIOBase:
    if not isinstance(path, RemotePath):
        return io.FileIO(path)
    # From a store whole, in one request.
    if size > _MAX_REMOTE_BYTES:
        raise ImageError(f"must have at most {_MAX_REMOTE_BYTES:,} bytes, but has {size:,}")
    return _InMemory(path.read_bytes())


class _InMemory(io.RawIOBase):
    """Bytes as a file without a buffer of its own."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._content.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        return self._content.readinto(buffer)


def _parsed(
    file: _WholeFile, check: Callable[[tuple[int, int]], None]
) -> tuple[ImageFile.ImageFile, int]:
    head = file.peek(32)[:32]
    name = _format_of(head)
    if name == "WebP":
        # Its decoder takes memory for all pixels when it is made.
        check(_webp_size(head))
    file.seek(0)
    with _pillow_errors(f"cannot be read as {name}"):
        image = _FORMATS[name](file)
        if name != "WebP":
            check(image.size)
        exif = png_exif(file) if name == "PNG" else image.info.get("exif", b"")
    return image, orientation_of(exif)


def _format_of(head: bytes) -> str:
    """Name of the format of a file that begins with `head`."""
    if not head:
        raise ImageError("the file is empty")
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM"):
        return "BMP"
    other = {b"GIF8": "a GIF", b"II*\0": "a TIFF", b"MM\0*": "a TIFF"}.get(head[:4])
    raise ImageError(f"must be a JPEG, PNG, WebP or BMP, but is {other or 'none of them'}")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"an image must have pixels, but its size is {width} × {height}")
    if width * height > max_pixels:
        raise ImageError(
            f"an image must have at most {max_pixels:,} pixels (data.max_pixels), "
            f"but its size is {width} × {height}"
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    """(width, height) from the first 30 bytes (WebP container specification; RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        width, height = (int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) >= 30:
        width, height = (int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
        return width & 0x3FFF, height & 0x3FFF
    raise ImageError("cannot be read as WebP: the header is damaged or truncated")


@contextmanager
def _pillow_errors(what: str) -> Iterator[None]:
    """Turn whatever a damaged file makes Pillow raise into an ImageError."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise ImageError("there is no such file") from error
    # Pillow's plugins raise nearly everything: OSError, SyntaxError, ValueError, EOFError,
    # struct.error, DecompressionBombError, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if reason == "not identified by this driver":
            reason = "the header is damaged or states a size of 0"
        raise ImageError(f"{what}: {reason}") from error
