"""Tuning from beginning to end, against whole runs with each of the settings."""

import itertools
import json
import shutil

import numpy as np
import pytest
from small_runs import classifier, network
from tuning_cases import CountedProgress, config, draw_dataset

from wsl.boxes import centered_box
from wsl.data.open import open_dataset
from wsl.demo.draw import write_dataset
from wsl.errors import ConfigError, RunError, RunMismatchError
from wsl.localize.refiners.base import rng_seed
from wsl.localize.segment import segment
from wsl.run.config import build_config, load_config
from wsl.run.runner import run_dataset
from wsl.score.baselines import TrivialBoxes
from wsl.score.protocols.ilsvrc import IlsvrcOptions, score_ilsvrc
from wsl.score.protocols.mask_iou import MaskIoUOptions
from wsl.tune import ious
from wsl.tune.center import CENTER_SIDES
from wsl.tune.ious import IouTable
from wsl.tune.options import TuneOptions
from wsl.tune.result import write_tuning
from wsl.tune.space import SearchSpace, make_candidate
from wsl.tune.tuner import store_maps, tune

SPACE = SearchSpace(
    {
        "localize.seeds.foreground": (0.8, 0.95),
        "localize.seeds.undecided": ("probable_background", "probable_foreground"),
        "localize.working_size": (24, 224),
    }
)
SMALL = SearchSpace({"localize.seeds.foreground": (0.7, 0.8), "localize.components": ("all",)})


def tuned(settings, out, space=SPACE, options=None, **progress):
    store = store_maps(settings, space, out, options, classifier=classifier())
    return tune(store, space, options, **progress)


def run_figures(settings, choices, out):
    """Estimates that a run with these settings scores, by the command's own scoring."""
    changed = settings.model_copy(update={"localize": make_candidate(settings, choices).options})
    summary = run_dataset(changed, out, classifier=classifier())
    dataset = open_dataset(settings.data, classifier().categories)
    return score_ilsvrc(summary.folder.read().to_pandas(), dataset)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "data", bad=(3,), unannotated=(7,))


@pytest.mark.parametrize(
    "views",
    [
        {},
        {"saliency.views.kind": "ten_crop"},
    ],
    ids=["one view", "ten crops"],
)
def test_every_figure_is_that_of_a_run(drawn, tmp_path, views):
    settings = config(drawn, **views)
    space = SPACE if not views else SMALL
    result = tuned(settings, tmp_path / "tune", space)
    all_choices = [{}, *space.combinations()]
    by_choices = {one.candidate.text: one for one in result.trials}
    assert len(result.trials) == len(all_choices) - (space is SPACE)  # one is what was given
    best = 0.0
    for number, choices in enumerate(all_choices):
        expected = run_figures(settings, choices, tmp_path / f"run{number}")
        text = make_candidate(settings, choices).text
        found = by_choices.get(text, result.trials[0])
        for name in ("gt_known_0.3", "gt_known_0.5", "gt_known_0.7", "mean_iou"):
            assert found.estimate(name) == expected.estimate(name)
        of_three = [expected.estimate(f"gt_known_{at}").value for at in (0.3, 0.5, 0.7)]
        assert found.estimate("gt_known_mean").value == pytest.approx(np.mean(of_three))
        best = max(best, float(np.mean(of_three)))
    assert result.best.estimate("gt_known_mean").value == pytest.approx(best)
    assert result.best.estimates[0].n == 9
    assert result.excluded == 1
    assert [image_id for image_id, _ in result.failures] == ["v_03"]


@pytest.mark.parametrize("objective", ["gt_known_mean", "gt_known_0.5", "mean_iou"])
def test_the_best_is_the_first_of_the_largest(drawn, tmp_path, objective):
    result = tuned(config(drawn), tmp_path / "t", options=TuneOptions(objective=objective))
    values = [one.estimate(objective).value for one in result.trials]
    assert result.trials.index(result.best) == int(np.argmax(values))
    assert result.ordered[0] is result.best
    assert [one.estimate(objective).value for one in result.ordered] == sorted(values, reverse=True)


