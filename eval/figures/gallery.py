"""Draw every method on the same images, with the classifier that comes with wsl.

    python -m eval.figures.gallery

writes ``docs/pictures/gallery/*.jpg``, and ``docs/gallery.md`` with captions. The images are drawn
ones of the demo, which the classifier was not trained on.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eval.provenance import commit
from wsl.demo.scene import DEMO_SEED, draw_image
from wsl.draw.montage import FAINT, Panel, color_bar, side_by_side
from wsl.draw.overlays import Picture, color_table, map_limits, overlay_saliency
from wsl.draw.pictures import resize_picture, save_jpeg
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.saliency.activation_maximization import ActivationMaximization, maximize_activation
from wsl.saliency.explain import Explanation, explain, explain_target
from wsl.saliency.gradient import GuidedBackprop
from wsl.saliency.methods import METHODS
from wsl.saliency.targets import Filter, TargetOptions

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS, HEIGHT = (1, 5, 6), 150

# What the defaults, which are for inputs of 224 x 224, do not fit.
OWN: dict[str, dict[str, Any]] = {"occlusion": {"size": 31, "stride": 4, "fill": "blurred"}}


@dataclass(frozen=True, eq=False)
class Entry:
    """A picture of the gallery, or the reason why there is none."""

    name: str
    picture: Picture | None
    caption: str


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DOCS)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    classifier = load_classifier("demo", device="cpu")
    images = [draw_image(number, seed=DEMO_SEED).image for number in NUMBERS]
    entries = [*overlays(classifier, images), *channels(classifier, images[0])]
    entries += [*models(classifier), posterior(classifier)]
    for entry in entries:
        if entry.picture is not None:
            save_jpeg(out / "pictures" / "gallery" / f"{entry.name}.jpg", entry.picture)
        print(f"{entry.name}: {entry.caption}", flush=True)
    (out / "gallery.md").write_text(page(entries))


def overlays(classifier: Classifier, images: list[NDArray[np.uint8]]) -> Iterator[Entry]:
    """Every method of the configuration, for the classifier's first class of each image."""
    yield Entry("images", row([[Panel(fitted(image), ())] for image in images]), "The images.")
    for name, method in METHODS.items():
        options = method.model_validate(OWN.get(name, {}))
        caption = f"{method.summary} {method.reference}."
        try:
            found = [explain(classifier, image, options)[0] for image in images]
        except ModelError as error:
            yield Entry(name, None, f"{caption} Not of this classifier: {error}.")
            continue
        notes = sorted({each.note for each in found if each.note})
        note = f" In these pictures: {'; '.join(notes)}." if notes else ""
        panels = [overlay(image, each) for image, each in zip(images, found, strict=True)]
        yield Entry(name, row(panels), caption + note)


def overlay(image: NDArray[np.uint8], found: Explanation) -> list[Panel]:
    """Draw a map on its image, with the scale of its colors."""
    picture = fitted(overlay_saliency(image, found.saliency))
    bar = color_bar(color_table(), map_limits(found.saliency), height=len(picture))
    return [Panel(picture, ((found.title, FAINT),)), Panel(bar, ())]


def row(panels: list[list[Panel]]) -> Picture:
    """Set the panels of the images side by side."""
    return side_by_side([each for some in panels for each in some], height=HEIGHT)


def fitted(picture: Picture) -> Picture:
    """Resize a picture to the row's height."""
    return resize_picture(picture, (HEIGHT, round(picture.shape[1] * HEIGHT / len(picture))))


def channels(classifier: Classifier, image: NDArray[np.uint8]) -> Iterator[Entry]:
    """Guided backpropagation of the channel that this image excites most."""
    layer = "features.13"
    probe = {}
    handle = classifier.module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: probe.update(output=output)
    )
    options = GuidedBackprop()
    try:
        explain(classifier, image, options)
    finally:
        handle.remove()
    channel = int(probe["output"].detach().mean(dim=(0, 2, 3)).argmax())
    target = TargetOptions(layer=layer, channel=channel)
    (found,) = explain_target(classifier, image, options, target)
    panels = [[Panel(fitted(image), ())], overlay(image, found)]
    yield Entry("channel", row(panels), f"Guided backpropagation of a channel ({target.name}).")


