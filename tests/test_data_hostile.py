"""Annotations, masks, lists and folders that are damaged or meant to harm."""

import io
import json
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsl.data.categories import Categories
from wsl.data.images import load_image, load_values
from wsl.data.open import open_dataset
from wsl.data.parsing import inside, read_text, read_xml
from wsl.data.readers.coco import CocoOptions
from wsl.data.readers.cub import CubOptions
from wsl.data.readers.files import FilesOptions, list_images
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.data.readers.voc import VocOptions
from wsl.data.readers.wsol import WsolOptions
from wsl.errors import AnnotationError, DataError, ImageError

CATEGORIES = Categories(("cat", "dog"), ("n00000001", "n00000002"))
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
XML = (
    "<annotation><size><width>{0}</width><height>{1}</height></size>"
    f"<object><name>n00000001</name>{BOX}</object></annotation>"
)


def encoded(form, mode="L", size=(8, 6)):
    file = io.BytesIO()
    Image.new(mode, size).save(file, form)
    return file.getvalue()


def huge_png(width, height):
    """A PNG of 100 bytes that states any size."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


HOSTILE_MASKS = {
    "EPS": (encoded("EPS"), "must be a JPEG, PNG, WebP or BMP, but is none of them"),
    "TIFF": (encoded("TIFF"), "but is a TIFF"),
    "GIF": (encoded("GIF"), "but is a GIF"),
    "PCX": (encoded("PCX"), "but is none of them"),
    "bomb": (huge_png(60_000, 60_000), "must have at most 89,478,485 pixels"),
    "cut": (encoded("PNG")[:40], "cannot be read"),
    "empty": (b"", "the file is empty"),
    "16 bits": (encoded("PNG", "I;16"), "must have at most 8 bits per pixel"),
}


def voc(root, mask):
    for place in ("ImageSets/Main", "Annotations", "SegmentationObject"):
        (root / place).mkdir(parents=True)
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    (root / "Annotations/a.xml").write_text(
        f"<annotation><object><name>cat</name>{BOX}</object></annotation>"
    )
    (root / "SegmentationObject/a.png").write_bytes(mask)
    return VocOptions(root=root)


def ilsvrc(root, mask=None, size=(8, 6)):
    for place in ("Data", "Annotations", "ImageSets", "Masks"):
        (root / place / "CLS-LOC/val").mkdir(parents=True)
    (root / "ImageSets/CLS-LOC/val.txt").write_text("a 1\n")
    (root / "Annotations/CLS-LOC/val/a.xml").write_text(XML.format(*size))
    if mask is not None:
        (root / "Masks/CLS-LOC/val/a.png").write_bytes(mask)
    return IlsvrcOptions(root=root)


def cub(root, mask):
    for name, content in {
        "images": "1 001.cat/a.jpg\n", "image_class_labels": "1 1\n", "classes": "1 001.cat\n",
        "bounding_boxes": "1 1 1 2 2\n", "train_test_split": "1 0\n",
    }.items():  # fmt: skip
        (root / f"{name}.txt").write_text(content)
    (root / "segmentations/001.cat").mkdir(parents=True)
    (root / "segmentations/001.cat/a.png").write_bytes(mask)
    return CubOptions(root=root)


def wsol(root, mask, name="a.png", sizes="a.jpg,8,6\n"):
    lists = root / "lists" / "val"
    lists.mkdir(parents=True)
    (lists / "image_ids.txt").write_text("a.jpg\n")
    (lists / "class_labels.txt").write_text("a.jpg,1\n")
    (lists / "image_sizes.txt").write_text(sizes)
    (lists / "localization.txt").write_text(f"a.jpg,{name},\n")
    (root / "a.png").write_bytes(mask)
    return WsolOptions(root=root, annotations=root / "lists")


@pytest.mark.parametrize("kind", HOSTILE_MASKS)
@pytest.mark.parametrize("make", [voc, ilsvrc, cub, wsol], ids=lambda make: make.__name__)
def test_masks_are_opened_as_images_are(tmp_path, monkeypatch, make, kind):
    def run(*arguments, **options):
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", run)
    content, message = HOSTILE_MASKS[kind]
    dataset = open_dataset(make(tmp_path, content), CATEGORIES)
    with pytest.raises(AnnotationError, match=r"a\.png") as caught:
        dataset.sample(0)
    assert message in str(caught.value) or "must be 8 × 6 pixels" in str(caught.value)


def test_a_label_image_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(huge_png(9000, 9000))  # has no pixels at all
    with pytest.raises(ImageError, match="must be 8 × 6 pixels, but is 9000 × 9000"):
        load_values(tmp_path / "a.png", size=(6, 8))


def test_max_pixels_is_of_masks_and_of_stated_sizes(tmp_path):
    options = ilsvrc(tmp_path, encoded("PNG")).model_copy(update={"max_pixels": 47})
    with pytest.raises(AnnotationError, match=r"at most 47 pixels \(data\.max_pixels\)"):
        open_dataset(options, CATEGORIES).sample(0)


@pytest.mark.parametrize(
    "size", [("9" * 400, 5), ("9" * 5000, 5), (10**9, 10**8), ("-3", 5), ("x", 5)]
)
def test_sizes_in_xml_are_bounded(tmp_path, size):
    dataset = open_dataset(ilsvrc(tmp_path, size=size), CATEGORIES)
    with pytest.raises(AnnotationError, match=r"a\.xml: .*(at most|positive integers)") as caught:
        dataset.sample(0)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>',
        '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>',
        "<annotation>" + " " * 1_000_001 + "</annotation>",
        "<annotation>" + "<a>" * 300_000,
        "<html/>",
        "",
    ],
    ids=["DTD", "entity", "large", "deep", "other", "empty"],
)
@pytest.mark.parametrize("make", [voc, ilsvrc], ids=lambda make: make.__name__)
def test_xml_of_all_formats_has_one_set_of_rules(tmp_path, make, content):
    options = make(tmp_path, encoded("PNG"))
    next(tmp_path.rglob("a.xml")).write_text(content)
    with pytest.raises(AnnotationError, match=r"a\.xml"):
        open_dataset(options, CATEGORIES).sample(0)


def test_deep_xml_is_read_and_freed(tmp_path):
    (tmp_path / "a.xml").write_text(f"<annotation>{'<a>' * 140_000}{'</a>' * 140_000}</annotation>")
    assert read_xml(tmp_path / "a.xml").tag == "annotation"


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize(
    "read", [read_text, read_xml, load_image, load_values, Categories.from_file],
    ids=lambda read: read.__name__,
)  # fmt: skip
@pytest.mark.parametrize("device", [None, "/dev/zero"], ids=["pipe", "device"])
def test_pipes_and_devices_are_not_opened(pipe, read, device):
    with pytest.raises(DataError, match=r"must be (a regular|an image) file"):
        read(Path(device) if device else pipe)


# ---- COCO

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}


def coco(root, annotation=(), image=(), **lists):
    content = {
        "images": [IMAGE | dict(image)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]} | dict(annotation)
        ],
    } | lists
    path = root / "a.json"
    path.write_text(json.dumps(content))
    return CocoOptions(root=root, annotations=path)


def runs(counts, size=(6, 8)):
    return {"segmentation": {"size": list(size), "counts": counts}}


ZIGZAG = [value for n in range(300_000) for value in (n % 2 * 8, n % 3)]
TOO_LARGE = {"width": 10**9, "height": 10**9}


@pytest.mark.parametrize(
    ("annotation", "image"),
    [
        ({}, TOO_LARGE),
        ({"segmentation": [[0, 0, 10**9, 0, 10**9, 10**9]]}, TOO_LARGE),
        ({}, {"width": 10**400}),
        ({}, {"height": float("nan")}),
        ({}, {"width": True}),
        ({"bbox": [0, 0, 10**400, 1]}, {}),
        ({"bbox": [0, 0, float("inf"), 1]}, {}),
        ({"bbox": "x" * 10**5}, {}),
        ({"area": 10**400}, {}),
        ({"area": -1}, {}),
        ({"segmentation": [[0, 0, 10**400, 1, 2, 2]]}, {}),
        ({"segmentation": [[0, 0, 1e8, 1, 2, 2]]}, {}),
        ({"segmentation": [ZIGZAG]}, {}),
        ({"segmentation": [[[0, 0, 1, 1, 2, 2]]]}, {}),
        ({"segmentation": {}}, {}),
        (runs([2**32, 48]), {}),
        (runs([2**64 + 48]), {}),
        (runs([-1, 49]), {}),
        (runs([10**400]), {}),
        (runs(["48"]), {}),
        (runs("o" * 12 + "0"), {}),
        (runs("0" * 10**6), {}),
        (runs("\ud800"), {}),
        (runs([48], size=(8, 6)), {}),
        (runs([48], size=(10**400, 6)), {}),
        ({"category_id": []}, {}),
        ({"category_id": 10**400}, {}),
        ({"iscrowd": [1]}, {}),
        ({"id": "x" * 10**5, "bbox": None}, {}),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_a_hostile_object_of_coco_concerns_its_image(tmp_path, annotation, image):
    dataset = open_dataset(coco(tmp_path, annotation, image), CATEGORIES)
    with pytest.raises(AnnotationError, match=r"a\.json: image 'a\.jpg'") as caught:
        dataset.sample(0)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "lists",
    [
        {"images": [IMAGE | {"file_name": name}]}
        for name in ("", ".", "./", "a/..", "/", "\ud800.jpg", 7, None, ["a"], "\0")
    ]
    + [
        {"images": [IMAGE | {"id": 10**400}]},
        {"images": [IMAGE, IMAGE]},
        {"images": {}},
        {"categories": [{"id": 1, "name": ""}]},
        {"categories": [{"id": [], "name": "cat"}]},
        {"categories": None},
        {"annotations": [{"image_id": [1]}]},
        {"annotations": [[]]},
    ],
    ids=lambda lists: json.dumps(lists)[:40],
)
def test_a_hostile_list_of_coco_is_refused(tmp_path, lists):
    with pytest.raises(DataError, match=r"a\.json") as caught:
        open_dataset(coco(tmp_path, **lists), CATEGORIES)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text", ["[" * 10**6, "1" * 5000, "\ufeff{}", "{", "null"], ids=lambda t: t[:3]
)
def test_json_that_is_no_object_is_refused(tmp_path, text):
    options = coco(tmp_path)
    options.annotations.write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        open_dataset(options, CATEGORIES)


# ---- Lists of wsolevaluation


def test_masks_of_lists_lie_in_the_datasets_folder(tmp_path):
    with pytest.raises(DataError, match="must name files in the dataset's folder"):
        open_dataset(wsol(tmp_path, b"", name="../../secret.png"), CATEGORIES)


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "1e5", "0"])
def test_sizes_in_lists_are_bounded(tmp_path, number):
    with pytest.raises(DataError, match=r"line 1 of .*image_sizes\.txt"):
        open_dataset(wsol(tmp_path, b"", sizes=f"a.jpg,{number},6\n"), CATEGORIES)


@pytest.mark.parametrize("name", ["", ".", "./", "a/."])
def test_names_of_nothing_are_refused(name, tmp_path):
    if name == "a/.":  # is "a"
        assert inside([name], tmp_path) == (name,)
        return
    with pytest.raises(DataError, match="must name files"):
        inside([name], tmp_path)


# ---- Folders


def test_folders_linked_in_circles_are_listed_once(tmp_path):
    folders = [tmp_path / f"f{n}" for n in range(8)]
    for folder in folders:
        folder.mkdir()
        (folder / "a.png").touch()
    for folder in folders:
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    files, skipped = list_images(tmp_path)
    assert files == [f"f{n}/a.png" for n in range(8)]
    assert skipped == 64


def test_a_folder_elsewhere_is_listed_by_the_first_link_to_it(tmp_path):
    (tmp_path / "elsewhere/in").mkdir(parents=True)
    (tmp_path / "elsewhere/in/a.png").touch()
    root = tmp_path / "root"
    root.mkdir()
    for name in ("z", "b", "c.png"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    assert list_images(root) == (["b/in/a.png"], 2)


def test_a_looping_link_is_an_image_that_fails_and_names_itself(tmp_path):
    (tmp_path / "b.png").write_bytes(encoded("PNG"))
    (tmp_path / "a.png").symlink_to("a.png")
    (tmp_path / "folder").symlink_to("folder")
    dataset = open_dataset(FilesOptions(root=tmp_path), CATEGORIES)
    assert dataset.image_ids == ("a", "b")
    with pytest.raises(ImageError, match=r"a\.png: cannot be read: Too many levels"):
        load_image(dataset.sample(0).path)
    assert np.all(load_image(dataset.sample(1).path) == 0)
