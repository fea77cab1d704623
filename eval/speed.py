r"""Measure how fast wsl is: ratios to captum, to the naive chain, and to what the machine allows.

    python eval/speed.py --ilsvrc ILSVRC --photos FOLDER --weights FOLDER

Parts (``--parts saliency grabcut end_to_end workers memory cold_start``; all by default):

saliency     top-5 maps of one batch, beside captum's ``Saliency`` called per class, beside a loop
             that runs the network anew for each class, and beside the floor of 1 + 5 forward passes
grabcut      working sizes, early stop and band: time, mask IoU with GrabCut at the image's own
             size, and GT-known localization with the paired difference to the images' own size
end_to_end   photographs through ``wsl run``, beside the naive chain: captum per class and
             ``cv2.grabCut`` at the image's own size, 5 rounds, one image after another
workers      the refinement of the same images with 1 and with 2 threads
memory       peak memory of runs over a list of images and over the same list many times as long
cold_start   processor seconds of ``import wsl`` and ``wsl --help``

What is compared runs in one process and in turns, repetition by repetition, so that a machine's
moods hit both sides; figures are medians over the repetitions, ratios medians of the repetitions'
ratios. Each time is given on the clock (``wall``) and in processor seconds of all threads
(``cpu``). On a machine that is shared the clock means little: there the ratios of processor seconds
are the ones to read, and the load before each part is written beside it.

``--quick`` takes fewer images and repetitions (about two minutes on two free cores, instead of
twelve). Results go to ``eval/results/speed.json``, part by part: parts that are not run keep
theirs.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "speed.json"
TOP_K = 5
NETWORKS = ("squeezenet1_0", "mobilenet_v2", "resnet50")
NATIVE: dict[str, Any] = {"working_size": None}
VARIANTS: dict[str, dict[str, Any]] = {
    "112": {"working_size": 112},
    "112 settled": {"working_size": 112, "settled": 0.005},
    "112 settled, band": {"working_size": 112, "settled": 0.005, "band": 1.5},
    "160 settled": {"working_size": 160, "settled": 0.005},
    "160 settled, band": {"working_size": 160, "settled": 0.005, "band": 1.5},
    "224": {"working_size": 224},
    "224 settled": {"working_size": 224, "settled": 0.005},
    "224 settled, band": {"working_size": 224, "settled": 0.005, "band": 1.5},
}
PHOTO_ENDINGS = {".jpg", ".jpeg", ".png"}


def main() -> None:
    """Run the parts and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ilsvrc", type=Path, help="images with boxes, in the challenge's layout")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--weights", type=Path, help="folder of NETWORK-imagenet1k.safetensors")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--network", default="squeezenet1_0", help="of all parts but saliency")
    parser.add_argument("--smoothing", type=float, default=0.0, help="of the seeds' maps")
    parser.add_argument("--images", type=int, help="images with boxes for grabcut")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory-probe", nargs=2, metavar=("LIST", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.memory_probe:
        print(memory_probe(arguments, *map(Path, arguments.memory_probe)))
        return
    written: dict[str, Any] = {}
    if arguments.results.exists():
        written = json.loads(arguments.results.read_text())
    for name in arguments.parts:
        load, began = os.getloadavg()[0], time.perf_counter()
        print(f"{name} (load {load:.1f})", flush=True)
        found = PARTS[name](arguments)
        about = about_this_run(arguments, load, time.perf_counter() - began)
        written[name] = {**found, "about": about}
        print(json.dumps(found, indent=1), flush=True)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(written, indent=2) + "\n")


