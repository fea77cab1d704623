"""Draw every method on one picture, with the classifier that comes with wsl.

    python -m eval.figures.gallery

writes ``eval/results/gallery/*.png``, and ``eval/results/gallery.md`` with captions. The picture is
a drawn one of the demo (number 1 of its seed), which the classifier was not trained on.
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
from wsl.demo.draw import DEMO_SEED, draw_image
from wsl.draw.attributions import draw_overlay
from wsl.draw.montage import FAINT, Panel, side_by_side
from wsl.draw.overlays import Picture
from wsl.draw.pictures import resize_picture, save_png
from wsl.models.classifier import Classifier
from wsl.models.sources import load_classifier
from wsl.saliency.activation_maximization import ActivationMaximization, maximize_activation
from wsl.saliency.explain import explain, explain_target
from wsl.saliency.gradient import GuidedBackprop
from wsl.saliency.methods import METHODS
from wsl.saliency.targets import Filter, TargetOptions

RESULTS = Path(__file__).parents[1] / "results"
NUMBER, HEIGHT = 1, 128

# What the defaults, which are for inputs of 224 x 224, do not fit.
OWN: dict[str, dict[str, Any]] = {"occlusion": {"size": 31, "stride": 4, "fill": "blurred"}}


@dataclass(frozen=True, eq=False)
class Entry:
    """A picture of the gallery."""

    name: str
    picture: Picture
    caption: str


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    classifier = load_classifier("demo", device="cpu")
    image = draw_image(NUMBER, seed=DEMO_SEED).image
    entries = [*overlays(classifier, image), *channels(classifier, image)]
    entries += [*models(classifier), posterior(classifier)]
    for entry in entries:
        save_png(out / "gallery" / f"{entry.name}.png", entry.picture)
        print(f"{entry.name}: {entry.caption}", flush=True)
    (out / "gallery.md").write_text(page(entries))


def overlays(classifier: Classifier, image: NDArray[np.uint8]) -> Iterator[Entry]:
    """Every method of the configuration, for the classifier's first class."""
    for name, method in METHODS.items():
        options = method.model_validate(OWN.get(name, {}))
        (found,) = explain(classifier, image, options)
        note = f" In this picture: {found.note}." if found.note else ""
        caption = f"{method.summary} {method.reference}.{note}"
        yield Entry(name, draw_overlay(image, found, method=name, height=HEIGHT), caption)


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
    picture = draw_overlay(image, found, method="guided_backprop", height=HEIGHT)
    yield Entry("channel", picture, f"Guided backpropagation of a channel ({target.name}).")


def models(classifier: Classifier) -> Iterator[Entry]:
    """Maximized classes: as in the paper, and with what goes beyond it; and those of channels."""
    classes = ["fish", "car", "butterfly", "starfish"]
    beyond = ActivationMaximization(steps=200, decay=1e-3, jitter=6, blur=0.5, scales=2)
    ways = {
        "activation_maximization": (ActivationMaximization(steps=200),
                        "Images that maximize a class score as in the paper: gradient ascent with "
                        "L2 decay from the training mean. Simonyan et al. 2013, sec. 2."),
        "activation_maximization_smooth": (beyond,
                               "With jitter, blur and two scales, which the paper does not have, "
                               "and less decay."),
    }  # fmt: skip
    for name, (ascent, caption) in ways.items():
        found = maximize_activation(classifier, classes, ascent)
        panels = [
            panel(picture, f"{label}: {history[0]:.1f} → {history[-1]:.1f}")
            for label, picture, history in zip(
                classes, found.pictures(stretch=True), found.history.tolist(), strict=True
            )
        ]
        yield Entry(name, side_by_side(panels, height=HEIGHT), f"{caption} Scores before, after.")
    layer, ascent = "features.12", ActivationMaximization(steps=200, decay=1e-4, jitter=4, blur=0.5)
    filters = [Filter(layer, channel) for channel in (3, 11, 29, 47)]
    found = maximize_activation(classifier, filters, ascent)
    panels = [
        panel(picture, f"channel {filter_.channel}")
        for filter_, picture in zip(filters, found.pictures(stretch=True), strict=True)
    ]
    caption = f"Images that channels of layer {layer} like best (jitter and blur)."
    yield Entry("filter_models", side_by_side(panels, height=HEIGHT), caption)


def posterior(classifier: Classifier) -> Entry:
    """Set the maximum of the unnormalized score beside that of the posterior."""
    panels, found = [], {}
    for maximize in ("score", "posterior"):
        for label in ("car", "fish"):
            each = maximize_activation(
                classifier, [label], ActivationMaximization(steps=200, maximize=maximize)
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
        "# Every method on one picture",
        "",
        "The picture is a drawn one of the demo, the classifier is the small one that comes with "
        "wsl. Brighter is more salient; the scale beside each map names its values. Any of the "
        "maps can seed GrabCut: `saliency.method` of a configuration.",
        "",
        f"Made by `python -m eval.figures.gallery` at {commit()} on "
        f"{datetime.datetime.now(datetime.UTC).date().isoformat()} ({versions}).",
    ]
    for entry in entries:
        lines += ["", f"## {entry.name}", "", f"![{entry.name}](gallery/{entry.name}.png)"]
        lines += ["", entry.caption]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
