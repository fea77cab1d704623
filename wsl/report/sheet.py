"""The contact sheet of a run: its worst or best images on one picture."""

from __future__ import annotations

from typing import Literal

from wsl.draw.overlays import Picture
from wsl.draw.pictures import mask_picture
from wsl.draw.sheet import Cell, contact_sheet
from wsl.errors import ScoreError, WslError
from wsl.report.content import kind_label
from wsl.report.from_run import report_run
from wsl.report.runs import RunTable, Steps, quality_by_image, tabulate
from wsl.report.steps import StoredSteps
from wsl.run.opened import OpenedRun
from wsl.run.rows import SCALARS

Order = Literal["worst", "best", "doubt", "surest"]


def run_sheet(
    opened: OpenedRun,
    *,
    count: int = 20,
    order: Order = "worst",
    columns: int = 5,
    height: int = 160,
) -> Picture:
    """Draw a run's masks and boxes, many images on one sheet.

    Nothing is computed again: masks and boxes are those that the run has stored.

    Parameters
    ----------
    opened : OpenedRun
    count : int
        Most images to draw; at least 1.
    order : {'worst', 'best', 'doubt', 'surest'}
        By the IoU with the annotated box, from the lowest or the highest; or by the quality, from
        the lowest or the highest, which needs no annotations.
    columns : int
    height : int
        Height of a picture in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ScoreError
        If the run cannot be scored, or has no qualities; or no image can be drawn.
    """
    by_iou = order in ("worst", "best")
    table: RunTable | None = None
    if by_iou:
        (table,) = tabulate([report_run(opened, pictures=False)])
        values = {str(image_id): float(iou) for image_id, iou in table.images["iou"].items()}
    else:
        values = quality_by_image(opened.folder.read(SCALARS).to_pandas()) or {}
        if not values:
            raise ScoreError(f"{opened.folder.path} has no qualities (localize.quality)")
    steps = StoredSteps(opened)
    size = (height, round(1.4 * height))
    cells: list[Cell] = []
    ordered = sorted(values, key=lambda each: values[each], reverse=order in ("best", "surest"))
    for image_id in ordered:
        if len(cells) == count:
            break
        try:
            found = steps(image_id)
        except (WslError, OSError):  # an image that is gone or cannot be read
            continue
        cells.append(Cell(_picture(found, size), _lines(image_id, steps, table, values[image_id])))
    if not cells:
        raise ScoreError(f"no image of {opened.folder.path} can be drawn")
    what = {"worst": "lowest IoU", "best": "highest IoU", "doubt": "lowest quality"}
    title = (
        f"{opened.folder.path.name}: {len(cells)} of {len(values):,} images, "
        f"{what.get(order, 'highest quality')} first · {opened.config.saliency.method} · "
        f"{opened.info.model['name']}"
    )
    return contact_sheet(cells, columns=columns, size=size, title=title)


def _picture(steps: Steps, size: tuple[int, int]) -> Picture:
    rows, columns = steps.image.shape[:2]
    scale = min(size[0] / rows, size[1] / columns)
    small = (max(round(rows * scale), 1), max(round(columns * scale), 1))
    mask = steps.mask if steps.mask is not None else steps.image[..., 0] > 255  # an empty one
    return mask_picture(
        steps.image, mask, small, pred_box=steps.box, gt_boxes=steps.gt_boxes, thickness=2
    )


def _lines(
    image_id: str, steps: StoredSteps, table: RunTable | None, value: float
) -> tuple[str, ...]:
    """Class and score; IoU or quality, and the error kind; the image's id."""
    one = steps.localization(image_id)
    name = "no class" if one is None else f"{one.category.split(',')[0]} {one.score:.2f}"
    if table is None:
        return (name, f"quality {value:.2f}", image_id)
    kind = table.row(image_id)["kind"]
    return (name, f"IoU {value:.2f}" + (f" · {kind_label(kind)}" if kind else ""), image_id)
