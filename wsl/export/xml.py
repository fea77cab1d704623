"""Text for XML files."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

# XML 1.0 has no way to write these, not even as a reference.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """Escape text for an element or a double-quoted attribute; line breaks are kept.

    Characters that XML cannot hold become ``%XX``, as in file names.

    Examples
    --------
    >>> xml_text('black & "white"')
    'black &amp; &quot;white&quot;'
    """
    allowed = _FORBIDDEN.sub(lambda found: f"%{ord(found.group()):02X}", text)
    return escape(allowed, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
