"""What ``wsl demo`` does: draw a dataset, run, score, and show some of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsl.data.open import open_dataset
from wsl.demo.draw import write_dataset
from wsl.draw.pictures import file_part, save_png
from wsl.models.sources import load_classifier
from wsl.run.config import RunConfig, load_config
from wsl.run.folder import RunFolder
from wsl.run.runner import build_localizer
from wsl.score.estimates import Estimate
from wsl.score.protocols.mask_iou import MaskIoUOptions


class DemoPlan:
    """The demo in one folder: ``data`` (ILSVRC's layout), ``run`` and ``pictures``.

    Parameters
    ----------
    out : Path
    count : int
        Images to draw.
    seed : int
        Seed of the drawings.
    """

    def __init__(self, out: Path, *, count: int, seed: int) -> None:
        self.data, self.run, self.pictures = out / "data", out / "run", out / "pictures"
        self.count, self.seed = count, seed

    @property
    def config(self) -> RunConfig:
        """The configuration of the run."""
        return load_config("demo", {"data.root": str(self.data)})

    def draw(self) -> None:
        """Draw the dataset."""
        write_dataset(self.data, count=self.count, seed=self.seed)

    def write_pictures(self, count: int) -> Iterator[Path]:
        """Draw strips of the first images, of the class that each shows."""
        localizer = build_localizer(self.config)
        dataset = open_dataset(self.config.data, localizer.classifier.categories)
        for index in range(min(count, len(dataset))):
            sample = dataset.sample(index)
            if sample.label is None or sample.annotation is None:
                raise AssertionError("every drawn image has a label and boxes")
            boxes = [instance.box for instance in sample.annotation.instances]
            (found,) = localizer(sample.path, classes=[sample.label], image_id=sample.image_id)
            name = f"{sample.image_id}-{found.rank}-{file_part(found.category)}.png"
            self.pictures.mkdir(parents=True, exist_ok=True)
            save_png(self.pictures / name, found.plot(gt_boxes=boxes))
            yield self.pictures / name

    def score_masks(self) -> Estimate:
        """Mean IoU of the ground-truth class's masks with all that is drawn, exact to the pixel."""
        classifier = load_classifier(self.config.model)
        dataset = open_dataset(self.config.data, classifier.categories)
        (estimate,) = MaskIoUOptions().score(RunFolder(self.run), dataset).estimates
        return estimate
