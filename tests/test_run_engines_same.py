"""Whatever the settings: the local engine, Ray's workers and tuning make the same masks."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import classifier, rows
from tuning_cases import draw_dataset

from wsl.data.open import open_dataset
from wsl.localize.refiners.base import rng_seed
from wsl.localize.segment import segment
from wsl.masks import encode_rle
from wsl.run.config import build_config
from wsl.run.engines import ray_work
from wsl.run.folder import RunFolder
from wsl.run.runner import build_localizer, describe_run, run_dataset
from wsl.run.stages import Stages
from wsl.tune.maps import MapStore
from wsl.tune.options import TuneOptions
from wsl.tune.space import SearchSpace
from wsl.tune.tuner import store_maps

COUNT = 5


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "data", COUNT, bad=(3,))


def refiners():
    return st.one_of(
        st.builds(lambda n: {"method": "grabcut", "iterations": n}, st.integers(1, 3)),
        st.builds(lambda b: {"method": "random_walker", "beta": b}, st.sampled_from([30, 400])),
        st.just({"method": "none"}),
    )


def seeds():
    levels = st.tuples(st.integers(1, 6), st.integers(7, 9)).map(
        lambda found: {"background": found[0] / 10, "foreground": found[1] / 10}
    )
    thresholds = st.sampled_from(["quantile", "maximum", "otsu"])
    undecided = st.sampled_from(["probable_background", "probable_foreground"])
    return st.builds(
        lambda found, threshold, what, smoothing: {
            **found, "threshold": threshold, "undecided": what, "smoothing": smoothing,
        },
        levels, thresholds, undecided, st.sampled_from([0.0, 0.03]),
    )  # fmt: skip


def views():
    return st.sampled_from(
        [
            {},
            {"flip": True},
            {"kind": "ten_crop"},
            {"kind": "center_crop", "flip": True},
        ]
    )


def cuts():
    return st.fixed_dictionaries(
        {
            "working_size": st.sampled_from([8, 24, None]),
            "seeds": seeds(),
            "refine": refiners(),
        }
    )


contents = st.fixed_dictionaries(
    {
        "saliency": st.fixed_dictionaries({"method": st.just("gradient"), "views": views()}),
        "localize": st.fixed_dictionaries(
            {
                "working_size": st.sampled_from([8, 24, 48, None]),
                "seeds": seeds(),
                "refine": refiners(),
                "color_smoothing": st.sampled_from([0, 30]),
                "boundary": st.sampled_from([None, {}, {"radius": 0.05}]),
                "box": st.none() | cuts(),
                "components": st.sampled_from(["largest", "all"]),
                "quality": st.booleans(),
            }
        ),
        "seed": st.integers(0, 3),
        "run": st.fixed_dictionaries(
            {
                "chunk_size": st.integers(1, COUNT + 1),
                "batch_size": st.integers(1, 12),
                "workers": st.integers(1, 3),
                "maps": st.booleans(),
            }
        ),
    }
)


def on_ray(config, out):
    """Rows of a run, its chunks through an actor and a task by hand."""
    localizer = build_localizer(config, classifier())
    dataset = open_dataset(config.data, localizer.classifier.categories)
    folder = RunFolder(out)
    folder.begin(describe_run(config, localizer, dataset))
    stages = Stages(
        localizer, classes=config.classes, options=config.run, max_pixels=config.data.max_pixels
    )
    plan = ray_work.plan_of(stages, folder)
    explainer = ray_work.Explainer(plan, dataset, 0)
    for chunk in range(-(-COUNT // config.run.chunk_size)):
        ray_work.segment_chunk(explainer({"chunk": np.array([chunk])}), plan)
    return rows(out)


def of_tuning(store: MapStore):
    """Box and mask of each image's class by the settings that are to be improved."""
    found = {}
    options = store.config.localize
    for row, position in enumerate(store.positions.tolist()):
        if store.failure(position) is None:
            image_id, label = store.truth.image_ids[row], int(store.truth.labels[row])
            one = segment(
                store.pixels(position),
                store.maps_of(position, options),
                options,
                random_seed=rng_seed(image_id, label, store.config.seed),
            )
            found[image_id] = (one.box, encode_rle(one.mask))
    return found


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_local_runs_ray_runs_and_tuning_are_the_same(drawn, monkeypatch, content):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda found: found)
    config = build_config(
        {
            "extends": "plain",
            **content,
            "data": {"format": "ilsvrc", "root": str(drawn)},
            "classes": {"select": "ground_truth"},
        }
    )
    with tempfile.TemporaryDirectory() as place:
        run_dataset(config, Path(place) / "local", classifier=classifier())
        local = rows(Path(place) / "local")
        assert on_ray(config, Path(place) / "ray") == local
        space = SearchSpace({"localize.components": ("all",)})
        store = store_maps(
            config, space, Path(place) / "tune", TuneOptions(), classifier=classifier()
        )
        tuned = of_tuning(store)
    ok = [row for row in local if row["status"] == "ok"]
    assert len(ok) == COUNT - 1
    for row in ok:
        corners = tuple(row[key] for key in ("x0", "y0", "x1", "y1"))
        box = None if corners[0] is None else corners
        assert (box, row["mask"]) == tuned[row["image_id"]]
