"""The demo's drawn dataset, and how it is written to disk.

`write_dataset` keeps the layout of the ILSVRC localization challenge (CLS-LOC):

::

    ROOT/Data/CLS-LOC/val/DEMO_val_00000001.JPEG       the pictures, quality 92
    ROOT/Annotations/CLS-LOC/val/DEMO_val_00000001.xml all boxes, 0-based and inclusive
    ROOT/ImageSets/CLS-LOC/val.txt                     image ids, numbered from 1
    ROOT/LOC_val_solution.csv                          image id, then WNID and box of each object
    ROOT/LOC_synset_mapping.txt                        WNIDs and names, in the order of the classes
    ROOT/Masks/CLS-LOC/val/DEMO_val_00000001.png       beyond the challenge: exact masks

The masks are indexed PNG files of the picture's size: 0 is background, 1 to n are the objects in
the order of the annotation.
"""

from __future__ import annotations

import colorsys
import csv
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsl.boxes import Box, to_inclusive
from wsl.demo.scene import CATEGORIES, DrawnImage, draw_image


def write_dataset(root: Path | str, *, count: int, seed: int, split: str = "val") -> None:
    """Draw pictures and write them with their annotations.

    Parameters
    ----------
    root : path
        The dataset's folder; made if need be, and files of the same names are written over.
    count : int
        How many pictures, >= 1: those of the numbers 0 to `count` - 1.
    seed : int
        As of `draw_image`.
    split : str
        Name of the split, letters and digits. Every split is laid out as the challenge's ``val``
        (all pictures in one folder).

    Raises
    ------
    ValueError
        If `count` is less than 1 or `split` is no plain name.
    """
    if count < 1:
        raise ValueError(f"count must be >= 1, but got {count}")
    if not split.isalnum():
        raise ValueError(f"split must be letters and digits, but got {split!r}")
    root = Path(root)
    folders = {kind: root / kind / "CLS-LOC" / split for kind in ("Data", "Annotations", "Masks")}
    for folder in (*folders.values(), root / "ImageSets" / "CLS-LOC"):
        folder.mkdir(parents=True, exist_ok=True)
    image_ids, solutions = [], []
    for index in range(count):
        image_id = f"DEMO_{split}_{index + 1:08d}"
        drawn = draw_image(index, seed=seed)
        Image.fromarray(drawn.image).save(folders["Data"] / f"{image_id}.JPEG", quality=92)
        instance_map(drawn).save(folders["Masks"] / f"{image_id}.png", optimize=True)
        annotation = ET.ElementTree(_annotation(drawn, image_id, split))
        ET.indent(annotation, "\t")
        annotation.write(folders["Annotations"] / f"{image_id}.xml", encoding="utf-8")
        image_ids.append(image_id)
        solutions.append(_solution(drawn))
    _write_lists(root, split, image_ids, solutions)


def instance_map(drawn: DrawnImage) -> Image.Image:
    """Masks of a picture as one indexed image: 0 is background, 1 to n are the objects."""
    numbers = np.zeros(drawn.image.shape[:2], dtype=np.uint8)
    for number, mask in enumerate(drawn.masks, start=1):
        numbers[mask] = number
    picture = Image.fromarray(numbers)
    picture.putpalette(_palette(len(drawn.masks)).tobytes())
    return picture


def _palette(count: int) -> NDArray[np.uint8]:
    """Black for the background, and bright colors far apart for the objects: RGB."""
    colors = [(0.0, 0.0, 0.0)]
    colors += [colorsys.hsv_to_rgb(0.11 + number * 0.618, 0.75, 1.0) for number in range(count)]
    return np.round(np.array(colors) * 255).astype(np.uint8)


def _annotation(drawn: DrawnImage, image_id: str, split: str) -> ET.Element:
    height, width = drawn.image.shape[:2]
    root = ET.Element("annotation")
    _add(root, {"folder": split, "filename": image_id})
    _add(ET.SubElement(root, "source"), {"database": "wsl demo"})
    _add(ET.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
    _add(root, {"segmented": 1})
    for box in drawn.boxes:
        each = ET.SubElement(root, "object")
        _add(each, {"name": _wnid(drawn), "pose": "Unspecified"})
        _add(each, {"truncated": int(_at_border(box, width, height)), "difficult": 0})
        x0, y0, x1, y1 = _inclusive(box)
        _add(ET.SubElement(each, "bndbox"), {"xmin": x0, "ymin": y0, "xmax": x1, "ymax": y1})
    return root


def _add(parent: ET.Element, texts: dict[str, str | int]) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = str(text)


def _at_border(box: Box, width: int, height: int) -> bool:
    return box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height


def _solution(drawn: DrawnImage) -> str:
    """Objects as ``LOC_val_solution.csv`` has them: WNID and four numbers each."""
    boxes = [" ".join(map(str, _inclusive(box))) for box in drawn.boxes]
    return " ".join(f"{_wnid(drawn)} {box}" for box in boxes)


def _inclusive(box: Box) -> tuple[int, ...]:
    return tuple(int(number) for number in to_inclusive(box))


def _wnid(drawn: DrawnImage) -> str:
    ids = CATEGORIES.ids or ()
    return ids[drawn.label]


def _write_lists(root: Path, split: str, image_ids: list[str], solutions: list[str]) -> None:
    numbered = [f"{image_id} {number}\n" for number, image_id in enumerate(image_ids, start=1)]
    (root / "ImageSets" / "CLS-LOC" / f"{split}.txt").write_text("".join(numbered))
    pairs = zip(CATEGORIES.ids or (), CATEGORIES.names, strict=True)
    mapping = "".join(f"{wnid} {name}\n" for wnid, name in pairs)
    (root / "LOC_synset_mapping.txt").write_text(mapping)
    with (root / f"LOC_{split}_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ImageId", "PredictionString"])
        rows.writerows(zip(image_ids, solutions, strict=True))