def test_descent_tries_fewer_and_agrees_with_its_figures(drawn, tmp_path):
    grid = tuned(config(drawn), tmp_path / "grid")
    progress = CountedProgress()
    descent = tuned(
        config(drawn), tmp_path / "descent", options=TuneOptions(search="descent"),
        progress=progress,
    )  # fmt: skip
    assert len(descent.trials) < len(grid.trials)
    by_digest = {one.candidate.digest: one for one in grid.trials}
    for one in descent.trials:
        assert one.estimates == by_digest[one.candidate.digest].estimates
    # One image failed: it is never refined.
    assert progress.done == len(descent.trials) * 8


def test_the_centered_box_is_the_best_of_its_sides(drawn, tmp_path):
    options = TuneOptions(objective="mean_iou")
    result = tuned(config(drawn), tmp_path / "t", SMALL, options)
    run = run_dataset(config(drawn), tmp_path / "run", classifier=classifier())
    predictions = run.folder.read().to_pandas()
    dataset = open_dataset(config(drawn).data, classifier().categories)
    values = {}
    for side in CENTER_SIDES:
        scores = score_ilsvrc(predictions, dataset, boxes=TrivialBoxes(side))
        (estimate,) = [f for f in scores.baselines[1].estimates if f.name == "mean_iou"]
        assert dict(result.center)[side] == estimate
        values[side] = estimate.value
    assert result.center_side == max(values, key=values.get)
    assert centered_box((10, 10), CENTER_SIDES[-1]) == (0, 0, 10, 10)


def test_mask_iou_is_that_of_a_run(tmp_path):
    write_dataset(tmp_path / "data", count=3, seed=4)
    settings = build_config(
        {
            "extends": "plain",
            "data": {"format": "ilsvrc", "root": str(tmp_path / "data")},
            "model": {"source": "demo", "architecture": None},
            "classes": {"select": "ground_truth"},
            "localize": {"working_size": 48},
        }
    )
    space = SearchSpace({"localize.refine.method": ("random_walker", "none")})
    store = store_maps(settings, space, tmp_path / "t")
    result = tune(store, space, TuneOptions(objective="mask_iou"))
    for number, one in enumerate(result.trials):
        changed = settings.model_copy(update={"localize": one.candidate.options})
        run = run_dataset(changed, tmp_path / f"run{number}")
        scores = MaskIoUOptions().score(run.folder, store.dataset)
        assert one.estimate("mask_iou").value == pytest.approx(scores.estimates[0].value)
        side = dict(result.center)[0.75].value
        assert side == pytest.approx(scores.baselines[1].estimates[0].value)
    assert result.best is max(result.trials, key=lambda one: one.estimate("mask_iou").value)


def test_settings_that_change_nothing_are_told(drawn, tmp_path):
    own_box = config(drawn, **{"localize.box": "{working_size: 24}"})
    result = tuned(own_box, tmp_path / "t", SMALL)
    assert "all settings give the same gt_known_mean: boxes of a cut" in result.notes[1]
    assert "all settings" not in " ".join(tuned(config(drawn), tmp_path / "u", SMALL).notes)


def test_mask_iou_needs_masks(drawn, tmp_path):
    with pytest.raises(RunError, match="mask_iou needs the masks of all images, but ilsvrc val"):
        tuned(config(drawn), tmp_path / "t", SMALL, TuneOptions(objective="mask_iou"))


def test_the_number_of_workers_changes_nothing(drawn, tmp_path):
    one = tuned(config(drawn, **{"run.workers": 1}), tmp_path / "one", SMALL)
    four = tuned(config(drawn, **{"run.workers": 4}), tmp_path / "four", SMALL)
    assert one.to_json() == four.to_json()


def test_started_again_nothing_is_done_twice(drawn, tmp_path):
    out = tmp_path / "t"
    first = tuned(config(drawn), out)
    again, refined = CountedProgress(), CountedProgress()
    store = store_maps(config(drawn), SPACE, out, classifier=classifier(), progress=again)
    second = tune(store, SPACE, progress=refined)
    assert second.to_json() == first.to_json()
    assert (again.starts, again.done) == ([(9, 9)], 0)
    assert (refined.starts, refined.done) == ([(81, 81)], 0)