def models(classifier: Classifier) -> Iterator[Entry]:
    """Maximized classes: as in the paper, and with what goes beyond it; and those of channels."""
    classes = ["mug", "tree", "house", "starfish", "umbrella", "mushroom"]
    paper = ActivationMaximization(decay=0.01, jitter=0, blur=0, scales=1)
    ways = {
        "activation_maximization": (
            ActivationMaximization(),
            "Images that maximize a class score: gradient ascent with L2 decay from the training "
            "mean. Simonyan et al. 2013, sec. 2; with jitter, blur and several scales, which the "
            "paper does not have.",
        ),
        "activation_maximization_paper": (
            paper,
            "The paper's own procedure: no jitter, no blur, one scale, and more decay.",
        ),
    }
    for name, (ascent, caption) in ways.items():
        found = maximize_activation(classifier, classes, ascent)
        panels = [
            panel(picture, f"{label}: {history[0]:.1f} → {history[-1]:.1f}")
            for label, picture, history in zip(
                classes, found.pictures(stretch=True), found.history.tolist(), strict=True
            )
        ]
        yield Entry(name, side_by_side(panels, height=HEIGHT), f"{caption} Scores before, after.")
    layer, ascent = "features.12", ActivationMaximization(decay=1e-4)
    filters = [Filter(layer, channel) for channel in (3, 11, 29, 47)]
    found = maximize_activation(classifier, filters, ascent)
    panels = [
        panel(picture, f"channel {filter_.channel}")
        for filter_, picture in zip(filters, found.pictures(stretch=True), strict=True)
    ]
    caption = f"Images that channels of layer {layer} like best."
    yield Entry("filter_models", side_by_side(panels, height=HEIGHT), caption)


def posterior(classifier: Classifier) -> Entry:
    """Set the maximum of the unnormalized score beside that of the posterior."""
    panels, found = [], {}
    for maximize in ("score", "posterior"):
        for label in ("car", "fish"):
            each = maximize_activation(
                classifier, [label], ActivationMaximization(maximize=maximize)
            )
            with torch.no_grad():
                scores = classifier.scores(each.inputs)[0]
            index = classifier.categories.index(label)
            others = float(scores.sum() - scores[index]) / (len(scores) - 1)
            found[maximize, label] = (float(scores[index]), others)
            what = f"{maximize}: {scores[index]:.0f}, others {others:.0f}"
            panels.append(panel(each.pictures(stretch=True)[0], what))
    caption = (
        "What maximizing the unnormalized score gives (left two: car, fish) beside maximizing the "
        "posterior (right two), with the class's score at the end and the mean of the other "
        "classes'. The posterior can also be raised by lowering the others, "
        "which is why the paper takes the score."
    )
    return Entry("posterior", side_by_side(panels, height=HEIGHT), caption)


def panel(picture: Picture, caption: str) -> Panel:
    """Make a square panel."""
    return Panel(resize_picture(picture, (HEIGHT, HEIGHT)), ((caption, FAINT),))


def page(entries: list[Entry]) -> str:
    """Write the gallery as Markdown."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow"))
    lines = [
        "# Gallery",
        "",
        "Every method on the same images. They are drawn ones of the demo; the classifier is the "
        "small one that comes with wsl, and each map is that of its first class. Brighter is more "
        "salient; the scale beside each map names its values. Any of the maps can seed the masks: "
        "`saliency.method` of a configuration.",
    ]
    for entry in entries:
        lines += ["", f"## {entry.name}", ""]
        if entry.picture is not None:
            lines += [f"![{entry.name}](pictures/gallery/{entry.name}.jpg)", ""]
        lines += [entry.caption]
    lines += [
        "",
        f"*Made by `python -m eval.figures.gallery` at {commit()} on "
        f"{datetime.datetime.now(datetime.UTC).date().isoformat()} ({versions}).*",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
