"""Readers of exports: other people's libraries where there are any, else the format's description.

Each yields image id, label, mask and box of every object; None for what the format does not hold.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torchvision.datasets import ImageFolder, VOCDetection, VOCSegmentation

from wsl.boxes import Box
from wsl.data.categories import Categories
from wsl.data.readers.coco import CocoDataset
from wsl.data.readers.voc import VocDataset
from wsl.masks import decode_rle

Found = tuple[str, int, np.ndarray | None, Box | None]
VOC = "VOCdevkit/VOC2012"


@dataclass(frozen=True)
class Source:
    """What a reader may know: the folder, the classifier's categories, and ids by file name."""

    out: Path
    categories: Categories
    ids: Mapping[str, str]

    def label(self, name: str) -> int:
        return self.categories.index(name)


def load_coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def corners(x: float, y: float, width: float, height: float) -> Box:
    return (x, y, x + width, y + height)


def read_coco(source: Source) -> Iterator[Found]:
    coco = load_coco(source.out / "annotations/instances_train.json")
    for item in coco.anns.values():
        mask = coco.annToMask(item).astype(bool) if item["segmentation"] else None
        image_id = coco.imgs[item["image_id"]]["image_id"]
        name = coco.cats[item["category_id"]]["name"]
        yield image_id, source.label(name), mask, corners(*item["bbox"])


def read_own(kind: type[CocoDataset] | type[VocDataset]) -> Callable[[Source], Iterator[Found]]:
    def read(source: Source) -> Iterator[Found]:
        root = source.out / ("VOCdevkit" if kind is VocDataset else "")
        for sample in kind(root, source.categories, split="train"):
            assert sample.path.is_file()
            for one in sample.annotation.instances:
                mask = decode_rle(one.mask, sample.annotation.size)
                yield sample.image_id, one.label, mask, one.box

    return read