@pytest.mark.parametrize("after", [1, 4, 7])
def test_interrupted_maps_go_on(drawn, tmp_path, after):
    out = tmp_path / "t"
    with pytest.raises(KeyboardInterrupt):
        store_maps(
            config(drawn), SPACE, out, classifier=classifier(), progress=CountedProgress(after)
        )
    progress = CountedProgress()
    store = store_maps(config(drawn), SPACE, out, classifier=classifier(), progress=progress)
    # Whole chunks are kept: 4, 4 and 1 of the 9 annotated images.
    assert progress.starts == [(9, after // 4 * 4)]
    undisturbed = store_maps(config(drawn), SPACE, tmp_path / "u", classifier=classifier())
    for position, size in itertools.product(store.positions.tolist(), store.sizes):
        assert store.failure(position) == undisturbed.failure(position)
        if store.failure(position) is None:
            maps = [one.map_(position, size) for one in (store, undisturbed)]
            np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("after", [1, 20, 60])
def test_an_interrupted_search_goes_on(drawn, tmp_path, after):
    out = tmp_path / "t"
    store = store_maps(config(drawn), SPACE, out, classifier=classifier())
    with pytest.raises(KeyboardInterrupt):
        tune(store, SPACE, progress=CountedProgress(after))
    progress = CountedProgress()
    found = tune(store, SPACE, progress=progress)
    ((total, before),) = progress.starts
    assert total == 81
    assert progress.done == total - before
    assert before - 17 >= after  # of the failed image, and of the candidate that stands twice
    assert found.to_json() == tuned(config(drawn), tmp_path / "undisturbed").to_json()
    assert not list(out.rglob("*.tmp"))


def test_another_space_uses_what_is_there(drawn, tmp_path):
    tuned(config(drawn), tmp_path / "t", SMALL)
    wider = SearchSpace({**SMALL.values, "localize.seeds.foreground": (0.7, 0.8, 0.9)})
    maps, refined = CountedProgress(), CountedProgress()
    store = store_maps(config(drawn), wider, tmp_path / "t", classifier=classifier(), progress=maps)
    tune(store, wider, progress=refined)
    assert maps.done == 0
    assert refined.done == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"saliency.reduction": "l2"}, r"saliency\.reduction was 'max' and is 'l2'"),
        ({"data.subset": "1/2"}, "the list of images is another"),
        ({"seed": 1}, "seed was 0 and is 1"),
    ],
    ids=["maps", "images", "seed"],
)
def test_another_tuning_in_the_same_folder_is_refused(drawn, tmp_path, changes, message):
    store_maps(config(drawn), SMALL, tmp_path / "t", classifier=classifier())
    with pytest.raises(RunMismatchError, match=message):
        store_maps(config(drawn, **changes), SMALL, tmp_path / "t", classifier=classifier())
    with pytest.raises(RunMismatchError, match="the classifier's weights is another"):
        store_maps(config(drawn), SMALL, tmp_path / "t", classifier=classifier(network(1)))


def test_what_refinement_starts_from_may_change_in_the_same_folder(drawn, tmp_path):
    tuned(config(drawn), tmp_path / "t", SMALL)
    changed = config(drawn, **{"localize.seeds.background": 0.2})
    found = tuned(changed, tmp_path / "t", SMALL)
    assert all(one.candidate.options.seeds.background == 0.2 for one in found.trials)


