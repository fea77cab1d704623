from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from export_cases import LEFT, ListedImages, export, found, image, write_images, write_run
from PIL import Image

from wsl.data.images import load_image
from wsl.errors import ConfigError


def exported(tmp_path, predictions, dataset, **options):
    run = write_run(tmp_path / "run", predictions)
    return export(run, "yolo", tmp_path / "out", **options, dataset=dataset)


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_images_are_linked_or_copied_as_they_are(tmp_path, mode):
    predictions = [image("a", found(LEFT)), image("b", found(LEFT))]
    dataset = write_images(tmp_path / "photos", predictions)
    exported(tmp_path, predictions, dataset, images=mode)
    for sample in dataset:
        placed = tmp_path / f"out/images/train/{sample.image_id}{sample.path.suffix}"
        assert placed.is_symlink() == (mode == "link")
        assert placed.read_bytes() == sample.path.read_bytes()


def test_links_lead_somewhere_from_a_relative_root(tmp_path, monkeypatch):
    predictions = [image("a", found(LEFT))]
    write_images(tmp_path / "photos", predictions)
    monkeypatch.chdir(tmp_path)
    dataset = ListedImages(Path("photos"), {"a": Path("photos/photo 0.png")})
    exported(tmp_path, predictions, dataset)
    assert (tmp_path / "out/images/train/a.png").is_file()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_with_an_orientation_is_written_upright(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = tmp_path / "turned.png"
    Image.fromarray(pixels).save(source, exif=exif)
    mask = LEFT if orientation < 5 else LEFT.T
    dataset = ListedImages(tmp_path, {"a": source})
    summary = exported(tmp_path, [image("a", found(mask))], dataset)
    placed = tmp_path / "out/images/train/a.png"
    with Image.open(placed) as picture:
        assert not picture.getexif()
        assert np.array_equal(np.array(picture), load_image(source))
    assert summary.notes[0] == "1 images have an EXIF orientation and were written upright"


def test_a_missing_or_changed_image_is_left_out_and_named(tmp_path):
    predictions = [image(name, found(LEFT)) for name in ("gone", "other size", "there", "unknown")]
    dataset = write_images(tmp_path / "photos", predictions)
    dataset.sample(0).path.unlink()
    Image.new("RGB", (7, 4)).save(dataset.sample(1).path)
    known = {sample.image_id: sample.path for sample in dataset if sample.image_id != "unknown"}
    summary = exported(tmp_path, predictions, ListedImages(dataset.root, known))
    assert (summary.images_exported, summary.images_without_mask, summary.masks) == (1, 3, 1)
    assert summary.left_out == {"image file cannot be used": 3}
    listed = (tmp_path / "out/without_mask.csv").read_text().splitlines()
    assert "there is no such file" in listed[1]
    assert "must be 6 × 4 as the run saw it, but is 7 × 4" in listed[2]
    assert "is not in the dataset" in listed[3]
    assert [path.name for path in (tmp_path / "out/labels/train").iterdir()] == ["there.txt"]


def test_images_need_a_dataset(tmp_path):
    with pytest.raises(ConfigError, match="images: copy needs the run's dataset"):
        exported(tmp_path, [image("a", found(LEFT))], None, images="copy")
