"""The rows of ``eval/ablation.py``: what is changed, beside what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PAPER", "RECIPE", "SECTIONS", "Step", "steps"]

SECTIONS = {
    "path": "From the paper's procedure to the recipe",
    "without": "The recipe without one of its parts",
    "tried": "Tried beside the recipe",
}
PAPER = "the paper: ten crops, 95/30, GrabCut at 224"
RECIPE = "two rounds: the recipe"

_RECIPE_SEEDS = (
    "localize.seeds.levels=otsu",
    "localize.seeds.background=0.325",
    "localize.seeds.between=split",
    "localize.seeds.split_at=0.52",
    "localize.seeds.foreground=0.625",
)


@dataclass(frozen=True)
class Step:
    """A row.

    Attributes
    ----------
    name : str
    section : str
        A key of `SECTIONS`.
    against : str or None
        The row that it is compared with.
    changes : tuple of str
        ``key=value`` on a configuration of nothing but defaults, all of them.
    """

    name: str
    section: str
    against: str | None
    changes: tuple[str, ...]


def steps(layers: Sequence[str]) -> list[Step]:
    """All rows.

    Parameters
    ----------
    layers : sequence of three str
        The layers that fused maps take in the network by default, the finest grid first.
    """
    path = _path(layers[-1])
    return [*path, *_without(path[-1].changes, layers), *_tried(path[-1].changes)]


def _path(last: str) -> list[Step]:
    """One change a row, each on top of the row before it, but for the two that are left again."""
    plain = ("saliency.method=gradient",)
    smooth = (*plain, "localize.seeds.smoothing=0.03")
    small = (*smooth, "localize.grabcut.working_size=112")
    split = (*small, "localize.seeds.between=split", "localize.seeds.split_at=0.6")
    otsu = (*small, *_RECIPE_SEEDS)
    fused = (
        "saliency.method=fused",
        "localize.grabcut.working_size=112",
        *_RECIPE_SEEDS,
    )
    finer = (*fused, "saliency.views.input_size=320")
    names = {
        "plain gradient, 95/30, GrabCut at 224": plain,
        "a Gaussian of 3 % over the map": smooth,
        "GrabCut at 112 pixels": small,
        "the upper 40 % as probable foreground": split,
        "seeds around Otsu's threshold": otsu,
        "with the last layer: LayerCAM": (*fused, f"saliency.fused.layers=[{last}]"),
        "with three layers: fused maps at 224": fused,
        "input of 320 pixels": finer,
        RECIPE: (*finer, "localize.grabcut.iterations=2"),
    }
    rows = [
        Step(name, "path", before, changes)
        for (name, changes), before in zip(names.items(), [None, *names], strict=False)
    ]
    crops = "saliency.views.kind=ten_crop"
    rows.insert(1, Step(PAPER, "path", rows[0].name, (*plain, crops)))
    at = [row.name for row in rows].index("seeds around Otsu's threshold") + 1
    name = "ten crops instead of one view (left again)"
    rows.insert(at, Step(name, "path", rows[at - 1].name, (*otsu, crops)))
    return rows


def _without(recipe: tuple[str, ...], layers: Sequence[str]) -> list[Step]:
    no_gradient = "saliency.fused.gradient=false"
    cut = (
        "localize.seeds.background=0",
        "localize.seeds.split_at=0.5",
        "localize.seeds.foreground=0.5",
        "localize.grabcut.iterations=0",
    )
    bare = (*recipe, no_gradient, f"saliency.fused.layers=[{layers[-1]}]")
    linear = "saliency.fused.power=1"
    names = {
        "the gradient": (*recipe, no_gradient),
        "GrabCut: the map cut at Otsu's threshold": (*recipe, *cut),
        "the layers but the last": bare,
        "the layers but the middle one": (*recipe, no_gradient, _only(layers[1])),
        "the layers but the finest": (*recipe, no_gradient, _only(layers[0])),
        "the roots (power 1)": (*recipe, linear),
        "smoothing of the gradient": (*recipe, "saliency.fused.smoothing=0"),
        "Otsu's threshold: quantiles 95/60/30": (
            *recipe,
            "localize.seeds.levels=quantile",
            "localize.seeds.background=0.3",
            "localize.seeds.split_at=0.6",
            "localize.seeds.foreground=0.95",
        ),
        "probable foreground": (*recipe, "localize.seeds.between=probable_background"),
        "the larger input: 224 pixels": (*recipe, "saliency.views.input_size=224"),
    }
    rows = [Step(f"without {name}", "without", RECIPE, changes) for name, changes in names.items()]
    # Registration cannot be switched off in fused maps. With the last layer alone and no root, a
    # fused map is LayerCAM's but for registration, so that the two differ in nothing else.
    registered = "last layer alone, power 1, registered"
    plain = tuple(change for change in recipe if not change.startswith("saliency.method"))
    return [
        *rows,
        Step(registered, "without", RECIPE, (*bare, linear)),
        Step(
            "the same without registration (layer_cam)",
            "without",
            registered,
            (*plain, "saliency.method=layer_cam", f"saliency.cam.layer={layers[-1]}"),
        ),
    ]


def _only(layer: str) -> str:
    return f"saliency.fused.layers=[{layer}]"


def _tried(recipe: tuple[str, ...]) -> list[Step]:
    no_gradient = "saliency.fused.gradient=false"
    settled = "localize.grabcut.settled=0.005"
    small = "saliency.views.input_size=224"
    middle = "saliency.views.input_size=256"
    free = tuple(change for change in recipe if not change.startswith("saliency.views"))
    names = {
        "the reflection as a second view": (*recipe, "saliency.views.flip=true"),
        "inputs of 224 and 320 pixels": (*free, "saliency.views.scales=[224, 320]"),
        "one round": (*recipe, "localize.grabcut.iterations=1"),
        "three rounds": (*recipe, "localize.grabcut.iterations=3"),
        "five rounds, settled 0.005": (*recipe, "localize.grabcut.iterations=5", settled),
        "boundary cut at native size (band 1.5)": (*recipe, "localize.grabcut.band=1.5"),
        "working size 80": (*recipe, "localize.grabcut.working_size=80"),
        "working size 96": (*recipe, "localize.grabcut.working_size=96"),
        "working size 160": (*recipe, "localize.grabcut.working_size=160"),
        "input 256": (*recipe, middle),
        "input 256, without the gradient": (*recipe, middle, no_gradient),
        "input 224, without the gradient": (*recipe, small, no_gradient),
        "input 224, one round": (*recipe, small, "localize.grabcut.iterations=1"),
        "input 224, working size 96": (*recipe, small, "localize.grabcut.working_size=96"),
        "input 224, without the gradient, one round": (
            *recipe,
            small,
            no_gradient,
            "localize.grabcut.iterations=1",
        ),
    }
    return [Step(name, "tried", RECIPE, changes) for name, changes in names.items()]
