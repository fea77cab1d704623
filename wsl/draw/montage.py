"""Pictures side by side, with a caption beneath each and a title above, in crisp type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

FAINT: Color = (95, 99, 104)
"""Gray of captions; its contrast with white is 6 to 1."""
INK: Color = (32, 33, 36)
PAPER: Color = (255, 255, 255)


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
        Height of the row of pictures in pixels; the type's size follows it.
    captions : bool
        Whether the captions are written.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    size = max(11, round(height * 0.065))
    gap, font = max(4, size // 2), type_of_size(size)
    cells = [
        max(panel.picture.shape[1], _text_width(panel.text, font) if captions else 0)
        for panel in panels
    ]
    margin = gap if captions or title else 0
    above = margin + (round(size * 1.84) if title else 0)
    below = round(size * 1.7) if captions else margin
    width = 2 * margin + sum(cells) + gap * (len(panels) - 1)
    canvas = Image.new("RGB", (width, above + height + below), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        bold = type_of_size(round(size * 1.15), bold=True)
        draw.text((margin, margin), fit_text(title, bold, width - 2 * margin), INK, font=bold)
    left = margin
    for panel, cell in zip(panels, cells, strict=True):
        top = above + (height - panel.picture.shape[0]) // 2
        canvas.paste(Image.fromarray(panel.picture), (left, top))
        if captions:
            _write_caption(draw, (left, above + height + size * 0.25), panel, font)
        left += cell + gap
    return np.array(canvas)


def color_bar(
    table: NDArray[np.uint8], limits: tuple[float, float], *, height: int
) -> NDArray[np.uint8]:
    """Draw the color bar of a map, the highest value on top, with ticks at round values.

    Parameters
    ----------
    table : ndarray of uint8, shape (256, 3)
        From the lowest to the highest.
    limits : (float, float)
        Values of the lowest and the highest color; of a flat map they are equal.
    height : int
        In pixels.

    Returns
    -------
    ndarray of uint8, shape (height, W, 3)
    """
    size = max(11, round(height * 0.065))
    font, bar, tick = type_of_size(size), size, max(3, size // 3)
    ticks = _ticks(*limits, count=max(1, min(5, height // (3 * size))))
    labels = [f"{value:.6g}" for value in ticks]
    widest = max((_text_width(text, font) for text in labels), default=0)
    canvas = Image.new("RGB", (bar + 2 * tick + widest, height), PAPER)
    levels = np.rint(np.linspace(255, 0, height)).astype(np.intp)
    canvas.paste(Image.fromarray(np.repeat(table[levels][:, None], bar, axis=1)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    low, high = limits
    for value, label in zip(ticks, labels, strict=True):
        share = (high - value) / (high - low) if high > low else 0.5
        y = (height - 1) * min(max(share, 0), 1)
        draw.line((bar, y, bar + tick, y), FAINT)
        middle = min(max(y, size / 2), height - size / 2)  # all of the label stays on the canvas
        draw.text((bar + 2 * tick, middle), label, FAINT, font=font, anchor="lm")
    return np.array(canvas)


def _ticks(low: float, high: float, *, count: int) -> list[float]:
    """Round values within limits, or next to them, about so many."""
    from matplotlib.ticker import MaxNLocator  # slow, and not needed where nothing is drawn

    if not high > low:
        return [low]
    values = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = 0.02 * (high - low)
    return [float(value) for value in values if low - slack <= value <= high + slack]


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
def type_of_size(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at a height in pixels."""
    import matplotlib  # ships the DejaVu fonts, which every system then has

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), size)


def _text_width(text: str, font: ImageFont.FreeTypeFont) -> int:
    return int(np.ceil(font.getlength(text)))


def fit_text(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Put text on one line, cut to fit a width, with an ellipsis where it was cut."""
    line = " ".join(text.split())[:1000]
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
