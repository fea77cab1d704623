"""A folder of hostile files in ILSVRC's layout: each comes out right or as a failed row."""

import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from wsl.demo.draw import CATEGORIES, draw_image
from wsl.run.folder import RunFolder

WNID = CATEGORIES.ids[0]

# How an upright image is stored under each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

XML = """<annotation><size><width>{width}</width><height>{height}</height></size>
<object><name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>
<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object></annotation>"""

BOMB = """<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<annotation><object><name>&c;</name></object></annotation>"""


def vast_png(side):
    """A PNG of side x side black pixels, a few hundred kilobytes of file."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


class Hostile:
    """Writes the folder, and knows what is to come of each file."""

    def __init__(self, root):
        self.images = root / "Data" / "CLS-LOC" / "val"
        self.annotations = root / "Annotations" / "CLS-LOC" / "val"
        self.images.mkdir(parents=True)
        self.annotations.mkdir(parents=True)
        lines = [
            f"{wnid} {name}" for wnid, name in zip(CATEGORIES.ids, CATEGORIES.names, strict=True)
        ]
        (root / "LOC_synset_mapping.txt").write_text("\n".join(lines), encoding="utf-8")
        self.sizes = {}
        self.reasons = {}

    def add(self, name, content, *, size=None, reason=None, xml=None):
        path = self.images / f"{name}.JPEG"
        if isinstance(content, Image.Image):
            content.save(path, "JPEG", quality=90) if content.mode in ("RGB", "CMYK", "L") else (
                content.save(path, "PNG")
            )
        else:
            path.write_bytes(content)
        height, width = size or (100, 120)
        if xml is None:
            xml = XML.format(
                width=width, height=height, name=WNID, box=(0, 0, width - 1, height - 1)
            )
        if xml:
            (self.annotations / f"{name}.xml").write_text(xml, encoding="utf-8")
        if reason is None:
            self.sizes[name] = (height, width)
        else:
            self.reasons[name] = reason


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    folder = Hostile(root)
    pixels = draw_image(0, seed=0).image
    whole = Image.fromarray(pixels).resize((120, 100))
    good = root / "good.jpg"
    whole.save(good)
    jpeg = good.read_bytes()
    folder.add("good", whole)
    folder.add("truncated", jpeg[: len(jpeg) // 2], reason="truncated.JPEG")
    folder.add("zero bytes", b"", reason="zero bytes.JPEG")
    folder.add("text", b"This is no image.\n" * 9, reason="text.JPEG")
    folder.add("cmyk", whole.convert("CMYK"))
    gray16 = Image.fromarray(np.asarray(whole.convert("L"), dtype=np.uint16) * 257)
    folder.add("gray16", gray16)
    for orientation, stored in STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        rotated = root / "rotated.png"  # without loss, so that all eight are the same when upright
        (whole if stored is None else whole.transpose(stored)).save(rotated, exif=exif)
        folder.add(f"orientation{orientation}", rotated.read_bytes())
    folder.add("one pixel", Image.new("RGB", (1, 1)), size=(1, 1))
    folder.add("strip", whole.resize((4000, 1)), size=(1, 4000))
    folder.add("column", whole.resize((1, 4000)), size=(4000, 1))
    folder.add("vast", vast_png(12_000), size=(12_000, 12_000), reason="12000 × 12000")
    outside = XML.format(width=120, height=100, name=WNID, box=(500, 500, 600, 600))
    folder.add("box outside", whole, xml=outside, reason="box outside.xml")
    folder.add("malformed", whole, xml="<annotation><object>", reason="malformed.xml")
    folder.add("bomb", whole, xml=BOMB, reason="bomb.xml")
    folder.add("no annotation", whole, xml="")
    folder.add("größe ärgert ☂ 目", whole)
    config = root / "config.yaml"
    config.write_text(
        f"data: {{format: ilsvrc, root: {json.dumps(str(root))}}}\n"
        "model: {source: demo, architecture: null}\n"
        "classes: {select: both, top_k: 2}\n"
        "run: {chunk_size: 5, workers: 2}\n"
    )
    code = (
        "import resource, sys, torch, wsl.run.runner, wsl.models.sources\n"
        "torch.set_num_threads(2)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "from wsl.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    print('grown', (after - before) // 1024)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "run", str(config), "--out", str(root / "run")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return folder, result, RunFolder(root / "run")


@pytest.mark.slow
def test_the_command_ends_with_status_3_and_says_why(outcome):
    folder, result, _ = outcome
    assert result.returncode == 3, result.stderr
    count = len(folder.sizes) + len(folder.reasons)
    assert f"{count} images, {len(folder.reasons)} failed" in result.stdout
    assert "Traceback" not in result.stderr
    assert all(name in result.stderr for name in folder.reasons)


@pytest.mark.slow
def test_each_file_is_right_or_a_failed_row_with_its_reason(outcome):
    folder, _, run = outcome
    rows = run.read().to_pylist()
    failed = {row["image_id"]: row["error"] for row in rows if row["status"] == "failed"}
    assert failed.keys() == folder.reasons.keys()
    for name, reason in folder.reasons.items():
        assert reason in failed[name]
        assert "unexpected" not in failed[name]
    sizes = {
        row["image_id"]: (row["height"], row["width"]) for row in rows if row["status"] == "ok"
    }
    assert sizes == folder.sizes


@pytest.mark.slow
def test_an_image_without_an_annotation_has_its_first_classes(outcome):
    _, _, run = outcome
    found = [row for row in run.read().to_pylist() if row["image_id"] == "no annotation"]
    assert len(found) == 2
    assert not any(row["is_ground_truth"] for row in found)


@pytest.mark.slow
def test_rotated_images_are_seen_upright(outcome):
    _, _, run = outcome
    rows = run.read().to_pylist()
    scores = {
        orientation: [
            (row["label"], row["rank"], pytest.approx(row["score"], rel=1e-4))
            for row in rows
            if row["image_id"] == f"orientation{orientation}"
        ]
        for orientation in STORED
    }
    assert len(scores[1]) >= 2
    assert all(found == scores[1] for found in scores.values())


@pytest.mark.slow
def test_memory_stays_bounded(outcome):
    _, result, _ = outcome
    grown = int(result.stdout.split("grown")[1].split()[0])
    # The vast image alone would take 432 MB.
    assert grown < 350
