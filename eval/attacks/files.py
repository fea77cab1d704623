"""Hostile files and configurations: each case writes its files and names the command."""

# ruff: noqa: E501 - the cases stand in rows

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes
    ----------
    group, name : str
    write : callable
        Writes the files into an empty folder, and returns the command's arguments. It gets the
        folder, and that of a run that is whole (a copy).
    says : str
        What standard output must hold: results that the attack must not take away.
    """

    group: str
    name: str
    write: Callable[[Path, Path], list[str]]
    says: str = ""


def cases() -> Iterator[Case]:
    """Yield all attacks."""
    for make in (
        *(_images, _masks, _xml, _coco, _lists, _configurations, _overrides, _checkpoints),
        *(_run_files, _maps, _corrections, _small_files),
    ):
        yield from make()


# ---- Images


def _encoded(
    form: str, mode: str = "RGB", size: tuple[int, int] = (60, 50), **options: Any
) -> bytes:
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    file = io.BytesIO()
    pixels.convert(mode).save(file, form, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *, extra: bytes = b"", depth: int = 8, color: int = 0) -> bytes:
    """Make a PNG without pixels that states any size."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _black_png(side: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", packed)
        + _chunk(b"IEND", b"")
    )


def _flipped(content: bytes, seed: int) -> bytes:
    rng, data = random.Random(seed), bytearray(content)
    for _ in range(8):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _images() -> Iterator[Case]:
    whole = {
        "jpeg": _encoded("JPEG"),
        "progressive": _encoded("JPEG", progressive=True),
        "png": _encoded("PNG"),
        "webp": _encoded("WEBP"),
        "bmp": _encoded("BMP"),
    }
    hostile: dict[str, bytes] = {}
    for form, content in whole.items():
        for share in (1, 30, 60, 99):
            hostile[f"{form} cut at {share} %"] = content[: max(12, len(content) * share // 100)]
        for seed in range(3):
            hostile[f"{form} flipped {seed}"] = _flipped(content, seed)
    for form in ("EPS", "TIFF", "GIF", "PCX", "PPM", "TGA", "ICO", "PDF"):
        hostile[f"{form} named png"] = _encoded(form)
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
    profile = _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
    hostile |= {
        "empty": b"",
        "text": b"no image\n" * 100,
        "html": b"<html>" * 50,
        "60,000 pixels a side": _png(60_000, 60_000),
        "2^31 pixels a side": _png(2**31 - 1, 2**31 - 1),
        "no pixels": _png(0, 5),
        "unknown color type": _png(9, 9, color=5),
        "97 Mpx of black": _black_png(9_870),
        "80 Mpx of black": _black_png(8_940),
        "text of 50 MB": _png(9, 9, extra=text),
        "profile of 50 MB": _png(9, 9, extra=profile),
        "webp of 16,383 a side": b"RIFF\x00\x01\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00"
        + b"\xff\x3f\x00\xff\x3f\x00" + bytes(50),
        "jpeg of 65,500 a side": whole["jpeg"].replace(
            struct.pack(">HH", 50, 60), struct.pack(">HH", 65_500, 65_500), 1
        ),
        "EPS with a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        b"(/tmp/wsl-attacked) (w) file closefile\n%%EOF\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "EXIF in a circle": _encoded(
            "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(100)
        ),
    }  # fmt: skip
    for name, content in hostile.items():
        yield Case("images", name, _one_image(content), says="2 images")
    for kind in ("pipe", "device", "folder", "loop", "dangling link", "link out of the folder"):
        yield Case("images", kind, _special_image(kind), says="2 images")
    names = ("-x.png", "a\nb.png", "\x1b[31mred.png", "=cmd|' C'!A0.png", "%n%s.png")
    for name in (*names, "<script>.png", "x" * 240 + ".png", "ünï☃.png", "a b'\"\\.png"):
        yield Case("images", f"named {name[:20]!r}", _one_image(whole["png"], name), "2 images")
    yield Case("images", "a name that is no text", _bytes_name)
    yield Case("images", "folders in circles", _circles, says="1 images")
    yield Case("images", "4 images of 88 Mpx", _many_large, says="4 images")


_RUN = [
    "--model",
    "demo",
    "--recipe",
    "plain",
    "--set",
    "run.workers=2",
    "--set",
    "run.batch_size=4",
]


def _folder(folder: Path) -> Path:
    images = folder / "images"
    images.mkdir()
    (images / "good.png").write_bytes(_encoded("PNG"))
    return images


def _run(folder: Path) -> list[str]:
    return ["run", str(folder / "images"), "--out", str(folder / "run"), *_RUN]


def _one_image(content: bytes, name: str = "hostile.png") -> Callable[[Path, Path], list[str]]:
    def write(folder: Path, _: Path) -> list[str]:
        (_folder(folder) / name).write_bytes(content)
        return _run(folder)

    return write


def _special_image(kind: str) -> Callable[[Path, Path], list[str]]:
    def write(folder: Path, _: Path) -> list[str]:
        path = _folder(folder) / "hostile.png"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
            (path / "b.png").write_bytes(_encoded("PNG"))
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "dangling link":
            path.symlink_to("nowhere")
        else:
            path.symlink_to("/etc/hostname")
        return _run(folder)

    return write


def _bytes_name(folder: Path, _: Path) -> list[str]:
    images = _folder(folder)
    (images / os.fsdecode(b"\xff\xfe.png")).write_bytes(_encoded("PNG"))
    return _run(folder)


def _circles(folder: Path, _: Path) -> list[str]:
    images = _folder(folder)
    folders = [images / f"f{n}" for n in range(8)]
    for one in folders:
        one.mkdir()
    for one in folders:
        for other in folders:
            (one / f"to {other.name}").symlink_to(other)
    return _run(folder)


def _many_large(folder: Path, _: Path) -> list[str]:
    images = folder / "images"
    images.mkdir()
    (images / "0.png").write_bytes(_black_png(9_380))
    for number in range(1, 4):
        (images / f"{number}.png").symlink_to("0.png")
    return _run(folder)


# ---- Annotations, read with maps by ``wsl score``

_BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
_OBJECT = f"<object><name>n01440764</name>{_BOX}</object>"


def _score(folder: Path, form: str, protocol: str = "max_box_acc", *more: str) -> list[str]:
    maps = folder / "maps"
    maps.mkdir(exist_ok=True)
    np.save(maps / "a.npy", np.random.default_rng(0).random((50, 60)))
    return [
        "score", "--maps", str(maps), "--data", form, "--root", str(folder),
        "--protocol", protocol, "--set", "score.step=0.1", *more,
    ]  # fmt: skip


def _voc_folder(folder: Path, xml: str | bytes) -> Path:
    for place in ("ImageSets/Main", "Annotations", "SegmentationObject", "SegmentationClass"):
        (folder / place).mkdir(parents=True)
    (folder / "ImageSets/Main/val.txt").write_text("a\n")
    content = xml if isinstance(xml, bytes) else xml.encode()
    (folder / "Annotations/a.xml").write_bytes(content)
    return folder


def _ilsvrc_folder(folder: Path, xml: str | bytes) -> Path:
    for place in ("Data", "Annotations", "ImageSets", "Masks"):
        (folder / place / "CLS-LOC/val").mkdir(parents=True)
    (folder / "ImageSets/CLS-LOC/val.txt").write_text("a 1\n")
    (folder / "LOC_synset_mapping.txt").write_text("n01440764 tench\n")
    content = xml if isinstance(xml, bytes) else xml.encode()
    (folder / "Annotations/CLS-LOC/val/a.xml").write_bytes(content)
    return folder


def _annotation(size: tuple[object, object] = (60, 50), objects: str = _OBJECT) -> str:
    width, height = size
    stated = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{stated}{objects}</annotation>"


def _masks() -> Iterator[Case]:
    hostile = {
        "EPS": _encoded("EPS"),
        "TIFF": _encoded("TIFF"),
        "GIF": _encoded("GIF"),
        "bomb": _png(60_000, 60_000),
        "97 Mpx": _black_png(9_870),
        "other size": _encoded("PNG", "L", (7, 7)),
        "cut": _encoded("PNG", "L")[:60],
        "empty": b"",
        "16 bits": _png(60, 50, depth=16),
        "JPEG": _encoded("JPEG", "L"),
    }

    def voc(content: bytes) -> Callable[[Path, Path], list[str]]:
        def write(folder: Path, _: Path) -> list[str]:
            _voc_folder(folder, _annotation())
            for kind in ("Object", "Class"):
                (folder / f"Segmentation{kind}/a.png").write_bytes(content)
            return _score(folder, "voc", "pxap")

        return write

    def ilsvrc(content: bytes) -> Callable[[Path, Path], list[str]]:
        def write(folder: Path, _: Path) -> list[str]:
            _ilsvrc_folder(folder, _annotation())
            (folder / "Masks/CLS-LOC/val/a.png").write_bytes(content)
            return _score(folder, "ilsvrc", "pxap")

        return write

    def wsol(content: bytes) -> Callable[[Path, Path], list[str]]:
        def write(folder: Path, _: Path) -> list[str]:
            (folder / "m.png").write_bytes(content)
            return _wsol(folder, localization="a.jpg,m.png,m.png\n")

        return write

    for name, content in hostile.items():
        for form in (voc, ilsvrc, wsol):
            yield Case("masks", f"{form.__name__}: {name}", form(content))


def _xml() -> Iterator[Case]:
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    number = _BOX.replace("<xmin>1</xmin>", "<xmin>{}</xmin>")
    hostile: dict[str, str | bytes] = {
        "entities": f'<!DOCTYPE a [<!ENTITY a0 "lol">{levels}]><annotation>&a9;</annotation>',
        "external entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        "<annotation>&x;</annotation>",
        "DTD": '<!DOCTYPE annotation SYSTEM "http://127.0.0.1/x.dtd"><annotation/>',
        "2 MB of spaces": f"<annotation>{' ' * 2_000_000}</annotation>",
        "300,000 levels": "<annotation>" + "<a>" * 300_000,
        "140,000 levels": f"<annotation>{'<a>' * 140_000}{'</a>' * 140_000}</annotation>",
        "size of 10^400": _annotation(("9" * 400, 5)),
        "size of 10^9": _annotation((10**9, 10**9)),
        "negative size": _annotation((-3, 5)),
        "box of nan": _annotation(objects=f"<object><name>n01440764</name>{number.format('nan')}</object>"),
        "box of 10^400": _annotation(objects=f"<object><name>n01440764</name>{number.format('9' * 400)}</object>"),
        "box reversed": _annotation(objects=f"<object><name>n01440764</name>{number.format('40')}</object>"),
        "no box": _annotation(objects="<object><name>n01440764</name></object>"),
        "no name": _annotation(objects=f"<object>{_BOX}</object>"),
        "UTF-16": _annotation().encode("utf-16"),
        "UTF-7": b"<?xml version='1.0' encoding='utf-7'?>" + _annotation().encode(),
        "NUL": _annotation().encode() + b"\0",
        "noise": random.Random(0).randbytes(2000),
    }  # fmt: skip
    for name, content in hostile.items():
        for form, make in (("voc", _voc_folder), ("ilsvrc", _ilsvrc_folder)):

            def write(
                folder: Path,
                _: Path,
                form: str = form,
                make: Callable[[Path, str | bytes], Path] = make,
                content: str | bytes = content,
            ) -> list[str]:
                return _score(make(folder, content), form)

            yield Case("XML", f"{form}: {name}", write)


_IMAGE = {"id": 1, "file_name": "a.jpg", "width": 60, "height": 50}


def _coco() -> Iterator[Case]:
    def runs(counts: object, size: object = (50, 60)) -> dict[str, Any]:
        return {"segmentation": {"size": size, "counts": counts}}

    zigzag = [value for n in range(300_000) for value in (n % 2 * 60, n % 3)]
    huge = {"width": 10**9, "height": 10**9}
    objects: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "image of 10^9": ({}, huge),
        "polygon of 10^9": ({"segmentation": [[0, 0, 10**9, 0, 10**9, 10**9]]}, huge),
        "image of 10^400": ({}, {"width": 10**400}),
        "height nan": ({}, {"height": float("nan")}),
        "box of 10^400": ({"bbox": [0, 0, 10**400, 1]}, {}),
        "box of infinity": ({"bbox": [0, 0, float("inf"), 1]}, {}),
        "area of 10^400": ({"area": 10**400}, {}),
        "polygon of 10^400": ({"segmentation": [[0, 0, 10**400, 1, 2, 2]]}, {}),
        "polygon far outside": ({"segmentation": [[0, 0, 1e8, 1, 2, 2]]}, {}),
        "long polygon": ({"segmentation": [zigzag]}, {}),
        "nested polygon": ({"segmentation": [[[0, 0, 1, 1, 2, 2]]]}, {}),
        "runs of 2^32": (runs([2**32, 48]), {}),
        "runs of 2^64": (runs([2**64 + 48]), {}),
        "negative runs": (runs([-1, 3001]), {}),
        "text of runs": (runs("o" * 12 + "0"), {}),
        "long text of runs": (runs("0" * 10**6), {}),
        "surrogate": (runs("\ud800"), {}),
        "size of 10^400": (runs([3000], (10**400, 6)), {}),
        "class list": ({"category_id": []}, {}),
        "class of 10^400": ({"category_id": 10**400}, {}),
    }
    for name, (annotation, image) in objects.items():
        content = {
            "images": [_IMAGE | image],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20]} | annotation
            ],
        }
        yield Case("COCO", name, _coco_case(json.dumps(content)))
    files = {
        "deep": "[" * 1_000_000,
        "long number": "1" * 5000,
        "byte order mark": "\ufeff{}",
        "null": "null",
        "no lists": "{}",
        "no images": json.dumps({"images": [], "categories": [], "annotations": []}),
        "images twice": json.dumps({"images": [_IMAGE, _IMAGE], "categories": [], "annotations": []}),
        "path out": json.dumps(
            {"images": [_IMAGE | {"file_name": "../../etc/passwd"}], "categories": [], "annotations": []}
        ),
        "annotation of no image": json.dumps(
            {"images": [_IMAGE], "categories": [{"id": 1, "name": "a"}], "annotations": [{"image_id": [1]}]}
        ),
    }  # fmt: skip
    for name, text in files.items():
        yield Case("COCO", name, _coco_case(text))


