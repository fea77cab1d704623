r"""What the recipe still gets wrong: kinds of errors by the object's size and number.

    python -m eval.figures.failures RUN [RUN ...] --set data.root=ILSVRC

judges the box of each image's label (the class is known) in finished runs, such as those that
``eval/figures/accuracy.py`` leaves in WORK/runs, by the kinds of `wsl.score.protocols.diagnosis`.
Counts go to ``eval/results/failures.json``; the tables are printed. Beside them stands what would
mend the errors: how many wrong boxes would be right if one thing about them were known.

``--demo`` draws the recipe's errors on the demo's own images, which are nobody's photographs, into
``eval/results/failures/``. ``--look FOLDER`` draws the errors of the first run for one's own eyes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.provenance import stamp
from eval.tables import interval, line
from wsl import Localizer, load_classifier
from wsl.boxes import box_iou
from wsl.data.images import load_image
from wsl.data.sample import Sample
from wsl.demo.draw import CATEGORIES, draw_image
from wsl.draw.pictures import draw_boxes, resize_picture, save_jpeg, save_png, strip
from wsl.errors import WslError
from wsl.run.config import load_config
from wsl.run.opened import OpenedRun, open_run
from wsl.score.estimates import wilson
from wsl.score.protocols.diagnosis import KINDS, diagnose

RESULTS = Path(__file__).parents[1] / "results"
SHOWN = [kind for kind in KINDS if not kind.startswith("wrong_class")]


def main() -> None:
    """Judge, print and write."""
    arguments = parse()
    runs = [open_run(path, arguments.set) for path in arguments.runs]
    content = {
        "what": "kinds of errors of the label's box, the class known; counts of images",
        **stamp("eval.figures.failures", "torch", "opencv-python", "numpy"),
        "runs": [describe(opened) for opened in runs],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "failures.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(markdown(content))
    if arguments.look:
        look(runs[0], arguments.look)
    if arguments.demo:
        draw_demo(arguments.out / "failures", arguments.demo)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*", help="Finished runs.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="Of the runs' configurations, such as data.root.")  # fmt: skip
    parser.add_argument("--look", type=Path, help="Folder for sheets of the first run's errors.")
    parser.add_argument("--demo", type=int, nargs="*", metavar="NUMBER",
                        help="Draw these images of the demo, by number.")  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def describe(opened: OpenedRun) -> dict[str, Any]:
    """Count the kinds of a run's errors, in groups of images."""
    table = judge(opened)
    return {
        "run": opened.folder.path.name,
        "classifier": opened.info.model["name"],
        "dataset": opened.dataset.name,
        "all": group(table),
        "by_size": {size: group(part) for size, part in table.groupby("object_size", sort=False)},
        "by_instances": {name: group(part) for name, part in table.groupby("number", sort=True)},
        "mended": {name: int(fixed.sum()) for name, fixed in mended(table).items()},
    }


def judge(opened: OpenedRun) -> pd.DataFrame:
    """Diagnose each image, with the number of its instances, the boxes and the image's size."""
    predictions = opened.folder.read().to_pandas()
    table = diagnose(predictions, opened.dataset).per_image.set_index("image_id")
    rows = predictions[predictions["is_ground_truth"]].set_index("image_id").loc[table.index]
    place = {image_id: at for at, image_id in enumerate(opened.dataset.image_ids)}
    true = [true_boxes(opened.dataset.sample(place[image_id])) for image_id in table.index.tolist()]
    found = rows[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float64)
    return table.assign(
        true=true,
        found=list(found),
        width=rows["width"],
        height=rows["height"],
        number=[{1: "1", 2: "2"}.get(len(boxes), "3 or more") for boxes in true],
    )


def true_boxes(sample: Sample) -> NDArray[np.float64]:
    assert sample.annotation is not None
    instances = sample.annotation.instances
    return np.array([each.box for each in instances if each.label == sample.label], dtype=float)


def group(table: pd.DataFrame) -> dict[str, Any]:
    """Count the kinds in some images."""
    right = int((table["kind"] == "right").sum())
    low, high = wilson(right, len(table))
    kinds = table["kind"].value_counts()
    return {
        "n": len(table),
        "right": right / len(table),
        "low": low,
        "high": high,
        "mean_iou": float(table["iou"].mean()),
        "kinds": {kind: int(kinds.get(kind, 0)) for kind in SHOWN},
    }


