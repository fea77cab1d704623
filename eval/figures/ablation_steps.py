"""The rows of ``eval/figures/ablation.py``: what is changed, beside what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FAST", "PAPER", "RECIPE", "SECTIONS", "SMALL", "Step", "steps"]

SECTIONS = {
    "path": "From the paper's procedure to the recipe",
    "without": "The recipe without one of its parts",
    "map": "The map's parts, at 224 pixels alone",
    "tried": "Tried beside the recipe",
}
PAPER = "the paper: ten crops, 95/30, GrabCut at 224"
RECIPE = "two rounds: the recipe"
SMALL = "without the larger input: 224 pixels"
FAST = "224 pixels, without the gradient, one round: the fast recipe"

_RECIPE_SEEDS = (
    "localize.seeds.threshold=otsu",
    "localize.seeds.background=0.325",
    "localize.seeds.undecided=split",
    "localize.seeds.probable_threshold=0.52",
    "localize.seeds.foreground=0.625",
)
_BOTH = "saliency.views.input_sizes=[1x, 1.43x]"
_NO_GRADIENT = "saliency.gradient=false"


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
    recipe = path[-1].changes
    return [*path, *_without(recipe), *_map(recipe, layers), *_tried(recipe)]


def _path(last: str) -> list[Step]:
    """One change a row, each on top of the row before it, but for the three that are left again."""
    plain = ("saliency.method=gradient",)
    smooth = (*plain, "localize.seeds.smoothing=0.03")
    small = (*smooth, "localize.working_size=112")
    split = (*small, "localize.seeds.undecided=split", "localize.seeds.probable_threshold=0.6")
    otsu = (*small, *_RECIPE_SEEDS)
    fused = ("saliency.method=layercam_fusion", "localize.working_size=112", *_RECIPE_SEEDS)
    both = (*fused, _BOTH)
    names = {
        "plain gradient, 95/30, GrabCut at 224": plain,
        "a Gaussian of 3 % over the map": smooth,
        "GrabCut at 112 pixels": small,
        "the upper 40 % as probable foreground": split,
        "seeds around Otsu's threshold": otsu,
        "with the last layer: LayerCAM": (*fused, f"saliency.layers=[{last}]"),
        "with three layers: fused maps": fused,
        "inputs of 224 and 320 pixels": both,
        RECIPE: (*both, "localize.refine={method: grabcut, iterations: 2}"),
    }
    rows = [
        Step(name, "path", before, changes)
        for (name, changes), before in zip(names.items(), [None, *names], strict=False)
    ]
    crops, larger = "saliency.views.kind=ten_crop", "saliency.views.input_sizes=[320]"
    left = {
        rows[0].name: Step(PAPER, "path", rows[0].name, (*plain, crops)),
        "seeds around Otsu's threshold": Step(
            "ten crops instead of one view (left again)",
            "path",
            "seeds around Otsu's threshold",
            (*otsu, crops),
        ),
        "with three layers: fused maps": Step(
            "an input of 320 pixels instead of 224 (left again)",
            "path",
            "with three layers: fused maps",
            (*fused, larger),
        ),
    }
    return [each for row in rows for each in (row, left.get(row.name)) if each is not None]


def _beside(section: str, against: str, rows: dict[str, tuple[str, ...]]) -> list[Step]:
    return [Step(name, section, against, changes) for name, changes in rows.items()]


def _without(recipe: tuple[str, ...]) -> list[Step]:
    cut = (
        "localize.seeds.background=0",
        "localize.seeds.probable_threshold=0.5",
        "localize.seeds.foreground=0.5",
        "localize.refine={method: none}",
    )
    quantiles = (
        "localize.seeds.threshold=quantile",
        "localize.seeds.background=0.3",
        "localize.seeds.probable_threshold=0.6",
        "localize.seeds.foreground=0.95",
    )
    rows = {
        SMALL: _at_224(recipe),
        "without the smaller input: 320 pixels": (
            *_at_224(recipe),
            "saliency.views.input_sizes=[320]",
        ),
        "without GrabCut: the map cut at Otsu's threshold": (*recipe, *cut),
        "without Otsu's threshold: quantiles 95/60/30": (*recipe, *quantiles),
        "without probable foreground": (*recipe, "localize.seeds.undecided=probable_background"),
    }
    return _beside("without", RECIPE, rows)


def _map(recipe: tuple[str, ...], layers: Sequence[str]) -> list[Step]:
    """Rows of the map's parts, at one input size, where maps cost a third."""
    small = _at_224(recipe)
    bare = (*small, _NO_GRADIENT, f"saliency.layers=[{layers[-1]}]")
    linear = "saliency.power=1"
    rows = {
        "without the gradient": (*small, _NO_GRADIENT),
        "the last layer alone": bare,
        "the middle layer alone": (
            *small,
            _NO_GRADIENT,
            f"saliency.layers=[{layers[1]}]",
        ),
        "the finest layer alone": (
            *small,
            _NO_GRADIENT,
            f"saliency.layers=[{layers[0]}]",
        ),
        "without the roots (power 1)": (*small, linear),
        "without smoothing of the gradient": (*small, "saliency.smoothing=0"),
    }
    # Alignment cannot be switched off in fused maps. With the last layer alone and no root, a
    # fused map is LayerCAM's but for alignment, so that the two differ in nothing else.
    aligned = "the last layer alone, power 1: aligned"
    plain = tuple(change for change in small if not change.startswith("saliency.method"))
    cam = (*plain, "saliency.method=layer_cam", f"saliency.layer={layers[-1]}")
    return [
        *_beside("map", SMALL, rows),
        Step(aligned, "map", SMALL, (*bare, linear)),
        Step("the same, not aligned (layer_cam)", "map", aligned, cam),
    ]


def _tried(recipe: tuple[str, ...]) -> list[Step]:
    small = _at_224(recipe)
    one_round = "localize.refine={method: grabcut, iterations: 1}"
    rows = {
        "one round": (*recipe, one_round),
        "three rounds": (*recipe, "localize.refine={method: grabcut, iterations: 3}"),
        "working size 80": (*recipe, "localize.working_size=80"),
        "working size 160": (*recipe, "localize.working_size=160"),
        "224 pixels, one round": (*small, one_round),
        "224 pixels, working size 96": (*small, "localize.working_size=96"),
        FAST: (*small, _NO_GRADIENT, one_round),
        "256 pixels, without the gradient": (
            *small,
            "saliency.views.input_sizes=[256]",
            _NO_GRADIENT,
        ),
    }
    return _beside("tried", RECIPE, rows)


def _at_224(recipe: tuple[str, ...]) -> tuple[str, ...]:
    """Leave the recipe with the weights' own input size alone."""
    return tuple(change for change in recipe if change != _BOTH)