def about_this_run(arguments: argparse.Namespace, load: float, seconds: float) -> dict[str, Any]:
    """Everything that a figure depends on."""
    root = Path(__file__).parent
    command = ["git", "rev-parse", "--short", "HEAD"]
    return {
        "commit": subprocess.check_output(command, cwd=root, text=True).strip(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {arguments.threads} threads",
        "load_before": round(load, 1),
        "seconds": round(seconds),
        "quick": arguments.quick,
        "versions": {
            name: version(name) for name in ("torch", "torchvision", "opencv-python", "captum")
        },
    }


# Measuring ----------------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(
    calls: dict[str, Callable[[], Any]], repetitions: int
) -> dict[str, list[tuple[float, float]]]:
    """Time calls in turns, after one turn that warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            taken = timed(call)
            if repetition:
                times[name].append(taken)
    return times


def medians(times: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Median seconds by name and clock."""
    return {
        name: {
            clock: round(statistics.median(taken[index] for taken in each), 4)
            for index, clock in enumerate(("wall", "cpu"))
        }
        for name, each in times.items()
    }


def ratio(times: dict[str, list[tuple[float, float]]], over: str, under: str) -> dict[str, float]:
    """Median over the repetitions of one time divided by another of the same turn."""
    return {
        clock: round(
            statistics.median(
                a[index] / b[index] for a, b in zip(times[over], times[under], strict=True)
            ),
            3,
        )
        for index, clock in enumerate(("wall", "cpu"))
    }


# Saliency -----------------------------------------------------------------------------------------


