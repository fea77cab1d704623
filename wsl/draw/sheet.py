"""Contact sheets: many small pictures on one, each with lines of text beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from wsl.draw.montage import FAINT, INK, PAPER, fit_text, type_of_size
from wsl.draw.overlays import Picture


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet, (H, W, 3) uint8, and its lines; the first is set in bold."""

    picture: Picture
    lines: tuple[str, ...]


def contact_sheet(
    cells: Sequence[Cell],
    *,
    columns: int = 5,
    size: tuple[int, int] = (160, 220),
    title: str | None = None,
) -> Picture:
    """Set pictures in rows, on white.

    Parameters
    ----------
    cells : sequence of Cell
        At least one. Pictures are at most of `size`, and centered in their cells.
    columns : int
        Number of cells in a row.
    size : (int, int)
        (height, width) of a cell's room for its picture.
    title : str, optional
        Line above all.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ValueError
        If there is no cell, or a picture does not fit.
    """
    if not cells:
        raise ValueError("a contact sheet must have at least one picture, but got none")
    height, width = size
    for cell in cells:
        if cell.picture.shape[0] > height or cell.picture.shape[1] > width:
            raise ValueError(f"pictures must fit into {size}, but one is {cell.picture.shape[:2]}")
    letter = max(11, round(height * 0.075))
    gap, line = letter, round(letter * 1.35)
    plain, bold = type_of_size(letter), type_of_size(letter, bold=True)
    large = type_of_size(round(letter * 1.3), bold=True)
    above = gap + (2 * line if title else 0)
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    tall = height + line * max(len(cell.lines) for cell in cells) + gap
    canvas = Image.new("RGB", (gap + columns * (width + gap), above + rows * tall), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((gap, gap), fit_text(title, large, canvas.width - 2 * gap), INK, font=large)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), above + row * tall
        picture = Image.fromarray(cell.picture)
        place = (left + (width - picture.width) // 2, top + (height - picture.height) // 2)
        canvas.paste(picture, place)
        for number, text in enumerate(cell.lines):
            font, color = (bold, INK) if number == 0 else (plain, FAINT)
            at = (left, top + height + number * line + letter // 4)
            draw.text(at, fit_text(text, font, width), color, font=font)
    return np.array(canvas)