def read_voc(source: Source) -> Iterator[Found]:
    detection = VOCDetection(str(source.out), year="2012", image_set="train")
    segmentation = VOCSegmentation(str(source.out), year="2012", image_set="train")
    with (source.out / VOC / "classes.csv").open(encoding="utf-8") as file:
        values = {row["category"]: int(row["value"]) for row in csv.DictReader(file)}
    for (picture, annotation), (_, target) in zip(detection, segmentation, strict=True):
        content = annotation["annotation"]
        assert target.mode in {"P", "I;16"}
        assert picture.size == target.size
        assert picture.size == tuple(int(content["size"][name]) for name in ("width", "height"))
        for item in content["object"]:
            x0, y0, x1, y1 = (int(item["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            mask = np.array(target) == values[item["name"]]
            image_id = source.ids[content["filename"].removesuffix(".jpg")]
            yield image_id, source.label(item["name"]), mask, (x0 - 1, y0 - 1, x1, y1)


def read_segmentation(source: Source) -> Iterator[Found]:
    with (source.out / "classes.csv").open(encoding="utf-8") as file:
        names = {int(row["value"]): row["category"] for row in csv.DictReader(file)}
    for stem in (source.out / "train.txt").read_text("utf-8").split():
        labels = np.array(Image.open(source.out / f"labels/{stem}.png"))
        for value in set(np.unique(labels).tolist()) - {0, 255}:
            yield source.ids[stem], source.label(names[value]), labels == value, None


def read_yolo(source: Source) -> Iterator[Found]:
    """Read by Ultralytics' documentation, and refuse what that does not allow."""
    content = yaml.safe_load((source.out / "data.yaml").read_text("ascii"))
    names = content["names"]
    assert list(names) == list(range(len(names)))
    assert content["val"] == content["train"]
    for path in (source.out / content["train"]).iterdir():
        assert path.suffix in {".jpg", ".jpeg", ".png"}
        with Image.open(path) as picture:
            width, height = picture.size
        text = (source.out / f"labels/train/{path.stem}.txt").read_text("ascii")
        for label, *texts in (row.split() for row in text.splitlines()):
            numbers = np.array(texts, dtype=np.float32)
            assert ((numbers >= 0) & (numbers <= 1)).all()
            box, mask = None, None
            if len(numbers) == 4:
                x, y, w, h = numbers * np.float32([width, height, width, height])
                box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            else:
                assert len(numbers) >= 6
                # Cutting off the decimals, in float32, must find the pixel corners.
                points = (numbers.reshape(-1, 2) * np.float32([width, height])).astype(np.int32)
                mask = even_odd(points, (height, width))
            yield source.ids[path.stem], source.label(names[int(label)]), mask, box


def even_odd(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centers lie inside: an odd number of edges to the left of them.

    Lines that join rings may slant; drawn there and back, each is crossed an even number of times.
    """
    mask = np.zeros(size, dtype=bool)
    for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if ya != yb:
            rows = slice(min(ya, yb), max(ya, yb))
            y = np.arange(rows.start, rows.stop)[:, None] + 0.5
            x = xa + (y - ya) * (xb - xa) / (yb - ya)
            mask[rows] ^= x < np.arange(size[1]) + 0.5
    return mask


def read_masks(source: Source) -> Iterator[Found]:
    table = pd.read_csv(source.out / "masks.csv", dtype={"image_id": str})
    for row in table.itertuples():
        picture = Image.open(source.out / row.file)
        assert picture.mode == "L"
        values = np.array(picture)
        assert set(np.unique(values)) <= {0, 255}
        yield row.image_id, row.label, values == 255, (row.x0, row.y0, row.x1, row.y1)


def read_image_folder(source: Source) -> Iterator[Found]:
    folder = source.out / "train"
    classes = ImageFolder(str(folder)).classes
    for line in (folder / "metadata.jsonl").read_text("ascii").splitlines():
        entry = json.loads(line)
        assert (folder / entry["file_name"]).is_file()
        objects = entry["objects"]
        assert len({len(values) for values in objects.values()}) == 1
        shown = source.label(entry["file_name"].split("/")[0])
        assert source.categories.ids[shown] in classes
        assert shown in objects["label"]
        size = [entry["height"], entry["width"]]
        for label, counts, box in zip(
            objects["label"], objects["mask"], objects["bbox"], strict=True
        ):
            mask = coco_mask.decode({"size": size, "counts": counts}).astype(bool)
            yield entry["image_id"], label, mask, corners(*box)


def read_label_studio(source: Source) -> Iterator[Found]:
    for path in sorted(source.out.glob("tasks-*.json")):
        for task in json.loads(path.read_text("ascii")):
            for region in (r for p in task.get("predictions", ()) for r in p["result"]):
                (name,) = region["value"][region["type"]]
                mask, box = None, None
                if region["type"] == "brushlabels":
                    mask = brush_mask(region)
                else:
                    width, height = region["original_width"], region["original_height"]
                    share = [region["value"][key] for key in ("x", "y", "width", "height")]
                    box = corners(*np.array(share) * [width, height, width, height] / 100)
                yield task["data"]["image_id"], source.label(name), mask, box


def brush_mask(region: Mapping[str, Any]) -> np.ndarray:
    shape = (region["original_height"], region["original_width"], 4)
    pixels = decode_brush(region["value"]["rle"]).reshape(shape)
    assert (pixels == pixels[:, :, 3:]).all()
    return pixels[:, :, 3] == 255


def decode_brush(code: list[int]) -> np.ndarray:
    """Values of a run-length code, bit by bit, by the format's description."""
    assert all(0 <= byte <= 255 for byte in code)
    bits = "".join(f"{byte:08b}" for byte in code)
    at = 0

    def read(width: int) -> int:
        nonlocal at
        at += width
        return int(bits[at - width : at], 2)

    count = read(32)
    value_bits = read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = read(1)
        length = read(length_bits[read(2)]) + 1
        if is_run:
            values += [read(value_bits)] * length
        else:
            values += [read(value_bits) for _ in range(length)]
    assert len(values) == count
    assert len(bits) - at < 8
    return np.array(values)


def read_cvat(source: Source) -> Iterator[Found]:
    root = ET.parse(source.out / "annotations.xml").getroot()
    for element in root.findall("image"):
        size = (int(element.get("height")), int(element.get("width")))
        stem = element.get("name").rsplit(".", 1)[0]
        for shape in element:
            label = source.label(shape.get("label"))
            if shape.tag == "box":
                box = tuple(float(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
                yield source.ids[stem], label, None, box
            else:
                yield source.ids[stem], label, cvat_mask(shape, size), None


def cvat_mask(element: ET.Element, size: tuple[int, int]) -> np.ndarray:
    """Mask of a shape, read as CVAT's importer reads it."""
    counts = list(map(int, element.get("rle").split(",")))
    left, top, width, height = (int(element.get(key)) for key in ("left", "top", "width", "height"))
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = values.reshape(height, width)
    return mask


def read_table(source: Source) -> Iterator[Found]:
    path = source.out / "boxes.csv"
    if path.is_file():
        table = pd.read_csv(path, dtype={"image_id": str})
    else:
        table = pd.read_parquet(source.out / "boxes.parquet")
    for row in table.itertuples():
        assert row.category_id == source.categories.ids[row.label]
        yield row.image_id, row.label, None, (row.x0, row.y0, row.x1, row.y1)


@dataclass(frozen=True)
class Case:
    """A format with options, its reader, what comes back, and how exactly boxes do."""

    name: str
    read: Callable[[Source], Iterator[Found]]
    gives: tuple[str, ...] = ("mask", "box")
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    exclusive: bool = False
    """A pixel has one label: that of the most probable of the classes whose masks share it."""


LABELS = {"boundary_ignore": 0}
CASES = {
    "coco": Case("coco", read_coco),
    "coco-polygon": Case("coco", read_coco, options={"shape": "polygon"}),
    "coco-box": Case("coco", read_coco, ("box",), {"shape": "box"}),
    "coco-own-reader": Case("coco", read_own(CocoDataset), options={"images": "copy"}),
    "voc": Case("voc", read_voc, options=LABELS, exclusive=True),
    "voc-own-reader": Case("voc", read_own(VocDataset), options=LABELS, exclusive=True),
    "yolo": Case("yolo", read_yolo, ("box",), tolerance=1e-4),
    "yolo-polygon": Case("yolo", read_yolo, ("mask",), {"shape": "polygon"}),
    "segmentation": Case("segmentation", read_segmentation, ("mask",), LABELS, exclusive=True),
    "masks": Case("masks", read_masks),
    "image_folder": Case("image_folder", read_image_folder),
    "label_studio": Case("label_studio", read_label_studio, tolerance=1e-9),
    "cvat": Case("cvat", read_cvat, options={"shapes": ("box", "mask"), "images": "link"}),
    "csv": Case("csv", read_table, ("box",)),
    "parquet": Case("parquet", read_table, ("box",)),
}