def saliency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Top-5 maps of a batch, by network."""
    import torch

    torch.set_num_threads(arguments.threads)
    networks = NETWORKS[:2] if arguments.quick else NETWORKS
    found = {
        name: saliency_of(name, arguments, repetitions=1 if arguments.quick else 3)
        for name in networks
    }
    return {"batch": arguments.batch, "classes": TOP_K, **found}


def saliency_of(name: str, arguments: argparse.Namespace, *, repetitions: int) -> dict[str, Any]:
    """Compare the ways to the top-5 maps of one network."""
    import torch
    from captum.attr import Saliency

    from wsl.saliency.base import top_k
    from wsl.saliency.gradient import gradient_saliency

    classifier = classifier_of(name, arguments)
    module = copy.deepcopy(classifier.module).eval()
    plain = copy.copy(classifier)
    object.__setattr__(plain, "optimise", False)
    inputs = batch_of(arguments, classifier)
    with torch.no_grad():
        best = module(inputs).topk(TOP_K).indices
    attributor = Saliency(module)

    def per_class() -> torch.Tensor:
        maps = [attributor.attribute(inputs, target=best[:, k]) for k in range(TOP_K)]
        return torch.stack(maps, dim=1).amax(dim=2)

    def naive() -> None:
        for k in range(TOP_K):
            leaf = inputs.clone().requires_grad_()
            module(leaf).gather(1, best[:, k : k + 1]).sum().backward()

    @torch.no_grad()
    def floor() -> None:
        for _ in range(1 + TOP_K):
            module(inputs)

    def ours() -> torch.Tensor:
        return gradient_saliency(classifier, inputs, top_k(TOP_K), wrt="input").maps

    times = in_turns(
        {
            "wsl": ours,
            "wsl without the copy": lambda: gradient_saliency(plain, inputs, top_k(TOP_K)),
            "captum": per_class,
            "naive loop": naive,
            "floor": floor,
        },
        repetitions,
    )
    difference = (ours() - per_class()).flatten(1).norm(dim=1) / per_class().flatten(1).norm(dim=1)
    return {
        "captum_over_wsl": ratio(times, "captum", "wsl"),
        "wsl_over_floor": ratio(times, "wsl", "floor"),
        "naive_over_wsl": ratio(times, "naive loop", "wsl"),
        "without_the_copy_over_floor": ratio(times, "wsl without the copy", "floor"),
        "relative_difference_to_captum": {
            "median": float(difference.median()),
            "highest": float(difference.max()),
        },
        "seconds": medians(times),
    }


def classifier_of(name: str, arguments: argparse.Namespace) -> Any:
    """Classifier with the weights of the folder; random ones where it has none."""
    import torch

    from wsl import load_classifier

    torch.manual_seed(0)
    if name == "demo":
        return load_classifier(name, device="cpu", optimise=True)
    checkpoint = (arguments.weights or Path()) / f"{name}-imagenet1k.safetensors"
    if not checkpoint.is_file():
        return load_classifier(name, weights=None, device="cpu", optimise=True)
    return load_classifier(name, checkpoint=checkpoint, device="cpu", optimise=True)


def batch_of(arguments: argparse.Namespace, classifier: Any) -> Any:
    """Take the first photographs as inputs; noise where there are none."""
    import torch

    from wsl.data.images import load_image
    from wsl.saliency.views import make_views

    if arguments.photos is None:
        return torch.randn(arguments.batch, 3, 224, 224)
    paths = photographs(arguments)[: arguments.batch]
    views = [make_views(load_image(path), classifier.preprocessing) for path in paths]
    return torch.cat([view.inputs for view in views])


def photographs(arguments: argparse.Namespace) -> list[Path]:
    """Files of the photographs, by name."""
    if arguments.photos is None:
        raise SystemExit("--photos must be given for this part")
    files = sorted(arguments.photos.iterdir())
    return [path for path in files if path.suffix.lower() in PHOTO_ENDINGS]


# GrabCut ------------------------------------------------------------------------------------------


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
    from wsl.data.options import DataOptions

    dataset = open_dataset(DataOptions(root=arguments.ilsvrc), localizer.classifier.categories)
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
    localize = {"seeds": {"smoothing": arguments.smoothing}, "grabcut": options}
    return Localizer(classifier, LocalizerOptions.model_validate({"localize": localize}))


def variants_on(arguments: argparse.Namespace, localizer: Any, images: list[Any]) -> dict[str, Any]:
    """Refine the map of one class of each image in all variants, image by image."""
    from wsl.score.intervals import bootstrap_difference

    rows: dict[str, list[tuple[float, float, bool]]] = {"own size": []}
    rows |= {name: [] for name in VARIANTS}
    for path, label, boxes in images:
        pixels, views, explained = looked_at(localizer, path, label)
        native, seconds = refined(arguments, pixels, views, explained, NATIVE, path.stem)
        rows["own size"].append((1.0, seconds, is_hit(native.box, boxes)))
        for name, options in VARIANTS.items():
            other, seconds = refined(arguments, pixels, views, explained, options, path.stem)
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
            low, high = bootstrap_difference(before, hits)
            row["gt_known_difference_95"] = [round(low, 4), round(high, 4)]
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


def refined(
    arguments: argparse.Namespace,
    pixels: Any,
    views: Any,
    explained: Any,
    options: dict[str, Any],
    image_id: str,
) -> tuple[Any, float]:
    """Refine an image's first class; return that and the thread's processor seconds."""
    from wsl.data.geometry import average_maps
    from wsl.localize.grabcut import rng_seed, working_size
    from wsl.localize.refine import LocalizeOptions, refine

    chosen = LocalizeOptions.model_validate(
        {"seeds": {"smoothing": arguments.smoothing}, "grabcut": options}
    )
    begun = time.thread_time()
    at = working_size(pixels.shape[:2], chosen.grabcut.working_size)
    saliency_map = average_maps([explained.input_maps[0][0]], views.geometries, size=at)
    seed = rng_seed(image_id, explained.classes[0], 0)
    return refine(pixels, saliency_map, chosen, random_seed=seed), time.thread_time() - begun


def iou(first: Any, second: Any) -> float:
    """IoU of two refinements' masks."""
    from wsl.masks import mask_iou

    return mask_iou(first.mask, second.mask)


def is_hit(box: Any, boxes: Any) -> bool:
    """Tell whether a box has an IoU of 0.5 or more with one of the true ones."""
    from wsl.boxes import box_iou

    if box is None or boxes is None or not len(boxes):
        return False
    return bool(box_iou([box], boxes).max() >= 0.5)


# End to end ---------------------------------------------------------------------------------------


def end_to_end(arguments: argparse.Namespace) -> dict[str, Any]:
    """Photographs through a run and through the naive chain, in turns by groups of images."""
    import torch

    torch.set_num_threads(arguments.threads)
    paths = photographs(arguments)[:: 16 if arguments.quick else 1]
    # The naive chain takes most of the time: a part of the images stands for all of them.
    naive_paths = paths if arguments.quick else paths[::4]
    found: dict[str, Any] = {"photographs": len(paths), "naive_on": len(naive_paths)}
    classifier = classifier_of(arguments.network, arguments)
    naive_wall, naive_cpu = timed(lambda: naive_chain(classifier, naive_paths))
    per_image = {
        "naive": {"wall": naive_wall / len(naive_paths), "cpu": naive_cpu / len(naive_paths)}
    }
    for name, options in {"default": {}, **VARIANTS}.items():
        if name not in ("default", "224 settled", "224 settled, band", "112 settled, band"):
            continue
        info, (wall, cpu) = run_over(arguments, paths, options)
        on_same = wall, cpu
        if len(naive_paths) < len(paths):
            _, on_same = run_over(arguments, naive_paths, options)
        per_image[name] = {"wall": wall / len(paths), "cpu": cpu / len(paths)}
        found[name] = {
            "naive_over_wsl": {
                "wall": round(naive_wall / on_same[0], 2),
                "cpu": round(naive_cpu / on_same[1], 2),
            },
            **efficiency(info),
        }
    found["seconds_per_image"] = {
        name: {clock: round(value, 4) for clock, value in each.items()}
        for name, each in per_image.items()
    }
    return found


def naive_chain(classifier: Any, paths: Sequence[Path]) -> None:
    """Captum per class and GrabCut at the image's own size, one image after another."""
    import cv2
    import numpy as np
    import torch
    from captum.attr import Saliency

    attributor = Saliency(classifier.module)
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        rgb = cv2.cvtColor(cv2.resize(bgr, (224, 224)), cv2.COLOR_BGR2RGB)
        inputs = classifier.preprocessing.normalise(rgb)[None]
        with torch.no_grad():
            best = classifier.module(inputs)[0].topk(TOP_K).indices.tolist()
        for label in best:
            found = attributor.attribute(inputs, target=label)[0].amax(dim=0).numpy()
            large = cv2.resize(found, (bgr.shape[1], bgr.shape[0]))
            low, high = np.quantile(large, [0.30, 0.95])
            labels = np.full(large.shape, cv2.GC_PR_BGD, np.uint8)
            labels[large <= low], labels[large >= high] = cv2.GC_BGD, cv2.GC_FGD
            background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
            no_box = (0, 0, 0, 0)
            cv2.grabCut(bgr, labels, no_box, background, foreground, 5, cv2.GC_INIT_WITH_MASK)
            mask = (labels & 1).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            if count > 1:
                stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()].tolist()


def run_over(
    arguments: argparse.Namespace,
    paths: Sequence[Path],
    options: dict[str, Any],
    workers: int | None = None,
) -> tuple[Any, tuple[float, float]]:
    """Run the command's own way over some images; return the run's record and its times."""
    from wsl.run.runner import run_dataset

    classifier = classifier_of(arguments.network, arguments)
    with tempfile.TemporaryDirectory() as scratch:
        config = config_of(arguments, Path(scratch), paths, options, workers)
        summaries: list[Any] = []
        times = timed(
            lambda: summaries.append(
                run_dataset(config, Path(scratch) / "run", classifier=classifier)
            )
        )
    return summaries[0].info, times


def config_of(
    arguments: argparse.Namespace,
    scratch: Path,
    paths: Sequence[Path],
    options: dict[str, Any],
    workers: int | None,
) -> Any:
    """Configure a run over a folder of links to images."""
    from wsl.config import RunConfig

    folder = scratch / "images"
    folder.mkdir()
    for number, path in enumerate(paths):
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    return RunConfig.model_validate(
        {
            "data": {"format": "files", "root": folder},
            "localize": {"seeds": {"smoothing": arguments.smoothing}, "grabcut": options},
            "classes": {"select": "top_k", "top_k": TOP_K},
            "run": {"batch_size": arguments.batch, "workers": workers},
        }
    )


def efficiency(info: Any) -> dict[str, Any]:
    """Slowest stage's busy time, per thread it has, over the wall's."""
    from wsl.run.engine import worker_count

    timings, threads = dict(info.timings), worker_count(None)
    share = {"decode": threads, "refine": threads}
    busy = {
        stage: timings[stage] / share.get(stage, 1)
        for stage in ("decode", "saliency", "refine", "write")
    }
    slowest = max(busy, key=lambda stage: busy[stage])
    return {
        "efficiency": round(busy[slowest] / timings["wall"], 3),
        "slowest": slowest,
        "timings": {name: round(float(seconds), 2) for name, seconds in timings.items()},
    }


# Workers ------------------------------------------------------------------------------------------


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
                localizer.localize(pixels, views, explained, image_id=path.stem, top_k=1)

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


# Memory and cold start ----------------------------------------------------------------------------


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a run, each in a process of its own, by the length of the dataset.

    GrabCut is left out: it works on one image at a time, and would take hours.
    """
    paths = photographs(arguments)
    if arguments.ilsvrc is not None:
        paths = sorted((arguments.ilsvrc / "Data" / "CLS-LOC" / "val").glob("*.JPEG"))
    lengths = (60, 300) if arguments.quick else (len(paths), 10 * len(paths))
    peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        for length in lengths:
            listed = Path(scratch) / f"{length}.txt"
            listed.write_text("\n".join(str(paths[i % len(paths)]) for i in range(length)))
            command = [sys.executable, *sys.argv, "--memory-probe", str(listed), scratch]
            peaks[length] = float(subprocess.check_output(command, text=True).split()[-1])
    return {
        "growth": round(peaks[lengths[1]] / peaks[lengths[0]], 3),
        "peak_mib_by_images": {str(length): round(peak) for length, peak in peaks.items()},
    }


def memory_probe(arguments: argparse.Namespace, listed: Path, out: Path) -> float:
    """Peak MiB of this process after a run of top-1 maps without GrabCut."""
    from wsl.run.runner import run_dataset

    paths = [Path(line) for line in listed.read_text().splitlines()]
    scratch = out / f"run-{listed.stem}"
    scratch.mkdir()
    options = {"iterations": 0, "working_size": 112}
    config = config_of(arguments, scratch, paths, options, None)
    config = config.model_copy(update={"classes": config.classes.model_copy(update={"top_k": 1})})
    run_dataset(config, scratch / "run", classifier=classifier_of("demo", arguments))
    shutil.rmtree(scratch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cold_start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of processes that do next to nothing."""
    commands = {
        "python": ["-c", "pass"],
        "import wsl": ["-c", "import wsl"],
        "wsl --help": [
            "-c",
            "import sys; sys.argv = ['wsl', '--help']; import wsl.cli as c; c.main()",
        ],
        "import torch": ["-c", "import torch"],
    }
    found = {}
    for name, command in commands.items():
        if name == "import torch" and arguments.quick:
            continue
        found[name] = round(min(child_seconds(command) for _ in range(3)), 3)
    return {"cpu_seconds": found}


def child_seconds(command: list[str]) -> float:
    """Processor seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "saliency": saliency,
    "grabcut": grabcut,
    "end_to_end": end_to_end,
    "workers": workers,
    "memory": memory,
    "cold_start": cold_start,
}

if __name__ == "__main__":
    main()
