"""Pictures side by side, with a caption beneath each and a title above, in crisp type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["FAINT", "Panel", "color_bar", "side_by_side"]

Color = tuple[int, int, int]

FAINT: Color = (95, 99, 104)
"""Gray of captions; its contrast with white is 6 to 1."""
_INK: Color = (32, 33, 36)
_PAPER: Color = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture, (H, W, 3) uint8, and its caption in pieces of one color each."""

    picture: NDArray[np.uint8]
    caption: tuple[tuple[str, Color], ...]

    @property
    def text(self) -> str:
        """The caption without its colors."""
        return "".join(text for text, _ in self.caption)


def side_by_side(
    panels: Sequence[Panel], *, title: str | None = None, height: int, captions: bool = True
) -> NDArray[np.uint8]:
    """Set panels side by side on white, with their captions and the title.

    Parameters
    ----------
    panels : sequence of Panel
        Their pictures are at most `height` high; lower ones are centered.
    title : str, optional
        Cut to the width that the panels have.
    height : int
        Of the row of pictures, in pixels; the type's size follows it.
    captions : bool
        Whether the captions are written.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    size = max(11, round(height * 0.065))
    gap, font = max(4, size // 2), _font(size)
    cells = [
        max(panel.picture.shape[1], _text_width(panel.text, font) if captions else 0)
        for panel in panels
    ]
    margin = gap if captions or title else 0
    above = margin + (round(size * 1.84) if title else 0)
    below = round(size * 1.7) if captions else margin
    width = 2 * margin + sum(cells) + gap * (len(panels) - 1)
    canvas = Image.new("RGB", (width, above + height + below), _PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        bold = _font(round(size * 1.15), bold=True)
        draw.text((margin, margin), _fit(title, bold, width - 2 * margin), _INK, font=bold)
    left = margin
    for panel, cell in zip(panels, cells, strict=True):
        top = above + (height - panel.picture.shape[0]) // 2
        canvas.paste(Image.fromarray(panel.picture), (left, top))
        if captions:
            _write_caption(draw, (left, above + height + size * 0.25), panel, font)
        left += cell + gap
    return np.array(canvas)


def color_bar(table: NDArray[np.uint8], *, height: int, low: str, high: str) -> NDArray[np.uint8]:
    """Draw the colors of a map from the highest, above, to the lowest, with both ends named.

    Parameters
    ----------
    table : ndarray of uint8, shape (256, 3)
        From the lowest to the highest.
    height : int
        In pixels.
    low, high : str
        Beside the ends.

    Returns
    -------
    ndarray of uint8, shape (height, W, 3)
    """
    size = max(11, round(height * 0.065))
    font, bar = _font(size), size
    canvas = Image.new("RGB", (bar + size // 2 + _widest((low, high), font), height), _PAPER)
    levels = np.rint(np.linspace(255, 0, height)).astype(np.intp)
    canvas.paste(Image.fromarray(np.repeat(table[levels][:, None], bar, axis=1)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw.text((bar + size // 2, 0), high, FAINT, font=font, anchor="la")
    draw.text((bar + size // 2, height - 1), low, FAINT, font=font, anchor="ls")
    return np.array(canvas)


def _widest(texts: Sequence[str], font: ImageFont.FreeTypeFont) -> int:
    return max(_text_width(text, font) for text in texts)


def _write_caption(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    panel: Panel,
    font: ImageFont.FreeTypeFont,
) -> None:
    left, top = at
    for text, color in panel.caption:
        draw.text((left, top), text, color, font=font)
        left += font.getlength(text)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib  # ships the DejaVu fonts, which every system then has

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), size)


def _text_width(text: str, font: ImageFont.FreeTypeFont) -> int:
    return int(np.ceil(font.getlength(text)))


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Put text on one line, cut to fit a width, with an ellipsis where it was cut."""
    line = " ".join(text.split())[:1000]
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
