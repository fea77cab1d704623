"""The recipes stage by stage, beside the naive chain and beside the floor.

All on the same photographs and classes, image by image in turns, in one thread; times are processor
seconds, so that other work on the machine counts for little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from captum.attr import Saliency
from numpy.typing import NDArray
from PIL import Image

from eval.speed.measure import NETWORKS, classifier_of
from wsl.boxes import Box, box_iou
from wsl.data.images import load_image
from wsl.localize.image_maps import ImageMaps, working_size
from wsl.localize.localizer import Localizer
from wsl.localize.seeds import Seeds, quantile_seeds, smooth_map
from wsl.masks import Mask, largest_component, mask_iou, mask_to_box
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.score.estimates import proportion_estimate

RECIPES = ("default", "fast", "masks")


class Clock:
    """Processor seconds by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def __call__(self, stage: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call, and count the time for a stage."""
        begun = time.process_time()
        result = call(*arguments, **named)
        self.seconds[stage] += time.process_time() - begun
        return result

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def recipes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the recipes on photographs with masks (Pascal VOC), by network."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    names = (arguments.voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    step = max(1, len(names) // arguments.images)
    names = names[::step][: arguments.images]
    found = {name: of_network(name, arguments, names) for name in NETWORKS}
    return {"images": len(names), "classes": arguments.classes, "networks": found}


def of_network(name: str, arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Time the recipes, their floors and the naive chain with one network."""
    classifier = classifier_of(name, arguments)
    localizers = {recipe: Localizer(classifier, recipe) for recipe in RECIPES}
    chains = ["naive", *(f"{kind}{recipe}" for recipe in RECIPES for kind in ("", "floor of "))]
    clocks: dict[str, list[Clock]] = {chain: [] for chain in chains}
    hits: dict[str, list[bool]] = defaultdict(list)
    overlaps: dict[str, list[float]] = defaultdict(list)
    for number, image in enumerate([names[0], *names]):  # the first is done once before
        path = arguments.voc / "JPEGImages" / f"{image}.jpg"
        boxes, objects = truth(arguments.voc / "SegmentationObject" / f"{image}.png")
        first: dict[str, tuple[Box | None, Mask]] = {}
        spent = {chain: Clock() for chain in chains}
        for recipe, localizer in localizers.items():
            cut, labels = run_recipe(
                spent[recipe], localizer, path, arguments.classes, first, recipe
            )
            run_floor(spent[f"floor of {recipe}"], localizer, path, labels, cut)
        if number == 0:
            continue
        first["naive"] = naive_chain(spent["naive"], classifier, path, arguments.classes)
        for chain, clock in spent.items():
            clocks[chain].append(clock)
        for chain, (box, mask) in first.items():
            hits[chain].append(box is not None and bool(box_iou([box], boxes).max() >= 0.5))
            overlaps[chain].append(mask_iou(mask, objects))
        print(
            name, image, {chain: round(each.total, 3) for chain, each in spent.items()}, flush=True
        )
    return {chain: row(chain, clocks, hits, overlaps) for chain in ["naive", *RECIPES]}


def row(
    chain: str,
    clocks: dict[str, list[Clock]],
    hits: dict[str, list[bool]],
    overlaps: dict[str, list[float]],
) -> dict[str, Any]:
    """Sum one chain up: seconds per image by stage, ratios, accuracy."""
    count, total = len(clocks[chain]), sum(each.total for each in clocks[chain])
    stages = {
        stage: round(sum(each.seconds[stage] for each in clocks[chain]) / count, 4)
        for stage in clocks[chain][0].seconds
    }
    hit = proportion_estimate("box of IoU 0.5", hits[chain])
    found: dict[str, Any] = {
        "seconds": round(total / count, 4),
        "stages": stages,
        "slowest_share": round(max(stages.values()) * count / total, 3),
        "box_hits": [round(hit.value, 3), round(hit.low, 3), round(hit.high, 3)],
        "mask_iou": round(statistics.fmean(overlaps[chain]), 3),
    }
    if chain != "naive":
        found["naive_over_this"] = ratio(clocks["naive"], clocks[chain])
        found["this_over_floor"] = ratio(clocks[chain], clocks[f"floor of {chain}"])
    return found


def ratio(over: list[Clock], under: list[Clock]) -> list[float]:
    """Ratio of the sums, with the smallest and the largest of an image."""
    each = [a.total / b.total for a, b in zip(over, under, strict=True)]
    whole = sum(a.total for a in over) / sum(b.total for b in under)
    return [round(value, 3) for value in (whole, min(each), max(each))]


def truth(path: Path) -> tuple[list[Box], Mask]:
    """Boxes of the annotated objects, and the mask of all of them."""
    numbers = np.asarray(Image.open(path))
    masks = [numbers == number for number in np.unique(numbers) if number not in (0, 255)]
    boxes = [box for mask in masks if (box := mask_to_box(mask)) is not None]
    return boxes, np.logical_or.reduce(masks)


def run_recipe(
    clock: Clock,
    localizer: Localizer,
    path: Path,
    classes: int,
    first: dict[str, tuple[Box | None, Mask]],
    recipe: str,
) -> tuple[list[tuple[Any, NDArray[np.uint8], Seeds]], list[int]]:
    """Localize an image's first classes; return what its floor starts from."""
    pixels = clock("decode", load_image, path)
    views = clock("decode", localizer.views, pixels)
    (explained,) = clock("saliency", localizer.explain, [views], [()], first=classes)
    maps = clock("refine", localizer.image_maps, explained, views)
    found = clock("refine", localizer.localize, pixels, maps, image_id=path.stem, top_k=classes)
    first[recipe] = found[0].box, found[0].mask
    return cuts(localizer, pixels, maps), list(maps.classes)


def cuts(
    localizer: Localizer, pixels: NDArray[np.uint8], maps: ImageMaps
) -> list[tuple[Any, NDArray[np.uint8], Seeds]]:
    """Return options, image and seeds of each GrabCut that a recipe does."""
    from wsl.localize.segment import _smooth_colors

    options = localizer.options.localize
    found = []
    for slot in range(len(maps.classes)):
        for cut in (options, options.box):
            if cut is None:
                continue
            at = working_size((pixels.shape[0], pixels.shape[1]), cut.working_size)
            map_ = smooth_map(maps.of_class(slot)[cut.working_size], cut.seeds.smoothing)
            small = cv2.resize(pixels, at[::-1], interpolation=cv2.INTER_AREA)
            smooth = _smooth_colors(np.asarray(small), cut.color_smoothing)
            found.append((cut, smooth, quantile_seeds(map_, cut.seeds)))
    return found


def run_floor(
    clock: Clock,
    localizer: Localizer,
    path: Path,
    labels: list[int],
    cut: list[tuple[Any, NDArray[np.uint8], Seeds]],
) -> None:
    """Only what cannot be left out: decoding, forward and backward passes, GrabCut."""
    classifier = localizer.classifier
    assert isinstance(classifier, Classifier)
    sizes = [
        (group.shape[-2], group.shape[-1]) for group in localizer.views(load_image(path)).groups
    ]
    inputs = clock("decode", read, path, sizes, classifier.preprocessing)
    with classifier.inference():
        for each in inputs:
            clock("saliency", one_backward_each, classifier.module, each, labels)
    for options, image, seeds in cut:
        if (seeds == cv2.GC_FGD).any():
            clock("refine", grab_cut, image, seeds, options.refine.iterations)


def read(path: Path, sizes: list[tuple[int, int]], preprocessing: Preprocessing) -> list[Any]:
    """Decode an image and make the network's inputs with nothing but OpenCV."""
    rgb = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return [preprocessing.normalize(cv2.resize(rgb, size[::-1]))[None] for size in sizes]


def one_backward_each(module: torch.nn.Module, inputs: Any, labels: list[int]) -> None:
    """One forward pass and a backward pass for each class."""
    leaf = inputs.requires_grad_()
    scores = module(leaf)[0]
    for label in labels:
        torch.autograd.grad(scores[label], leaf, retain_graph=label != labels[-1])


def grab_cut(image: NDArray[np.uint8], seeds: Seeds, iterations: int) -> Mask:
    """Refine seeds by GrabCut."""
    labels, models = seeds.copy(), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.grabCut(image, labels, (0, 0, 0, 0), *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.asarray(labels & 1, dtype=bool)


def naive_chain(
    clock: Clock, classifier: Classifier, path: Path, classes: int
) -> tuple[Box | None, Mask]:
    """Captum per class and GrabCut at the image's own size, 5 rounds: the first class's result."""
    attributor = Saliency(classifier.module)
    size = classifier.preprocessing.crop_size
    bgr = clock("decode", cv2.imread, str(path), cv2.IMREAD_COLOR)
    (inputs,) = clock("decode", read, path, [size], classifier.preprocessing)
    with torch.no_grad():
        scores = clock("saliency", classifier.module, inputs)
    masks = []
    for label in scores[0].topk(classes).indices.tolist():
        found = clock("saliency", attributor.attribute, inputs, target=label)[0].amax(dim=0).numpy()
        masks.append(clock("refine", naive_mask, bgr, found))
    largest = largest_component(masks[0])
    return mask_to_box(largest), largest


def naive_mask(image: NDArray[np.uint8], map_: NDArray[np.float32]) -> Mask:
    """Seeds at the paper's quantiles of the enlarged map, and GrabCut."""
    large = cv2.resize(map_, (image.shape[1], image.shape[0]))
    low, high = np.quantile(large, [0.30, 0.95])
    seeds = np.full(large.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[large <= low], seeds[large >= high] = cv2.GC_BGD, cv2.GC_FGD
    return grab_cut(image, seeds, 5)
