from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from export_cases import (
    HOLE,
    LEFT,
    PARTS,
    expected_masks,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from PIL import Image

from wsl.errors import ConfigError
from wsl.export.names import FileNames, fingerprint, repeated
from wsl.masks import mask_to_box


def read_yolo(root: Path) -> dict[str, tuple[tuple[int, int], list[tuple[int, np.ndarray]]]]:
    """Read a YOLO dataset by its documentation, and refuse what that does not allow.

    Image name without ending -> (height, width), [(class, numbers)].
    """
    content = yaml.safe_load((root / "data.yaml").read_text("ascii"))
    names = content["names"]
    assert list(names) == list(range(len(names)))
    folder = root / content["train"]
    assert content["val"] == content["train"]
    assert folder.is_dir()
    images = {}
    for path in folder.iterdir():
        assert path.suffix in {".jpg", ".jpeg", ".png"}
        label_path = root / "labels" / folder.name / f"{path.stem}.txt"
        rows = [line.split() for line in label_path.read_text("ascii").splitlines()]
        objects = []
        for row in rows:
            label, numbers = int(row[0]), np.array(row[1:], dtype=np.float32)
            assert label in names
            assert len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)
            assert ((numbers >= 0) & (numbers <= 1)).all()
            objects.append((label, numbers))
        with Image.open(path) as picture:
            images[path.stem] = (picture.height, picture.width), objects
    return images


def exported(tmp_path, predictions, **options):
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    export(run, "yolo", tmp_path / "out", **options, dataset=dataset)
    keys = [fingerprint(FileNames.key(one.image_id)) for one in predictions]
    names = FileNames(frozenset(repeated(keys).tolist()))
    ids = {names.stem(one.image_id): one.image_id for one in predictions}
    return {ids[stem]: content for stem, content in read_yolo(tmp_path / "out").items()}


def even_odd(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centers lie inside: an odd number of edges to the left of them.

    Lines that join rings may slant; drawn there and back, each is crossed an even number of times.
    """
    mask = np.zeros(size, dtype=bool)
    rows, columns = np.indices(size)
    for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if ya != yb:
            y = rows + 0.5
            x = xa + (y - ya) * (xb - xa) / (yb - ya)
            mask ^= (y > min(ya, yb)) & (y < max(ya, yb)) & (x < columns + 0.5)
    return mask


def test_boxes_come_back(tmp_path):
    predictions = hard_predictions()
    read = exported(tmp_path, predictions, classes="all")
    expected = expected_masks(predictions)
    assert {(key, label) for key, (_, items) in read.items() for label, _ in items} == set(expected)
    for image_id, ((height, width), objects) in read.items():
        for label, (x, y, w, h) in objects:
            localization = expected[image_id, label]
            box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            wanted = localization.box or mask_to_box(localization.mask)
            assert np.allclose(box * [width, height, width, height], wanted, atol=1e-4)


def test_polygons_come_back_by_the_even_odd_rule(tmp_path):
    predictions = hard_predictions()
    read = exported(tmp_path, predictions, classes="all", shape="polygon")
    expected = expected_masks(predictions)
    seen = set()
    for image_id, ((height, width), objects) in read.items():
        for label, numbers in objects:
            mask = expected[image_id, label].mask
            seen.add((image_id, label))
            # Cutting off the decimals, in float32, must find the pixel corners.
            points = (numbers.reshape(-1, 2) * np.float32([width, height])).astype(np.int32)
            assert (*points.min(axis=0), *points.max(axis=0)) == mask_to_box(mask)
            assert np.array_equal(even_odd(points, (height, width)), mask)
            filled = np.zeros(mask.shape, dtype=np.uint8)
            cv2.fillPoly(filled, [points], 1)
            assert not (mask & ~filled.astype(bool)).any()
    assert seen == set(expected)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_any_mask_comes_back_to_the_last_pixel(tmp_path, share):
    generator = np.random.default_rng(0)
    masks = [generator.random(generator.integers(1, 14, 2)) < share for _ in range(25)]
    masks = [mask for mask in masks if mask.any()]
    read = exported(
        tmp_path,
        [image(f"{at}", found(mask)) for at, mask in enumerate(masks)],
        shape="polygon",
    )
    assert len(read) == len(masks) >= 8
    for at, mask in enumerate(masks):
        (size, ((_, numbers),)) = read[f"{at}"]
        points = (numbers.reshape(-1, 2) * np.float32(size[::-1])).astype(np.int32)
        assert np.array_equal(even_odd(points, mask.shape), mask)


def test_fill_poly_adds_to_the_right_and_below_only(tmp_path):
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:12, 3:20] = mask[8:16, 10:14] = True
    read = exported(tmp_path, [image("a", found(mask))], shape="polygon")
    ((_, ((_, numbers),)),) = read.values()
    filled = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillPoly(filled, [(numbers.reshape(-1, 2) * np.float32([30, 20])).astype(np.int32)], 1)
    padded = np.pad(mask, ((1, 0), (1, 0)))
    grown = padded[1:, 1:] | padded[:-1, 1:] | padded[1:, :-1] | padded[:-1, :-1]
    assert np.array_equal(filled.astype(bool), grown)


def test_coordinates_of_corners_survive_truncation():
    from wsl.export.formats.yolo import _up

    for side in [*range(1, 700), 1023, 1024, 1920, 4999]:
        shares = np.array([float(_up(x, side)) for x in range(side + 1)])
        assert shares.min() == 0
        assert shares.max() == 1
        for kind in (np.float32, np.float64):
            corners = (shares.astype(kind) * kind(side)).astype(np.int32)
            assert corners.tolist() == list(range(side + 1))


@pytest.mark.parametrize("mask", [HOLE, PARTS], ids=["hole", "parts"])
def test_one_line_per_object(tmp_path, mask):
    read = exported(tmp_path, [image("a", found(mask))], shape="polygon")
    assert [len(objects) for _, objects in read.values()] == [1]


def test_a_run_without_its_dataset_has_no_images(tmp_path):
    run = write_run(tmp_path / "run", [image("a", found(LEFT))])
    with pytest.raises(ConfigError, match="images: link needs the run's dataset"):
        export(run, "yolo", tmp_path / "out", images="link")
    export(run, "yolo", tmp_path / "out", images="none")
    label = (tmp_path / "out/labels/train/a.txt").read_text()
    assert label == "0 0.3333333333 0.5 0.6666666667 1\n"
