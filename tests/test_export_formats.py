"""What is written comes back, read by other people's readers, in every format."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from export_cases import (
    CATEGORIES,
    HOLE,
    export,
    found,
    hard_predictions,
    image,
    write_images,
    write_run,
)
from export_readers import CASES, Source

from wsl.data.categories import Categories
from wsl.data.images import image_size
from wsl.data.open import open_dataset
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.export.formats import FORMATS
from wsl.export.names import FileNames, fingerprint, repeated
from wsl.localize.prediction import Prediction
from wsl.masks import mask_to_box


def test_every_format_is_read():
    # A submission and maps are no annotations: they have tests of their own.
    assert {case.name for case in CASES.values()} == set(FORMATS) - {"ilsvrc", "maps"}


def check(case, run, dataset, predictions, categories, out):
    export(run, case.name, out, dataset=dataset, classes="all", **case.options)
    keys = [fingerprint(FileNames.key(one.image_id)) for one in predictions]
    names = FileNames(frozenset(repeated(keys).tolist()))
    ids = {names.stem(one.image_id): one.image_id for one in predictions}
    expected = {}
    for one in predictions:
        free = np.ones(one.size or (0, 0), dtype=bool)
        for localization in one.localizations:
            if localization.mask.any():
                box = localization.box or mask_to_box(localization.mask)
                mask = localization.mask & free if case.exclusive else localization.mask
                expected[one.image_id, localization.label] = {"mask": mask, "box": box}
                free &= ~localization.mask
    seen = {}
    for image_id, label, mask, box in case.read(Source(out, categories, ids)):
        for kind, value in (("mask", mask), ("box", box)):
            if value is not None:
                assert (image_id, label, kind) not in seen
                seen[image_id, label, kind] = value
    assert set(seen) == {(*key, kind) for key in expected for kind in case.gives}
    for (image_id, label, kind), value in seen.items():
        wanted = expected[image_id, label][kind]
        if kind == "mask":
            assert np.array_equal(value, wanted), image_id
        else:
            np.testing.assert_allclose(value, wanted, rtol=0, atol=case.tolerance)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_hard_masks_and_ids_come_back(tmp_path, case):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    check(case, run, dataset, predictions, CATEGORIES, tmp_path / "out")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "mask" in case.gives])
def test_noise_comes_back_to_the_last_pixel(tmp_path, name, share):
    generator = np.random.default_rng(0)
    masks = [generator.random(generator.integers(1, 14, 2)) < share for _ in range(25)]
    predictions = [image(f"{at}", found(mask)) for at, mask in enumerate(masks) if mask.any()]
    assert len(predictions) >= 8
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    check(CASES[name], run, dataset, predictions, CATEGORIES, tmp_path / "out")


@pytest.fixture(scope="module")
def photographs(shared_data, tmp_path_factory):
    """The 650 photographs, and a run whose masks are noise in the annotated boxes."""
    root = shared_data / "data/ilsvrc"
    categories = Categories.from_file(root / "LOC_synset_mapping.txt")
    dataset = open_dataset(IlsvrcOptions(root=root, split="val"), categories)
    rng = np.random.default_rng(0)
    predictions = []
    for sample in dataset:
        instance = next(one for one in sample.annotation.instances if one.label == sample.label)
        x0, y0, x1, y1 = (round(value) for value in instance.box)
        mask = np.zeros(image_size(sample.path), dtype=bool)
        mask[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < 0.95
        mask[[y0, y1 - 1], x0:x1] = mask[y0:y1, [x0, x1 - 1]] = True
        one = replace(found(mask, 0), label=sample.label, category=categories.names[sample.label])
        predictions.append(Prediction(sample.image_id, mask.shape, (one,)))
    folder = tmp_path_factory.mktemp("ilsvrc")
    run = write_run(folder / "run", predictions, categories=categories, chunk_size=256)
    return run, dataset, predictions, categories


@pytest.mark.data
@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "masks", "parquet", "image_folder"])
def test_photographs_come_back(tmp_path, photographs, name):
    check(CASES[name], *photographs, tmp_path / "out")


def test_no_name_is_a_formula_and_the_reader_of_voc_finds_it(tmp_path):
    predictions = [image(name, found(HOLE)) for name in ("=1+1", "@x", "-2", "'quoted")]
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    check(CASES["voc-own-reader"], run, dataset, predictions, CATEGORIES, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.csv"):
        assert not re.search(r"(^|,)[=@-]", path.read_text("utf-8"), re.MULTILINE)
