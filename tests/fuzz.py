"""Feed damaged files to the readers: whatever comes, only wsl's own errors may come out.

    PYTHONPATH=tests python tests/fuzz.py --seconds 60 --out fuzz.json

Valid files of each kind are changed at random (bits, bytes, pieces doubled, moved or cut, words of
the format put in) and read. Each reader runs in a process of its own, so that a crash of native
code is found like any other; a call that takes longer than ten seconds is a find, too. The input of
every find is kept in the folder of ``--finds``. The seed makes a run repeatable, if not its length.
`test_fuzz` does a second of each.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Reader = Callable[[Path], object]

XML = b"""<?xml version="1.0" encoding="utf-8"?>
<annotation><folder>val</folder><filename>a</filename><segmented>0</segmented>
<size><width>500</width><height>375</height><depth>3</depth></size>
<object><name>n01440764</name><pose>Left</pose><truncated>0</truncated><difficult>1</difficult>
<bndbox><xmin>10</xmin><ymin>20.5</ymin><xmax>300</xmax><ymax>340</ymax></bndbox></object>
<object><name>n01440764</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>
</object></annotation>"""

YAML = b"""data: {format: folder, root: images, limit: 10}
model: {source: torchvision, architecture: resnet50, weights: DEFAULT}
saliency: {method: gradient, views: {kind: squash}}
classes: {select: both, top_k: 5}
localize: {seeds: {foreground: 0.95}, working_size: 224, refine: {method: grabcut, iterations: 5}}
run: {chunk_size: 256, batch_size: 32, maps: false}
seed: 0
"""

# ruff: noqa: E501 - the words stand in rows
RECIPES = Path(__file__).resolve().parents[1] / "wsl" / "recipes"

WORDS: dict[str, list[bytes]] = {
    "xml": [
        b"<object>", b"</object>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;",
        b"&#x110000;", b"<bndbox>", b"nan", b"inf", b"1e400", b"-1", b"9" * 400, b"<?xml?>", b"]]>",
        b"<![CDATA[", b'encoding="utf-16"', b'encoding="utf-7"', b'encoding="nothing"', b"xmlns:a='b'", b"\xff\xfe",
    ],
    "config": [
        b"&a", b"*a", b"<<: ", b"!!python/object/apply:os.system [id]", b"? ", b"- ", b"{", b"[", b"~",
        b".inf", b".nan", b"1e999", b"0x10", b"9" * 400, b"!!binary a", b"!!timestamp 2", b"\t", b"%",
        b"\x00", b"2001-99-99", b"!!int x", b"!!set {a, b}", b"s3://a/b", b"1:60:60",
    ],
    "voc": [
        b"<object>", b"</object>", b"<!DOCTYPE a>", b"&b;", b"nan", b"inf", b"1e400", b"-1", b"9" * 400,
        b"<size/>", b"<width>", b"<name/>", b"<difficult>2</difficult>", b"encoding='utf-7'",
    ],
    "coco": [
        b"null", b"[]", b"{}", b"NaN", b"-Infinity", b"1e999", b"-1", b"9" * 400, b"9" * 5000, b'""', b"true",
        b"4294967296", b"18446744073709551616", b'"\\ud800"', b'"counts": "', b"[[", b"]]", b'".."', b"1e8",
    ],
    "mask": [b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"zTXt", b"iCCP", b"II*\x00", b"GIF89a", b"%!PS-Adobe-3.0 EPSF", b"\xff" * 8],
    "checkpoint": [b"PK\x01\x02", b"PK\x05\x06", b"\x80\x02", b"ctorch._utils\n_rebuild_tensor_v2\n", b"\xff" * 8, b'"shape":[', b"F32", b"9" * 30],
    "run": [b"null", b"[]", b"{}", b"1e999", b"NaN", b'"schema": 2', b"\\ud800", b"9" * 5000],
    "image": [b"\xff\xda", b"\xff\xc0", b"IHDR", b"IDAT", b"eXIf", b"VP8X", b"\x00" * 8, b"\xff" * 8],
    "predictions": [b"PAR1", b"\x00" * 8, b"\xff" * 8, b"\x15\x00"],
    "maps": [b"PK\x03\x04", b"PK\x01\x02", b"\x93NUMPY", b"<f2", b"|O", b"\xff" * 8, b"(999999999,)"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="For each reader.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=[*READERS])
    parser.add_argument("--finds", type=Path, default=Path(tempfile.gettempdir()) / "wsl-finds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {}
    for name in arguments.only or READERS:
        found[name] = fuzz(name, arguments.seconds, arguments.seed, arguments.finds)
        print(f"{name}: {found[name]}", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def fuzz(name: str, seconds: float, seed: int, finds: Path) -> dict[str, Any]:
    """Fuzz one reader in processes of their own, a new one after each crash."""
    finds.mkdir(parents=True, exist_ok=True)
    total: dict[str, Any] = {"calls": 0, "read": 0, "refused": 0, "finds": []}
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(
                target=_work, args=(name, left, seed, Path(folder), theirs)
            )
            process.start()
            theirs.close()
            try:
                result = ours.recv()
            except EOFError:  # killed by a signal
                result = None
            process.join()
            last = Path(folder) / "input"
            if result is None:
                result = {"calls": 0, "read": 0, "refused": 0, "find": f"exit {process.exitcode}"}
            for key in ("calls", "read", "refused"):
                total[key] += result[key]
            if result.get("find"):
                kept = finds / f"{name}-{len(total['finds'])}"
                kept.write_bytes(last.read_bytes())
                total["finds"].append({"input": kept.name, "what": result["find"]})
        seed += 1
    return total


def _work(name: str, seconds: float, seed: int, folder: Path, pipe: Any) -> None:
    from wsl.errors import WslError

    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    signal.signal(signal.SIGALRM, _too_long)
    rng = random.Random(f"{name} {seed}")
    corpus, reader = READERS[name](folder)
    counts = {"calls": 0, "read": 0, "refused": 0}
    path = folder / "input"
    until = time.monotonic() + seconds
    find = None
    while find is None and time.monotonic() < until:
        path.write_bytes(_changed(rng.choice(corpus), rng, WORDS[name]))
        counts["calls"] += 1
        signal.alarm(10)
        try:
            reader(path)
            counts["read"] += 1
        except WslError:
            counts["refused"] += 1
        except BaseException:
            find = traceback.format_exc(limit=-6)
        finally:
            signal.alarm(0)
    pipe.send(counts | {"find": find})


def _too_long(signum: int, frame: object) -> None:
    raise TimeoutError("the reader took longer than ten seconds")


def _changed(content: bytes, rng: random.Random, words: list[bytes]) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            word = rng.choice(words)
            data[at : at + rng.choice((0, len(word)))] = word
        elif kind == 5:
            piece = rng.randrange(len(data) + 1)
            data[at:at] = data[piece : piece + length]
        elif kind == 6 and rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def _xml(folder: Path) -> tuple[list[bytes], Reader]:
    from wsl.data.categories import Categories
    from wsl.data.open import open_dataset
    from wsl.data.readers.ilsvrc import IlsvrcOptions

    categories = Categories(("tench",), ("n01440764",))
    root = folder / "data"
    notes = root / "Annotations/CLS-LOC/val"
    for place in (notes, root / "Data/CLS-LOC/val", root / "ImageSets/CLS-LOC"):
        place.mkdir(parents=True)
    (root / "ImageSets/CLS-LOC/val.txt").write_text("a 1\n")
    (root / "LOC_synset_mapping.txt").write_text("n01440764 tench\n")
    dataset = open_dataset(IlsvrcOptions(root=root), categories)

    def read(path: Path) -> object:
        (notes / "a.xml").write_bytes(path.read_bytes())
        return dataset.sample(0)

    return [XML, XML.replace(b"\n", b""), XML.decode().encode("utf-16")], read


def _image(folder: Path) -> tuple[list[bytes], Reader]:
    import numpy as np
    from PIL import Image

    from wsl.data.images import load_image

    rng = np.random.default_rng(0)
    color = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    corpus = []
    for mode, form, options in (
        ("RGB", "JPEG", {"exif": exif}), ("L", "JPEG", {"progressive": True}), ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {"exif": exif}), ("RGBA", "PNG", {}), ("P", "PNG", {}), ("1", "PNG", {}),
        ("I;16", "PNG", {}), ("RGB", "WEBP", {}), ("RGBA", "WEBP", {"lossless": True}),
        ("RGB", "BMP", {}), ("P", "BMP", {}),
    ):  # fmt: skip
        picture = Image.fromarray(np.zeros((9, 8), np.uint16)) if mode == "I;16" else color
        file = io.BytesIO()
        (picture if mode == "I;16" else picture.convert(mode)).save(file, form, **options)
        corpus.append(file.getvalue())
    return corpus, lambda path: load_image(path, max_pixels=10_000_000)


def _voc(folder: Path) -> tuple[list[bytes], Reader]:
    from wsl.data.categories import Categories
    from wsl.data.open import open_dataset
    from wsl.data.readers.voc import VocOptions

    root = folder / "voc"
    for place in ("Annotations", "ImageSets/Main"):
        (root / place).mkdir(parents=True)
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    (root / "Annotations/a.xml").write_bytes(XML)
    dataset = open_dataset(VocOptions(root=root), Categories(("tench",), ("n01440764",)))

    def read(path: Path) -> object:
        (root / "Annotations/a.xml").write_bytes(path.read_bytes())
        return dataset.sample(0)

    return [XML, XML.decode().encode("utf-16")], read


def _coco(folder: Path) -> tuple[list[bytes], Reader]:
    from wsl.data.categories import Categories
    from wsl.data.open import open_dataset
    from wsl.data.readers.coco import CocoOptions

    def read(path: Path) -> object:
        dataset = open_dataset(CocoOptions(root=folder, annotations=path), Categories(("cat",)))
        return list(dataset)

    shapes = (
        [[1, 1, 6.5, 1, 6.5, 5, 1, 5]], {"size": [6, 8], "counts": [10, 5, 33]},
        {"size": [6, 8], "counts": ":5Q1"},
    )  # fmt: skip
    corpus = [
        json.dumps({
            "images": [{"id": 1, "file_name": "a/b.jpg", "width": 8, "height": 6}],
            "categories": [{"id": 3, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5.5, 4],
                             "area": 22, "iscrowd": 0, "segmentation": shape}],
        }).encode()
        for shape in shapes
    ]  # fmt: skip
    return corpus, read


def _mask(folder: Path) -> tuple[list[bytes], Reader]:
    from PIL import Image

    from wsl.data.images import load_values

    corpus = []
    for mode, form in (("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("L", "BMP"), ("L", "TIFF"),
                       ("P", "GIF"), ("L", "EPS"), ("RGBA", "PNG")):  # fmt: skip
        file = io.BytesIO()
        Image.new(mode, (9, 8)).save(file, form)
        corpus.append(file.getvalue())
    both = (True, False)
    return corpus, lambda path: [load_values(path, max_pixels=10**7, colors=one) for one in both]


def _checkpoint(folder: Path) -> tuple[list[bytes], Reader]:
    import torch
    from safetensors.torch import save

    from wsl.models.checkpoint import read_state_dict

    state = {"fc.weight": torch.ones(3, 4), "fc.bias": torch.zeros(3)}
    corpus = [save(state)]
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        file = io.BytesIO()
        torch.save(state, file, **options)
        corpus.append(file.getvalue())

    def read(path: Path) -> object:
        is_torch = path.read_bytes()[:1] in (b"P", b"\x80")
        named = path.with_suffix(".pth" if is_torch else ".safetensors")
        named.write_bytes(path.read_bytes())
        return {key: value.sum() for key, value in read_state_dict(named).items()}

    return corpus, read


def _config(folder: Path) -> tuple[list[bytes], Reader]:
    from wsl.run.config import load_config

    files = [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))]
    return [YAML, *files], load_config


def _predictions(folder: Path) -> tuple[list[bytes], Reader]:
    import numpy as np

    from wsl.localize.prediction import Localization, Prediction
    from wsl.run.rows import check_part, read_counts, read_predictions, read_table, write_part

    rng = np.random.default_rng(0)
    predictions = [Prediction.failed("bad", "why")]
    for index in range(30):
        mask = rng.random((20, 30)) > 0.5
        found = Localization(index, "a", 1, 0.5, (0, 0, 3, 4), mask, None, True)
        predictions.append(Prediction(f"image {index}", (20, 30), (found,)))
    write_part(folder / "valid", predictions)

    def read(path: Path) -> object:
        read_counts(path)
        read_table([path], columns=["image_id", "score"]).to_pylist()
        list(read_predictions(path))
        return check_part(path, images=31)

    return [(folder / "valid").read_bytes()], read


def _maps(folder: Path) -> tuple[list[bytes], Reader]:
    import numpy as np

    from wsl.run.maps import check_maps, read_maps, write_maps
    from wsl.run.rows import PartCounts

    write_maps(folder / "valid", {f"image {n}|{n}": np.ones((7, 9), np.float16) for n in range(4)})

    def read(path: Path) -> object:
        check_maps(path, PartCounts(4, 0, 4), thorough=True)
        return list(read_maps(path))

    return [(folder / "valid").read_bytes()], read


def _run(folder: Path) -> tuple[list[bytes], Reader]:
    from dataclasses import asdict

    from wsl.run.folder import RunFolder
    from wsl.run.info import RunInfo
    from wsl.run.opened import open_run
    from wsl.run.status import read_status
    from wsl.storage import write_json

    (folder / "a.png").touch()
    run = RunFolder(folder / "run")
    info = RunInfo(
        config={"run": {"chunk_size": 4}, "data": {"format": "files", "root": str(folder)}},
        dataset={"name": "files", "count": 11, "fingerprint": "0" * 64},
        categories={"names": ["a", "b"], "ids": None},
        model={"name": "m", "fingerprint": "0" * 64, "device": "cpu"},
        versions={},
    )
    write_json(run.info_path, asdict(info))
    valid = run.info_path.read_bytes()

    def read(path: Path) -> object:
        run.info_path.write_bytes(path.read_bytes())
        opened = open_run(run.path)
        read_status(run.path).lines()
        return run.begin(info), opened

    return [valid], read


READERS: dict[str, Callable[[Path], tuple[list[bytes], Reader]]] = {
    "xml": _xml,
    "voc": _voc,
    "coco": _coco,
    "mask": _mask,
    "checkpoint": _checkpoint,
    "image": _image,
    "config": _config,
    "predictions": _predictions,
    "maps": _maps,
    "run": _run,
}


if __name__ == "__main__":
    main()