def test_a_folder_of_something_else_is_refused(drawn, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty, and is not a tuning folder"):
        store_maps(config(drawn), SMALL, tmp_path, classifier=classifier())


def test_a_dataset_without_boxes_is_refused(tmp_path):
    root = draw_dataset(tmp_path / "data", 3, unannotated=(0, 1, 2))
    with pytest.raises(RunError, match=r"no image of ilsvrc val can be used for tuning: 'v_00'"):
        store_maps(config(root), SMALL, tmp_path / "t", classifier=classifier())


@pytest.mark.parametrize("search", ["grid", "descent"])
def test_settings_that_cannot_be_used_are_refused_before_any_work(drawn, tmp_path, search):
    space = SearchSpace({"localize.seeds.foreground": (0.9, 0.2)})
    with pytest.raises(ConfigError, match=r"candidate seeds\.foreground=0\.2: .*background must"):
        store_maps(config(drawn), space, tmp_path / "t", TuneOptions(search=search))
    assert not (tmp_path / "t").exists()


def test_a_candidate_that_fails_is_an_error(drawn, tmp_path, monkeypatch):
    store = store_maps(config(drawn), SMALL, tmp_path / "t", classifier=classifier())
    of_image = {rng_seed("v_05", label, 0) for label in range(10)}

    def failing(image, saliency, options, *, random_seed):
        if options.seeds.foreground == 0.8 and random_seed in of_image:
            raise ZeroDivisionError("of a kind")
        return segment(image, saliency, options, random_seed=random_seed)

    with monkeypatch.context() as patched:
        patched.setattr(ious, "segment", failing)
        message = r"candidate seeds\.foreground=0\.8, .* fails on image 'v_05': ZeroDivisionError"
        with pytest.raises(RunError, match=message):
            tune(store, SMALL)
    progress = CountedProgress()
    assert len(tune(store, SMALL, progress=progress).trials) == 3
    assert 0 < progress.done < 24


@pytest.mark.parametrize("after", [3, 11], ids=["maps", "refinement"])
def test_a_folder_that_is_removed_in_the_middle_is_not_made_anew(tmp_path, after):
    class Remove(CountedProgress):
        def advance(self, count, failed):
            super().advance(count, failed)
            if self.done >= after:
                shutil.rmtree(tmp_path / "out", ignore_errors=True)

    settings, told = config(draw_dataset(tmp_path / "data")), Remove()
    with pytest.raises(RunError, match=r"out was removed during the tuning"):
        tune(
            store_maps(settings, SMALL, tmp_path / "out", classifier=classifier(), progress=told),
            SMALL,
            progress=told,
        )
    assert not (tmp_path / "out").exists()


def test_damaged_files_are_refused_by_name(drawn, tmp_path):
    store = store_maps(config(drawn), SMALL, tmp_path / "t", classifier=classifier())
    tune(store, SMALL)
    (block,) = (tmp_path / "t" / "ious").iterdir()
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(RunError, match=r"block-00000\.npz cannot be read; remove it to make"):
        IouTable(store)
    block.unlink()
    path = tmp_path / "t" / "maps" / "224" / "00000000.npy"
    path.write_bytes(b"")
    with pytest.raises(RunError, match=r"00000000\.npy cannot be read; remove it to make it again"):
        tune(store, SMALL)


def test_what_is_written_can_be_run_and_is_called_an_oracle_on_the_same_images(drawn, tmp_path):
    given = config(drawn)
    half = build_config(given.model_dump(mode="json"), ["data.subset=1/2"])
    result = tuned(half, tmp_path / "t")
    path = write_tuning(result, given, tmp_path / "t")
    written = load_config(path)
    assert written.data == given.data
    assert written.localize == result.best.candidate.options
    assert written.tuned_on is not None
    assert written.tuned_on.dataset == "ilsvrc val, subset 1/2"
    assert written.tuned_on.count == 5
    assert written.tuned_on.center_side == result.center_side
    notes = {}
    for part in ("1/2", "2/2"):
        settings = load_config(path, [f"data.subset={part}"])
        run = run_dataset(settings, tmp_path / part[0], classifier=classifier())
        dataset = open_dataset(settings.data, classifier().categories)
        notes[part] = IlsvrcOptions().score(run.folder, dataset).notes[-1]
    assert notes["1/2"].startswith("oracle: the settings were chosen on scored images: 5 of the 5")
    assert notes["2/2"].startswith("the settings were chosen elsewhere: on ilsvrc val, subset 1/2")


def test_the_report_says_what_was_looked_at(drawn, tmp_path):
    half = config(drawn, **{"data.subset": "1/2"})
    result = tuned(half, tmp_path / "t")
    write_tuning(result, half, tmp_path / "t")
    found = json.loads((tmp_path / "t" / "tuning.json").read_text())
    assert len(found["candidates"]) == 8
    assert sum(one["chosen"] for one in found["candidates"]) == 1
    estimate = found["candidates"][0]["estimates"]["gt_known_mean"]
    assert estimate == result.trials[0].estimate("gt_known_mean").to_json()
    assert found["center_side"] == result.center_side
    assert len(found["center"]) == len(CENTER_SIDES)
    page = (tmp_path / "t" / "tuning.md").read_text()
    assert page.count("\n| seeds.foreground=") == 7
    assert page.count("\n| as configured |") == 1
    for text in (*found["notes"], page):
        assert "subset 1/2" in text or "could not be processed" in text
    assert "report figures on other images" in found["notes"][0]
