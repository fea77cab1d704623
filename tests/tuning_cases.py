"""Small annotated datasets with a toy classifier, for the tests of tuning."""

import numpy as np
from PIL import Image
from small_runs import WNIDS

from wsl.run.config import build_config


def draw_dataset(root, count=10, *, bad=(), unannotated=()):
    """ILSVRC's layout: noise with a bright rectangle, whose box is the annotation."""
    rng = np.random.default_rng(3)
    images = root / "Data" / "CLS-LOC" / "val"
    images.mkdir(parents=True)
    rows = ["ImageId,PredictionString"]
    for index in range(count):
        height, width = (int(side) for side in rng.integers(36, 64, 2))
        x, y = int(rng.integers(0, width - 22)), int(rng.integers(0, height - 20))
        pixels = rng.integers(0, 90, (height, width, 3)).astype(np.uint8)
        pixels[y : y + 18, x : x + 20] += 140
        path = images / f"v_{index:02d}.png"
        Image.fromarray(pixels).save(path)
        if index in bad:
            path.write_bytes(b"not an image")
        box = f"{WNIDS[index % 3]} {x} {y} {x + 19} {y + 17}"
        rows.append(f"v_{index:02d},{'' if index in unannotated else box}")
    (root / "LOC_val_solution.csv").write_text("\n".join(rows))
    return root


def config(root, **changes):
    content = {
        "extends": "plain",
        "data": {"format": "ilsvrc", "root": str(root)},
        "classes": {"select": "both", "top_k": 1},
        "run": {"chunk_size": 4, "batch_size": 3, "workers": 2},
        "localize": {"refine": {"method": "grabcut", "iterations": 1}},
    }
    return build_config(content, [f"{key}={value}" for key, value in changes.items()])


class CountedProgress:
    """Counts, and interrupts the work after so many units."""

    def __init__(self, stop_after=None):
        self.starts, self.done, self.failed = [], 0, 0
        self.stop_after = stop_after

    def start(self, total, done):
        self.starts.append((total, done))

    def advance(self, count, failed):
        self.done += count
        self.failed += failed
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt
