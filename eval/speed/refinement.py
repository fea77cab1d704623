"""Refinement: working sizes and threads."""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from eval.speed.measure import classifier_of, in_turns, medians, photographs, ratio

NATIVE: dict[str, Any] = {"working_size": None}
VARIANTS: dict[str, dict[str, Any]] = {
    "112": {"working_size": 112},
    "160": {"working_size": 160},
    "224": {"working_size": 224},
}


def grabcut(arguments: argparse.Namespace) -> dict[str, Any]:
    """Variants of the refinement, on photographs (time, masks) and on images with boxes."""
    import cv2

    cv2.setNumThreads(1)
    localizer = localizer_of(arguments, NATIVE)
    photos = photographs(arguments)[:: 8 if arguments.quick else 2]
    on_photos = variants_on(arguments, localizer, [(path, None, None) for path in photos])
    found: dict[str, Any] = {"smoothing": arguments.smoothing, "photographs": on_photos}
    if arguments.ilsvrc is not None:
        count = arguments.images or (30 if arguments.quick else 325)
        found["images_with_boxes"] = variants_on(
            arguments, localizer, annotated(arguments, localizer, count)
        )
    return found


def annotated(arguments: argparse.Namespace, localizer: Any, count: int) -> list[Any]:
    """Path, label and boxes of evenly spaced images."""
    from wsl.data.open import open_dataset
    from wsl.data.readers.ilsvrc import IlsvrcOptions

    dataset = open_dataset(IlsvrcOptions(root=arguments.ilsvrc), localizer.classifier.categories)
    step = max(1, len(dataset) // count)
    samples = [dataset.sample(index) for index in range(0, len(dataset), step)][:count]
    return [
        (sample.path, sample.label, sample.annotation.boxes(sample.label)) for sample in samples
    ]


def localizer_of(arguments: argparse.Namespace, options: dict[str, Any]) -> Any:
    """Localizer of the network with options for GrabCut."""
    from wsl.localize.localizer import Localizer
    from wsl.localize.options import LocalizerOptions

    classifier = classifier_of(arguments.network, arguments)
    seeds = {"smoothing": arguments.smoothing}
    localize = {"seeds": seeds, "quality": False, **options}
    return Localizer(classifier, LocalizerOptions.model_validate({"localize": localize}))


def variants_on(arguments: argparse.Namespace, localizer: Any, images: list[Any]) -> dict[str, Any]:
    """Refine the map of one class of each image in all variants, image by image."""
    from wsl.score.estimates import difference_estimate

    rows: dict[str, list[tuple[float, float, bool]]] = {"own size": []}
    rows |= {name: [] for name in VARIANTS}
    variants = {name: localizer_of(arguments, options) for name, options in VARIANTS.items()}
    for path, label, boxes in images:
        looked = looked_at(localizer, path, label)
        native, seconds = refined(localizer, looked, path.stem)
        rows["own size"].append((1.0, seconds, is_hit(native.box, boxes)))
        for name, variant in variants.items():
            other, seconds = refined(variant, looked, path.stem)
            agreement = 1.0 if not (native.mask | other.mask).any() else iou(native, other)
            rows[name].append((agreement, seconds, is_hit(other.box, boxes)))
    own = rows["own size"]
    found: dict[str, Any] = {"images": len(images)}
    for name, each in rows.items():
        row = {
            "times_faster": round(sum(s for _, s, _ in own) / sum(s for _, s, _ in each), 2),
            "mask_iou_with_own_size": round(statistics.fmean(a for a, _, _ in each), 4),
            "cpu_seconds": round(statistics.fmean(s for _, s, _ in each), 4),
        }
        if images[0][2] is not None:
            hits, before = [float(hit) for *_, hit in each], [float(hit) for *_, hit in own]
            row["gt_known"] = round(statistics.fmean(hits), 4)
            difference = difference_estimate("gt_known", before, hits)
            row["gt_known_difference_95"] = [round(difference.low, 4), round(difference.high, 4)]
        found[name] = row
    return found


def looked_at(localizer: Any, path: Path, label: int | None) -> tuple[Any, Any, Any]:
    """Pixels, views and explanation of an image, of its label or else the first class."""
    from wsl.data.images import load_image

    pixels = load_image(path)
    views = localizer.views(pixels)
    wanted = [] if label is None else [label]
    (explained,) = localizer.explain([views], [wanted], first=0 if wanted else 1)
    return pixels, views, explained


def refined(localizer: Any, looked: tuple[Any, Any, Any], image_id: str) -> tuple[Any, float]:
    """Localize an image's first class; return that and the thread's processor seconds."""
    begun = time.thread_time()
    pixels, views, explained = looked
    maps = localizer.image_maps(explained, views)
    (found,) = localizer.localize(pixels, maps, image_id=image_id, top_k=1)
    return found, time.thread_time() - begun


def iou(first: Any, second: Any) -> float:
    """IoU of two localizations' masks."""
    from wsl.masks import mask_iou

    return mask_iou(first.mask, second.mask)


def is_hit(box: Any, boxes: Any) -> bool:
    """Tell whether a box has an IoU of 0.5 or more with one of the true ones."""
    from wsl.boxes import box_iou

    if box is None or boxes is None or not len(boxes):
        return False
    return bool(box_iou([box], boxes).max() >= 0.5)


def workers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Refine the same images with 1 thread and with 2, as the engine's threads do."""
    import cv2

    cv2.setNumThreads(1)
    localizer = localizer_of(arguments, {})
    paths = photographs(arguments)[:: 12 if arguments.quick else 3]
    images = [(path, *looked_at(localizer, path, None)) for path in paths]

    def refine_all(threads: int) -> None:
        waiting = list(images)

        def work() -> None:
            while True:
                try:
                    path, pixels, views, explained = waiting.pop()
                except IndexError:
                    return
                maps = localizer.image_maps(explained, views)
                localizer.localize(pixels, maps, image_id=path.stem, top_k=1)

        pool = [threading.Thread(target=work) for _ in range(threads)]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()

    times = in_turns(
        {"1 worker": lambda: refine_all(1), "2 workers": lambda: refine_all(2)},
        1 if arguments.quick else 3,
    )
    return {
        "1_over_2_workers": ratio(times, "1 worker", "2 workers"),
        "images": len(images),
        "seconds": medians(times),
    }
