"""The script that trains the bundled classifier."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from eval.figures import train_demo_classifier as script
from wsl.demo.network import build_network
from wsl.demo.scene import DEMO_COMPOSITION, DEMO_SEED, draw_image

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def torch_settings():
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture(scope="module")
def drawn():
    pairs = [script._draw_input(index, seed=3, composition=DEMO_COMPOSITION) for index in range(64)]
    return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])


def test_two_runs_give_the_same_weights(drawn):
    some = {"demo": (drawn[0][:24], drawn[1][:24])}
    plan = script.Plan(stages=(("demo", 48, 1), ("demo", 128, 1)), batch=8)
    first, second = (script.stored(script.train(some, plan)) for _ in range(2))
    assert first == second
    other = script.Plan(stages=plan.stages, batch=8, torch_seed=1)
    assert script.stored(script.train(some, other)) != first


def test_training_learns_what_it_is_shown(drawn):
    images, labels = drawn[0][:20], drawn[1][:20]
    plan = script.Plan(stages=(("demo", 64, 40),), batch=20)
    weights = script.stored(script.train({"demo": (images, labels)}, plan))
    before = script.stored(build_network())
    assert (
        script.ranks(weights, images, labels).mean() < script.ranks(before, images, labels).mean()
    )


def test_only_the_picture_and_its_label_are_kept():
    image, label = script._draw_input(5, seed=3, composition=DEMO_COMPOSITION)
    assert image.shape == (3, 128, 128)
    assert image.dtype == np.uint8
    assert label == draw_image(5, seed=3).label


def test_weights_are_stored_in_half_precision():
    network = build_network()
    state = load(script.stored(network))
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert state[name].dtype == torch.float16
            torch.testing.assert_close(state[name].float(), value, rtol=1e-3, atol=1e-6)


def test_rank_counts_the_classes_before_the_true_one():
    network = build_network()
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.arange(10))
    images = np.zeros((3, 3, 128, 128), dtype=np.uint8)
    found = script.ranks(script.stored(network), images, np.array([9, 0, 5]))
    assert found.tolist() == [0, 9, 4]


def test_seeds_are_apart():
    plan = script.Plan()
    assert len({DEMO_SEED, plan.easy_seed, plan.train_seed, plan.held_out_seed}) == 4


def test_committed_figures_are_of_the_committed_weights():
    report = json.loads((ROOT / "eval" / "results" / "demo_classifier.json").read_text())
    weights = (ROOT / "wsl" / "demo" / "classifier.safetensors").read_bytes()
    assert report["weights"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert report["top1"]["n"] >= 1000
    assert report["top1"]["low"] > 0.85
