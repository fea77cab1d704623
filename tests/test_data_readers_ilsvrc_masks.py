"""Instance masks beside ILSVRC's layout, as the demo writes them."""

import numpy as np
import pytest
from PIL import Image

from wsl.data.open import open_dataset
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.demo.draw import CATEGORIES, draw_image, write_dataset
from wsl.errors import AnnotationError
from wsl.masks import decode_rle, mask_to_box


@pytest.fixture
def root(tmp_path):
    write_dataset(tmp_path, count=6, seed=3)
    return tmp_path


def opened(root):
    return open_dataset(IlsvrcOptions(root=root), CATEGORIES)


def mask_file(root, index):
    return root / "Masks" / "CLS-LOC" / "val" / f"DEMO_val_{index + 1:08d}.png"


def test_masks_are_the_drawn_ones(root):
    for index, sample in enumerate(opened(root)):
        drawn = draw_image(index, seed=3)
        size = drawn.image.shape[:2]
        assert len(sample.annotation.instances) == len(drawn.masks)
        for instance, mask in zip(sample.annotation.instances, drawn.masks, strict=True):
            read = decode_rle(instance.mask, size)
            assert (read == mask).all()
            assert mask_to_box(read) == instance.box


def test_an_image_without_a_mask_file_has_boxes_alone(root):
    mask_file(root, 0).unlink()
    first, second, *_ = opened(root)
    assert all(instance.mask is None for instance in first.annotation.instances)
    assert all(instance.mask is not None for instance in second.annotation.instances)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda numbers: numbers[:-1], "must be 202 × 299 pixels, but is 202 × 298"),
        (lambda numbers: numbers + 9, "one value per object"),
    ],
    ids=["size", "values"],
)
def test_masks_that_do_not_fit_are_refused(root, change, message):
    numbers = np.asarray(Image.open(mask_file(root, 0)))
    Image.fromarray(change(numbers)).save(mask_file(root, 0))
    with pytest.raises(AnnotationError, match=message):
        opened(root).sample(0)