def _coco_case(text: str) -> Callable[[Path, Path], list[str]]:
    def write(folder: Path, _: Path) -> list[str]:
        (folder / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        return _score(folder, "coco", "pxap", "--set", f"data.annotations={folder / 'a.json'}")

    return write


def _wsol(
    folder: Path,
    *,
    ids: str = "a.jpg\n",
    labels: str = "a.jpg,0\n",
    sizes: str = "a.jpg,60,50\n",
    localization: str = "a.jpg,1,1,30,30\n",
) -> list[str]:
    lists = folder / "lists" / "val"
    lists.mkdir(parents=True)
    for name, text in (
        ("image_ids", ids), ("class_labels", labels), ("image_sizes", sizes), ("localization", localization),
    ):  # fmt: skip
        (lists / f"{name}.txt").write_text(text)
    protocol = "pxap" if "png" in localization else "max_box_acc"
    return _score(folder, "wsol", protocol, "--set", f"data.annotations={folder / 'lists'}")


def _lists() -> Iterator[Case]:
    hostile: dict[str, dict[str, str]] = {
        "path out": {"ids": "../../etc/passwd\n"},
        "absolute path": {"ids": "/etc/passwd\n"},
        "image twice": {"ids": "a.jpg\na.jpg\n"},
        "no images": {"ids": ""},
        "class of 10^400": {"labels": f"a.jpg,{'9' * 400}\n"},
        "class of 10^9": {"labels": "a.jpg,999999999\n"},
        "negative class": {"labels": "a.jpg,-1\n"},
        "size of 10^5000": {"sizes": f"a.jpg,{'9' * 5000},5\n"},
        "size of 10^9": {"sizes": "a.jpg,999999999,999999999\n"},
        "size 0": {"sizes": "a.jpg,0,0\n"},
        "box of 10^400": {"localization": f"a.jpg,{'9' * 400},1,3,3\n"},
        "box reversed": {"localization": "a.jpg,30,30,1,1\n"},
        "mask out": {"localization": "a.jpg,../../m.png,\n"},
        "no mask": {"localization": "a.jpg,m.png,\n"},
    }
    for name, changed in hostile.items():
        yield Case("lists", name, lambda folder, _, changed=changed: _wsol(folder, **changed))


# ---- Configurations and arguments


def _configurations() -> Iterator[Case]:
    def layered(first: str, line: Callable[[int], str], count: int) -> str:
        return first + "".join(map(line, range(1, count)))

    hostile = {
        "aliases": layered(
            "a0: &a0 {x: 1}\n",
            lambda n: f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n", 10,
        ),
        "merges": layered(
            "a0: &a0 {x: 1}\n", lambda n: f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n", 9
        ),
        "chain": layered("a0: &a0 [1]\n", lambda n: f"a{n}: &a{n} [*a{n - 1}]\n", 3000),
        "10 MB": "a" * 10_000_000,
        "flow": "[" * 999_999,
        "block": "- " * 490_000,
        "many values": "[" + "1," * 490_000 + "]",
        "sexagesimal": "a: " + "1:" * 490_000 + "1",
        "long number": "a: " + "9" * 999_000,
        "program": "seed: !!python/object/apply:os.system [touch /tmp/wsl-attacked]",
        "own alias": "run: &a {run: *a}",
        "key twice": "seed: 1\nseed: 2",
        "wrong integer": "seed: !!int x",
        "wrong date": "seed: !!timestamp 2001-99-99",
        "NUL": "seed: \0",
        "list": "- 1",
        "number": "1",
        "infinity": "seed: .inf",
        "key that is a list": "? [a, b]\n: 1",
        "extends itself": "extends: a.yaml",
        "extends a device": "extends: /dev/zero",
        "extends a store": "extends: nowhere://a/b.yaml",
        "chunks of 0": "data: {format: files, root: .}\nrun: {chunk_size: 0}",
        "10^18 workers": "data: {format: files, root: .}\nrun: {workers: 1000000000000000000}",
        "nested text": "data: {root: {a: b}}",
    }  # fmt: skip
    for name, text in hostile.items():

        def write(folder: Path, _: Path, text: str = text) -> list[str]:
            (folder / "a.yaml").write_text(text)
            return ["config", "show", str(folder / "a.yaml")]

        yield Case("configurations", name, write)
    for kind in ("pipe", "device", "folder", "10 TB"):

        def special(folder: Path, _: Path, kind: str = kind) -> list[str]:
            path = folder / "a.yaml"
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "folder":
                path.mkdir()
            elif kind == "device":
                path.symlink_to("/dev/zero")
            else:
                with path.open("wb") as file:
                    file.truncate(10**13)
            return ["config", "show", str(path)]

        yield Case("configurations", kind, special)


def _overrides() -> Iterator[Case]:
    for text in (
        "seed=!!int x", "seed=&a [*a]", "seed={", f"seed={'9' * 5000}", "=1", "a", "a.b.c.d=1",
        "seed=" + "[" * 5000, "run.time_limit=-1", "run.time_limit=.nan", "data.max_pixels=99999999999999999999",
    ):  # fmt: skip
        yield Case(
            "arguments", f"--set {text[:30]}",
            lambda folder, _, text=text: ["config", "show", "default", "--set", text],
        )  # fmt: skip
    for arguments in (
        ["run", "nowhere", "--out", "run", "--model", "demo"],
        ["run", "\0", "--out", "run"],
        ["score", "nowhere"], ["report", "nowhere"], ["export", "nowhere", "--format", "coco", "--out", "x"],
        ["run", "--status", "nowhere"], ["import", "nowhere", "a.json", "--out", "x"],
        ["run", "--status", "nowhere://bucket/run"],
    ):  # fmt: skip
        yield Case("arguments", " ".join(map(repr, arguments)), lambda folder, _, a=arguments: a)


# ---- Checkpoints


class _Program:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch /tmp/wsl-attacked",))


def _safetensors(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _checkpoints() -> Iterator[Case]:
    import torch

    def saved(content: object, **options: Any) -> bytes:
        file = io.BytesIO()
        torch.save(content, file, **options)
        return file.getvalue()

    def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
        return {"fc.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    wide = torch.zeros(1).expand(2**33)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        archive.writestr("a/data/0", bytes(50_000_000))
    whole = saved({"fc.weight": torch.ones(3, 4), "fc.bias": torch.zeros(3)})
    files = {
        "program.pth": pickle.dumps(_Program()),
        "program in a zip.pth": saved({"a": _Program()}),
        "strides.pth": saved({"fc.weight": wide.view(2**33, 1), "fc.bias": wide}),
        "meta.pth": saved({"fc.weight": torch.empty(2**33, device="meta")}),
        "sparse.pth": saved({"fc.weight": torch.sparse_coo_tensor(size=(2**30, 2**30))}),
        "compressed.pth": bomb.getvalue(),
        "cut.pth": whole[: len(whole) // 2],
        "flipped.pth": _flipped(whole, 1),
        "list.pth": saved([1, 2]),
        "empty.pth": b"",
        "noise.pth": random.Random(1).randbytes(5000),
        "header of 2^60.safetensors": _safetensors({}, length=2**60),
        "shape of 2^33.safetensors": _safetensors(entry([2**33, 512], [0, 4]), bytes(4)),
        "offsets.safetensors": _safetensors(entry([1], [4, 0]), bytes(4)),
        "no type.safetensors": _safetensors(entry([1], [0, 4], "Q9"), bytes(4)),
        "3 million classes.safetensors": _safetensors(
            entry([3_000_000, 1], [0, 12_000_000]), bytes(12_000_000)
        ),
        "deep.safetensors": _safetensors(b"[" * 100_000),
        "empty.safetensors": b"",
    }
    for name, content in files.items():

        def write(folder: Path, _: Path, name: str = name, content: bytes = content) -> list[str]:
            (folder / name).write_bytes(content)
            _folder(folder)
            return [*_run(folder), "--model", "squeezenet1_0", "--checkpoint", str(folder / name)]

        yield Case("checkpoints", name, write)


# ---- Files of a run


def _run_files() -> Iterator[Case]:
    def score(run: Path) -> list[str]:
        return ["score", str(run), "--protocol", "max_box_acc", "--set", "score.step=0.1"]

    def changed(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path, Path], list[str]]:
        def write(_: Path, run: Path) -> list[str]:
            file = run / path
            file.write_bytes(change(file.read_bytes()))
            return score(run)

        return write

    changes: dict[str, Callable[[bytes], bytes]] = {
        "cut": lambda content: content[: len(content) // 2],
        "empty": lambda content: b"",
        "noise": lambda content: random.Random(2).randbytes(len(content)),
        "flipped": lambda content: bytes(b ^ 0xFF if n % 50 == 0 else b for n, b in enumerate(content)),
        "doubled": lambda content: content * 2,
    }  # fmt: skip
    for path in ("run.json", "predictions/part-00000.parquet", "maps/part-00000.npz"):
        for name, change in changes.items():
            yield Case("run", f"{path} {name}", changed(path, change))
    for key, value in (
        ("schema", 99), ("config", []), ("dataset", {"count": 10**400}), ("categories", {"names": [[]]}),
        ("categories", {"names": ["a"] * 10**6, "ids": None}), ("config", {"data": {"format": "voc"}}),
    ):  # fmt: skip

        def replaced(content: bytes, key: str = key, value: object = value) -> bytes:
            return json.dumps(json.loads(content) | {key: value}).encode()

        yield Case("run", f"{key}: {str(value)[:30]}", changed("run.json", replaced))
    for path in ("run.json", "predictions/part-00000.parquet", "maps/part-00000.npz"):
        for kind in ("pipe", "device"):

            def special(_: Path, run: Path, path: str = path, kind: str = kind) -> list[str]:
                (run / path).unlink()
                if kind == "pipe":
                    os.mkfifo(run / path)
                else:
                    (run / path).symlink_to("/dev/zero")
                return score(run)

            yield Case("run", f"{path} is a {kind}", special)


def _header(shape: object, descr: object = "<f8") -> bytes:
    file = io.BytesIO()
    described = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)  # type: ignore[arg-type]
    return file.getvalue()


def _maps() -> Iterator[Case]:
    def archive(content: bytes, **options: Any) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", **options) as written:
            written.writestr("0.npy", content)
        return file.getvalue()

    pickled = io.BytesIO()
    np.save(pickled, np.array([_Program()], dtype=object), allow_pickle=True)
    zeros = _header((20_000, 20_000)) + bytes(3_200_000)
    files = {
        "a.npy": b"", "b.npy": pickled.getvalue(), "c.npy": _header((10**6, 10**6)), "d.npy": _header((2**62, 8)),
        "e.npy": _header((3, 3), "|O"), "f.npy": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000,
        "g.npy": _header((0, 5)), "h.npy": _header((3, 3), "<c16") + bytes(144),
        "i.npz": archive(_header((10**6, 10**6))), "j.npz": archive(zeros, compression=zipfile.ZIP_DEFLATED),
        "k.npz": archive(pickled.getvalue()), "l.npz": b"PK\x03\x04" + bytes(100),
        "m.png": _png(60_000, 60_000), "n.png": _encoded("PNG"), "o.png": _encoded("GIF"), "p.png": b"",
    }  # fmt: skip
    for name, content in files.items():

        def write(folder: Path, _: Path, name: str = name, content: bytes = content) -> list[str]:
            arguments = _wsol(folder)
            (folder / "maps/a.npy").unlink()
            (folder / f"maps/a{Path(name).suffix}").write_bytes(content)
            return arguments

        yield Case("maps", name, write)


# ---- Corrections and small files


def _corrections() -> Iterator[Case]:
    def region(kind: str, size: tuple[object, object] = (50, 60), **value: Any) -> dict[str, Any]:
        return {
            "id": "x", "type": kind, "original_height": size[0], "original_width": size[1],
            "value": {**value, kind: ["a"]},
        }  # fmt: skip

    def tasks(*regions: object) -> str:
        return json.dumps(
            [{"data": {"image_id": "good"}, "annotations": [{"result": list(regions)}]}]
        )

    box = {"y": 1, "width": 5, "height": 5}
    files = {
        "deep.json": "[" * 1_000_000,
        "object.json": "{}",
        "regions.json": tasks(1, None, "x"),
        "annotations.json": json.dumps([{"data": {}, "annotations": [1]}]),
        "huge brush.json": tasks(region("brushlabels", (10**9, 10**9), rle=[])),
        "size of 10^400.json": tasks(region("brushlabels", (10**400, 1), rle=[])),
        "nan.json": tasks(region("rectanglelabels", x=float("nan"), **box)),
        "text.json": tasks(region("rectanglelabels", x="1", **box)),
        "polygon.json": tasks(region("polygonlabels", points=[[0, 0], [100, 100]] * 200_000)),
        "far polygon.json": tasks(region("polygonlabels", points=[[0, 0], [1e9, 0], [1e9, 1e9]])),
        "entities.xml": '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>',
        "huge.xml": '<annotations><image name="good" width="999999999" height="999999999">'
        '<mask label="a" rle="1" left="0" top="0" width="1" height="1"/></image></annotations>',
        "runs.xml": '<annotations><image name="good" width="60" height="50">'
        f'<mask label="a" rle="{"9" * 5000}" left="0" top="0" width="1" height="1"/></image></annotations>',
        "box.xml": '<annotations><image name="good" width="60" height="50">'
        '<box label="a" xtl="nan" ytl="1" xbr="inf" ybr="3"/></image></annotations>',
        "noise.zip": "PK\x03\x04 noise",
    }
    for name, text in files.items():

        def write(folder: Path, run: Path, name: str = name, text: str = text) -> list[str]:
            (folder / name).write_text(text)
            return ["import", str(run), str(folder / name), "--out", str(folder / "new")]

        yield Case("corrections", name, write)


def _small_files() -> Iterator[Case]:
    texts: dict[str, bytes | None] = {
        "pipe": None,
        "noise": random.Random(3).randbytes(500),
        "deep": b"[" * 100_000,
        "long line": b"a," * 400_000,
    }
    commands: dict[str, Callable[[Path, str, Path], list[str]]] = {
        "groups.csv": lambda folder, path, run: [*_run(folder), "--groups", path],
        "groups.yaml": lambda folder, path, run: [*_run(folder), "--groups", path],
        "categories.txt": lambda folder, path, run: [*_run(folder), "--categories", path],
        "classes.txt": lambda folder, path, run: [
            "export", str(run), "--format", "coco", "--out", str(folder / "x"),
            "--set", f"export.class_list={path}",
        ],
        "blacklist.txt": lambda folder, path, run: ["score", str(run), "--set", f"score.blacklist={path}"],
        "space.yaml": lambda folder, path, run: [
            "tune", "plain", "--out", str(folder / "x"), "--space", path,
            "--set", f"data={{format: files, root: {folder}}}", "--set", "model.source=demo",
        ],
    }  # fmt: skip
    for kind, content in texts.items():
        for name, arguments in commands.items():

            def write(
                folder: Path,
                run: Path,
                name: str = name,
                content: bytes | None = content,
                arguments: Callable[[Path, str, Path], list[str]] = arguments,
            ) -> list[str]:
                path = folder / name
                _folder(folder)
                if content is None:
                    os.mkfifo(path)
                else:
                    path.write_bytes(content)
                return arguments(folder, str(path), run)

            yield Case("small files", f"{name}: {kind}", write)
