"""Strips of the steps from an image to its boxes, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsl.boxes import Box
from wsl.data.images import load_image
from wsl.draw.pictures import save_png, strip
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Localization

__all__ = ["Strip", "file_part", "write_strips"]


@dataclass(frozen=True, eq=False)
class Strip:
    """A picture that was written, and what it shows."""

    path: Path
    localization: Localization


def write_strips(
    localizer: Localizer,
    image: Path,
    out: Path,
    *,
    classes: Sequence[int | str] | None = None,
    top_k: int = 1,
    height: int = 224,
    image_id: str | None = None,
    gt_boxes: Sequence[Box] = (),
) -> Iterator[Strip]:
    """Localize an image's classes and write one PNG per class.

    Parameters
    ----------
    localizer : Localizer
    image : Path
    out : Path
        Folder; made if it is not there.
    classes : sequence of int or str, optional
        By default the classifier's first `top_k`.
    top_k : int
    height : int
        Of a panel in pixels.
    image_id : str, optional
        The file's name without its ending by default.
    gt_boxes : sequence of Box
        Drawn beside the predicted box.

    Yields
    ------
    Strip
        ``NAME-RANK-CLASS.png``
    """
    pixels = load_image(image)
    name = image_id or image.stem
    for trace in localizer.trace(pixels, classes=classes, top_k=top_k, image_id=name):
        found = trace.localization
        picture = strip(
            pixels,
            trace.saliency,
            trace.seeds,
            found.mask,
            found.box,
            gt_boxes,
            title=f"{found.category}, rank {found.rank}, probability {found.score:.3f}",
            height=height,
        )
        path = out / f"{file_part(name)}-{found.rank}-{file_part(found.category)}.png"
        out.mkdir(parents=True, exist_ok=True)
        save_png(path, picture)
        yield Strip(path, found)


def file_part(text: str) -> str:
    """Part of a file name: the first synonym, with signs that any system takes."""
    return re.sub(r"[^\w.-]+", "_", text.split(",")[0]).strip("_.") or "_"
