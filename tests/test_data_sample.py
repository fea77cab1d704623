from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsl.data.categories import Categories
from wsl.data.readers.files import FilesDataset
from wsl.data.sample import Annotation, Instance

ANNOTATION = Annotation(
    (
        Instance(3, (0, 0, 2, 2)),
        Instance(1, (1, 1, 4, 5)),
        Instance(3, (5, 5, 6, 6)),
        Instance(2, (0, 0, 9, 9), ignore=True),
        Instance(-1, (2, 2, 3, 3)),
    )
)


def test_boxes_of_one_class_and_of_all():
    np.testing.assert_array_equal(ANNOTATION.boxes(3), [[0, 0, 2, 2], [5, 5, 6, 6]])
    assert ANNOTATION.boxes().shape == (5, 4)
    assert ANNOTATION.boxes(7).shape == (0, 4)
    assert Annotation(()).boxes().shape == (0, 4)


def test_labels_are_the_known_ones_that_count():
    assert ANNOTATION.labels == (1, 3)


def test_a_dataset_is_a_sequence_of_samples():
    dataset = FilesDataset("files", Path("/r"), Categories.numbered(1), ["a.jpg", "b.jpg"])
    assert len(dataset) == 2
    assert [sample.image_id for sample in dataset] == ["a", "b"]
    assert dataset[-1].image_id == "b"
    with pytest.raises(IndexError, match="out of range"):
        dataset[2]