def mended(table: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which wrong boxes would be right, were one thing about them known."""
    wrong = (table["kind"] != "right").to_numpy()
    found = np.stack(table["found"].tolist())
    there = wrong & ~np.isnan(found).any(axis=1)
    found = np.where(there[:, None], found, 0.0)  # right ones and no box: not asked below
    true = table["true"].tolist()

    def right(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        best = [box_iou([box], each).max() for box, each in zip(boxes, true, strict=True)]
        return there & (np.array(best) >= 0.5)

    # The instance that a box meets best, to take what is "known" from.
    of_best = np.array(
        [each[box_iou([box], each).argmax()] for box, each in zip(found, true, strict=True)]
    )
    middle, side = center_size(found)
    true_middle, true_side = center_size(of_best)
    scale = np.sqrt(true_side.prod(axis=1) / np.maximum(side.prod(axis=1), 1e-9))[:, None]
    whole = np.array([(each[:, :2].min(axis=0), each[:, 2:].max(axis=0)) for each in true])
    together = np.array([
        box_iou([box], [np.concatenate(corners)]).max()
        for box, corners in zip(found, whole, strict=True)
    ])  # fmt: skip
    return {
        "wrong": wrong,
        "missed narrowly: IoU of 0.4 to 0.5": wrong & (table["iou"] >= 0.4).to_numpy(),
        "right if its area were known (center and shape kept)": right(box_at(middle, side * scale)),
        "right if its size were known (center kept)": right(box_at(middle, true_side)),
        "right if its center were known (size kept)": right(box_at(true_middle, side)),
        "right if all instances were one object": there & (together >= 0.5),
    }


def center_size(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def box_at(middle: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([middle - side / 2, middle + side / 2], axis=1)


def markdown(content: dict[str, Any]) -> str:
    """Lay the counts out for people."""
    lines = []
    for run in content["runs"]:
        lines += ["", f"{run['classifier']}, `{run['run']}`, {run['dataset']}:", ""]
        lines += [line(["images", "n", "right, %", "mean IoU", *SHOWN[1:]])]
        lines += [line(["---", *["---:"] * (len(SHOWN) + 2)])]
        groups = {"all": run["all"]}
        sizes = ("small", "medium", "large", "unknown")
        groups |= {f"{size} object": run["by_size"].get(size) for size in sizes}
        groups |= {f"instances: {key}": one for key, one in run["by_instances"].items()}
        lines += [line(cells(name, one)) for name, one in groups.items() if one]
        lines += [""]
        lines += [f"- {name}: {count}" for name, count in run["mended"].items()]
    return "\n".join(lines)


def cells(name: str, one: dict[str, Any]) -> Iterator[str]:
    yield name
    yield str(one["n"])
    yield interval(one | {"value": one["right"]})
    yield f"{100 * one['mean_iou']:.1f}"
    yield from (str(one["kinds"][kind]) for kind in SHOWN[1:])


def look(opened: OpenedRun, folder: Path) -> None:
    """Sheets of a run's errors: the box found, and the true ones dashed."""
    table = judge(opened)
    place = {image_id: at for at, image_id in enumerate(opened.dataset.image_ids)}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, part in table[table["kind"] != "right"].groupby("kind"):
        tiles = []
        for image_id, row in part.iterrows():
            image = load_image(opened.dataset.sample(place[image_id], annotated=False).path)
            found = None if np.isnan(row["found"]).any() else tuple(row["found"])
            picture = draw_boxes(image, predicted=found, true=[tuple(box) for box in row["true"]])
            tiles.append(resize_picture(picture, (160, 160)))
        for sheet in range(0, len(tiles), 48):
            save_png(folder / f"{kind}-{sheet // 48}.png", grid(tiles[sheet : sheet + 48]))


def grid(tiles: Sequence[NDArray[np.uint8]], columns: int = 8) -> NDArray[np.uint8]:
    """Set tiles of one size in rows, on white."""
    blank = np.full_like(tiles[0], 255)
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [
        np.concatenate(padded[at : at + columns], axis=1) for at in range(0, len(padded), columns)
    ]
    return np.concatenate(rows)


def draw_demo(folder: Path, numbers: Sequence[int]) -> None:
    """Draw strips of some of the demo's images."""
    config = load_config("demo")
    localizer = Localizer(load_classifier(config.model), config)
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        drawn = draw_image(number, seed=0)
        image_id = f"DEMO_val_{number + 1:08d}"
        (found,) = localizer(drawn.image, classes=[drawn.label], image_id=image_id)
        iou = float(box_iou([found.box], drawn.boxes).max()) if found.box else 0.0
        picture = strip(
            drawn.image, found.saliency, found.seeds, found.mask, found.box, drawn.boxes,
            title=f"{CATEGORIES.names[drawn.label]}: IoU of the boxes {iou:.2f}", height=112,
        )  # fmt: skip
        save_jpeg(folder / f"demo-{number}.jpg", picture)


if __name__ == "__main__":
    try:
        main()
    except WslError as error:
        sys.exit(f"failures: error: {error}")
