"""The EXIF orientation of image files, and how to turn their pixels upright."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def png_exif(file: io.BufferedReader) -> bytes:
    """EXIF data of a PNG; Pillow sees those behind the pixels only after decoding."""
    back = file.tell()
    file.seek(8)
    exif, kind = b"", b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            exif = file.read(length)
            break
        file.seek(length + 4, io.SEEK_CUR)
    file.seek(back)
    return exif


def orientation_of(exif: bytes) -> int:
    """Orientation, 1 to 8, from EXIF data; 1 if they do not say or cannot be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == 0x0112:
                return int(value) if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


# What brings pixels stored with an EXIF orientation upright (EXIF 2.32, tag 0x0112).
Pixels = NDArray[np.uint8]
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
