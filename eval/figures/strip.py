"""Draw README's strip: the steps from a drawn image to its box, with the bundled classifier.

Run it as ``python -m eval.figures.strip``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from wsl import Localizer, load_classifier
from wsl.demo.scene import CATEGORIES, DEMO_SEED, draw_image
from wsl.draw.pictures import save_jpeg, strip
from wsl.run.config import load_config

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Draw the strips of some of the demo's images one below the other."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[5, 4, 6], help="Their numbers.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "steps.jpg")
    arguments = parser.parse_args()
    config = load_config("demo")
    localizer = Localizer(load_classifier(config.model), config)
    rows = [draw(localizer, index) for index in arguments.images]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    save_jpeg(arguments.out, np.concatenate(padded))


def draw(localizer: Localizer, index: int) -> np.ndarray:
    """Strip of one of the demo's images, of the class that it shows."""
    drawn = draw_image(index, seed=DEMO_SEED)
    name = f"DEMO_val_{index + 1:08d}"
    (found,) = localizer(drawn.image, classes=[drawn.label], image_id=name)
    return strip(
        drawn.image,
        found.saliency,
        found.seeds,
        found.mask,
        found.box,
        drawn.boxes,
        title=CATEGORIES.names[drawn.label],
        height=160,
    )


if __name__ == "__main__":
    main()
