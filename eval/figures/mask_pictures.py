"""Draw the masks of the paper's recipe and ours on photographs, for docs/how-to.

    python -m eval.figures.mask_pictures --architecture NAME --checkpoint NAME.safetensors \
        --categories LOC_synset_mapping.txt

The photographs are scikit-image's: Chelsea the cat (CC0, Stéfan van der Walt), a cup of coffee
(CC0, Rachel Michetti) and a rocket (public domain, SpaceX). The classes are given by WNID.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data

from wsl import Localizer, load_classifier
from wsl.draw.montage import FAINT, Panel, side_by_side
from wsl.draw.overlays import Picture, overlay_mask
from wsl.draw.pictures import resize_picture, save_jpeg

OUT = Path(__file__).parents[2] / "docs" / "pictures" / "masks.jpg"
PHOTOGRAPHS = {"chelsea": "n02124075", "coffee": "n07920052", "rocket": "n04008634"}
RECIPES = ("simonyan2013", "default", "masks")
HEIGHT = 180


def main() -> None:
    """Write the picture: a row for each photograph, with the mask of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("architecture", "checkpoint", "categories"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    classifier = load_classifier(
        arguments.architecture,
        checkpoint=arguments.checkpoint,
        categories=arguments.categories,
        device="cpu",
    )
    rows = []
    for name, class_ in PHOTOGRAPHS.items():
        photograph: Picture = getattr(skimage.data, name)()
        panels = [
            Panel(
                fitted(photograph),
                ((classifier.categories.names[classifier.categories.index(class_)], FAINT),),
            )
        ]
        for recipe in RECIPES:
            (found,) = Localizer(classifier, recipe)(photograph, classes=[class_], image_id=name)
            drawn = overlay_mask(photograph, found.mask, thickness=3)
            panels.append(Panel(fitted(drawn), ((recipe, FAINT),)))
        rows.append(side_by_side(panels, height=HEIGHT))
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    save_jpeg(arguments.out, np.concatenate(padded))


def fitted(picture: Picture) -> Picture:
    """Resize a picture to the row's height."""
    return resize_picture(picture, (HEIGHT, round(picture.shape[1] * HEIGHT / len(picture))))


if __name__ == "__main__":
    main()
