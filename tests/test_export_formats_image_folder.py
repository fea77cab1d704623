from __future__ import annotations

import numpy as np
import pytest
from export_cases import export, hard_predictions, write_images, write_run
from torchvision.datasets import ImageFolder


@pytest.fixture
def exported(tmp_path):
    predictions = hard_predictions()
    dataset = write_images(tmp_path / "photos", predictions)
    run = write_run(tmp_path / "run", predictions)
    summary = export(
        run, "image_folder", tmp_path / "out", classes="all", images="copy", dataset=dataset
    )
    return predictions, tmp_path / "out/train", summary


def test_torchvision_reads_it_as_a_folder_of_classes(exported):
    _, folder, summary = exported
    loaded = ImageFolder(str(folder))
    assert loaded.classes == ["n1", "n2", "n3"]
    assert len(loaded) == summary.images_exported == 10
    counts = np.bincount([label for _, label in loaded.samples])
    assert counts.tolist() == [5, 4, 1]
    assert all(picture.size for picture, _ in loaded)
