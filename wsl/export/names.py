"""File names from image ids.

An image id can be anything: a path, a title with spaces, 4,000 letters, ``..``. Its file name
consists of ASCII letters, digits, and ``. _ - % ~``, and never leaves the folder:

- every other character becomes ``%XX``, the bytes of its UTF-8 form, as in an address;
- a leading ``.`` or ``-``, and the first letter of a name that Windows reserves (``CON``), too;
- a name longer than 200 characters is cut and ends with ``~`` and a digest of the image id;
- where two names differ in nothing but upper and lower case, both end with such a digest.

``urllib.parse.unquote`` undoes the first two, and `wsl.data.readers.voc` does so when it reads.
Every name that is not the image id itself is listed in the export's ``names.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

LONGEST = 200
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def escaped(text: str) -> str:
    """Text as a file name without an ending, reversible by ``urllib.parse.unquote``.

    Examples
    --------
    >>> escaped("n01440764/my fish"), escaped("../up"), escaped("con"), escaped("žába")
    ('n01440764%2Fmy%20fish', '%2E.%2Fup', '%63on', '%C5%BE%C3%A1ba')
    """
    data = text.encode("utf-8", errors="surrogatepass")
    name = "".join(chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in data)
    if name[:1] in {".", "-"} or RESERVED.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def fingerprint(text: str) -> int:
    """64-bit digest of a text."""
    data = text.encode("utf-8", errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def repeated(fingerprints: Iterable[int]) -> NDArray[np.uint64]:
    """Fingerprints that occur more than once, sorted."""
    values, counts = np.unique(np.fromiter(fingerprints, dtype=np.uint64), return_counts=True)
    return np.asarray(values[counts > 1], dtype=np.uint64)


@dataclass(frozen=True)
class FileNames:
    """The file names of one export."""

    ambiguous: frozenset[int] = frozenset()
    """Fingerprints of those names, in lower case, that more than one image would have."""

    @staticmethod
    def key(image_id: str) -> str:
        """Return the part of a name that must be unique among images."""
        return escaped(image_id).casefold()

    def stem(self, image_id: str) -> str:
        """Name of an image's files, without an ending; different for different images."""
        name = escaped(image_id)
        digest = blake2b(image_id.encode("utf-8", errors="surrogatepass"), digest_size=6)
        if len(name) > LONGEST:
            return f"{name[: LONGEST - 13]}~{digest.hexdigest()}"
        if not name or fingerprint(name.casefold()) in self.ambiguous:
            return f"{name}~{digest.hexdigest()}"
        return name
